"""What stands before the nodes: a TCP proxy that takes them in turn, passes over dead ones, and can cut."""

from collections.abc import Sequence
from itertools import count

import anyio
import anyio.abc

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class Front:
    """Forwards to ports of this machine, each connection to the next one that takes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = 0
        self._ports = ports
        self._turns = count()
        self._connections: set[anyio.CancelScope] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """End every connection in the midst of whatever it carries; how many there were."""
        for connection in self._connections:
            connection.cancel()
        return len(self._connections)

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            task_status.started()
            await listener.serve(self._handle)

    async def _handle(self, client: anyio.abc.SocketStream) -> None:
        with anyio.CancelScope() as connection:
            self._connections.add(connection)
            try:
                async with client:
                    await self._join(client, connection)
            except* _GONE:
                pass  # one end has gone: so does the other
            finally:
                self._connections.discard(connection)

    async def _join(self, client: anyio.abc.SocketStream, connection: anyio.CancelScope) -> None:
        server = await self._connect()
        if server is None:
            return
        async with server, anyio.create_task_group() as tasks:
            tasks.start_soon(_forward, client, server, connection)
            tasks.start_soon(_forward, server, client, connection)

    async def _connect(self) -> anyio.abc.SocketStream | None:
        turn = next(self._turns)
        for place in range(len(self._ports)):
            try:
                return await anyio.connect_tcp("127.0.0.1", self._ports[(turn + place) % len(self._ports)])
            except OSError:
                continue
        return None


async def _forward(
    source: anyio.abc.SocketStream, target: anyio.abc.SocketStream, connection: anyio.CancelScope
) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
    except _GONE:
        pass
    connection.cancel()
