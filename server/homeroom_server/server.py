"""One node as a process: uvicorn over the application, with an end that leaves nobody hanging."""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn

from homeroom_server import database
from homeroom_server.app import create_app
from homeroom_server.parking import Parking
from homeroom_server.services import Services, open_services
from homeroom_server.settings import Settings

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 75
"""Longer than the usual 60 s of proxies: the side that closes an idle connection should be theirs."""


_LAST_ANSWERS_SECONDS = 20
"""What a long stream is given to end once the node stops; a client resumes it elsewhere."""


class _DrainingServer(uvicorn.Server):
    """Releases held requests before uvicorn waits for them to end."""

    def __init__(self, config: uvicorn.Config, services: Services, parking: Parking) -> None:
        super().__init__(config)
        self._services = services
        self._parking = parking

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in good order and no other way, so that what was opened around the server is closed too."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._services.waiters.drain(self._services.settings.drain_seconds)
        self._parking.close()
        await super().shutdown(sockets)


def create_server(services: Services) -> uvicorn.Server:
    """uvicorn over the application, with held requests parked."""
    parking = Parking(services, _KEEP_ALIVE_SECONDS)
    config = uvicorn.Config(
        create_app(services),
        http=parking,  # type: ignore[arg-type]  # a class or what stands in for one
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        ssl_certfile=services.settings.tls_certificate or None,
        ssl_keyfile=services.settings.tls_key or None,
    )
    return _DrainingServer(config, services, parking)


async def serve(settings: Settings, database_url: str, started: Callable[[str], None]) -> None:
    """Run a node until SIGTERM or SIGINT; `started` is told its URL once it is ready."""
    await database.apply_schema(database_url)
    listener = socket.create_server((settings.host, settings.port), backlog=4096)
    try:
        host, port = listener.getsockname()[:2]
        async with open_services(settings, database_url) as services:
            started(f"{'https' if settings.tls_certificate else 'http'}://{host}:{port}")
            await create_server(services).serve([listener])
    finally:
        listener.close()
