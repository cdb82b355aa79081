"""A plain HTTP/1.1 loader: little enough that the server is what is measured."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

import orjson


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def connection_lost(self, failure: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(failure or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._buffer.lower().index(b"content-length:", 0, head) + 15
        length = int(self._buffer[start : self._buffer.index(b"\r\n", start)])
        if len(self._buffer) < head + 4 + length:
            return
        status, body = bytes(self._buffer[9:12]), bytes(self._buffer[head + 4 : head + 4 + length])
        self._buffer.clear()
        assert self._answer is not None, "an answer that nobody asked for"
        if status.startswith(b"2"):
            self._answer.set_result(body)
        else:
            self._answer.set_exception(RuntimeError(f"HTTP {status.decode()}: {body[:300].decode()}"))

    async def send(self, request: bytes) -> bytes:
        """Send finished bytes; the answer's body. RuntimeError unless it is a success."""
        self._answer = asyncio.get_running_loop().create_future()
        assert self._transport is not None, "connected"
        self._transport.write(request)
        return await self._answer

    @property
    def is_closed(self) -> bool:
        """By whichever side: a node ends connections that rest."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(host: str, port: int, trust: ssl.SSLContext | None = None) -> Connection:
    """A connection that is open: over TLS if somebody is trusted."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port, ssl=trust)
    return connection


def request(key: str, path: str, body: Any, organization: str = "O.1") -> bytes:
    """The bytes of a POST."""
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: core\r\nAuthorization: Bearer {key}\r\nOrganization: {organization}\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


async def spin(
    at: tuple[str, int], callers: int, seconds: float, make: Callable[[int], bytes], per_call: int = 1
) -> float:
    """Records a second, from so many callers that each send the next request when the last is answered."""
    connections = [await connect(*at) for _ in range(callers)]
    answered = 0
    end = time.perf_counter() + seconds

    async def call(connection: Connection, caller: int) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            await connection.send(make(caller))
            answered += per_call

    begun = time.perf_counter()
    await asyncio.gather(*(call(connection, caller) for caller, connection in enumerate(connections)))
    spent = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return answered / spent
