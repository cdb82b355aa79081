"""Webhooks over HTTP, in a worker."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from starlette.applications import Starlette

_AT_ONCE_MAX = 100
_IDLE_SECONDS = 5


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The worker's own signals stay the worker's."""
        yield


async def serve(app: Starlette, listening: socket.socket) -> None:
    """On a socket that listens, until cancelled."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_AT_ONCE_MAX,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_IDLE_SECONDS,
    )
    server = _Server(config)
    try:
        await server.serve([listening])
    finally:
        with anyio.CancelScope(shield=True):
            if server.started:
                await server.shutdown([listening])
