"""One node as a process: uvicorn over the application, with an end that leaves nobody hanging."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType

import structlog
import uvicorn

from homeroom_server import database
from homeroom_server.app import create_app
from homeroom_server.parking import Parking
from homeroom_server.services import Services, open_services
from homeroom_server.settings import Settings

log = structlog.get_logger()

_ALLOCATIONS_PER_COLLECTION = 10_000
_KEEP_ALIVE_SECONDS = 75
"""Longer than the usual 60 s of proxies: the side that closes an idle connection should be theirs."""


LAST_ANSWERS_SECONDS = 20
"""What a long stream is given to end once the node stops; a client resumes it elsewhere."""


class _DrainingServer(uvicorn.Server):
    """Releases held requests, and people who watch, before uvicorn waits for them to end."""

    def __init__(self, config: uvicorn.Config, services: Services, parking: Parking) -> None:
        super().__init__(config)
        self._services = services
        self._parking = parking

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, on these sockets, with a time in which TLS has to be agreed upon."""
        await self.lifespan.startup()
        config = self.config
        protocol = partial(
            config.http_protocol_class,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,  # type: ignore[call-arg]  # of a protocol class, which it may be
        )
        seconds = self._services.settings.tls_handshake_seconds_max if config.ssl is not None else None
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                protocol, sock=each, ssl=config.ssl, ssl_handshake_timeout=seconds, backlog=config.backlog
            )
            for each in sockets or ()
        ]
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in good order and no other way, so that what was opened around the server is closed too."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        settings = self._services.settings
        self._services.pulse.end()
        await self._services.waiters.drain(settings.drain_seconds, settings.drain_notice_seconds)
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
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
        ssl_certfile=services.settings.tls_certificate or None,
        ssl_keyfile=services.settings.tls_key or None,
        ssl_ca_certs=services.settings.tls_client_authority or None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if services.settings.tls_client_authority else ssl.CERT_NONE,
    )
    config.load()
    logging.getLogger("uvicorn.error").addFilter(_is_not_said_already)
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever this machine's OpenSSL would allow
    return _DrainingServer(config, services, parking)


def _is_not_said_already(record: logging.LogRecord) -> bool:
    """What the application raises it has told the log itself, in a line like all others."""
    return not record.getMessage().startswith("Exception in ASGI application")


async def serve(
    settings: Settings, database_url: str, started: Callable[[str], None], listener: socket.socket | None = None
) -> None:
    """Run a node until SIGTERM or SIGINT; `started` is told its URL once it is ready.

    It answers on `listener`, or else on one of its own, and closes it.
    """
    _allow_many_sockets()
    await database.apply_schema(database_url)
    listener = listener or open_listener(settings.host, settings.port)
    try:
        async with open_services(settings, database_url) as services:
            _look_for_garbage_seldom()
            started(url_of(settings, listener))
            await create_server(services).serve([listener])
    finally:
        listener.close()


def open_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; shared ones may be on one port."""
    return socket.create_server((host, port), backlog=4096, reuse_port=shared)


def _look_for_garbage_seldom() -> None:
    """What is there by now stays, and calls leave few cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION)


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Where a node answers."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if settings.tls_certificate else 'http'}://{host}:{port}"


def _allow_many_sockets() -> None:
    """Every held request is an open file: take as many as the system grants this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
