"""The least that holds requests on our own stack: a Starlette endpoint that awaits an event, on uvicorn."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers import Peer, free_port, running


class _Channel:
    """The last message, and the event that the next one sets."""

    def __init__(self) -> None:
        self._message = b""
        self._moved = asyncio.Event()

    async def subscribe(self, request: Request) -> Response:
        await self._moved.wait()
        return Response(self._message, media_type="application/json")

    async def publish(self, request: Request) -> Response:
        self._message = await request.body()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return Response()


@contextmanager
def opened(message_bytes: int) -> Iterator[Peer]:
    """Running, in a process of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-starlette-") as folder:
        command = [sys.executable, "-m", "bench.peers.plain_starlette", str(port)]
        with running(command, port, Path(folder, "said.log")) as process:
            head = f"POST /publish HTTP/1.1\r\nHost: peer\r\nContent-Length: {message_bytes}\r\n\r\n"
            ask = b"GET /subscribe HTTP/1.1\r\nHost: peer\r\n\r\n"
            publish = head.encode() + b"x" * message_bytes
            yield Peer("plain Starlette", "127.0.0.1", port, process.pid, ask, publish)


def main() -> None:
    """Serve on the port that was given."""
    channel = _Channel()
    routes = [
        Route("/subscribe", channel.subscribe),
        Route("/publish", channel.publish, methods=["POST"]),
    ]
    uvicorn.run(
        Starlette(routes=routes),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=4096,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
