"""A TCP proxy that misbehaves on purpose: each connection through it has a fault of its own."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc


@dataclass(frozen=True)
class Fault:
    """What happens to a connection after so many bytes of answers.

    `cut` resets it, `truncate` ends it in good manners, `stall` pauses for a while and then cuts, `repeat` sends the
    answer (or its last piece) once more, `delay` hands every piece on late, `late cut` cuts when the request has
    reached the server and nothing has come back; `fair` does nothing.
    """

    kind: str
    after: int = 0


class Proxy:
    """Forwards to one port of this machine; connections take the faults in turn, and are fair when none are left."""

    def __init__(self, port: int, faults: Sequence[Fault]) -> None:
        self.port = 0
        self.connections = 0
        self._target = port
        self._faults: Iterator[Fault] = iter(faults)

    def play(self, faults: Sequence[Fault]) -> None:
        """From now on these faults."""
        self._faults = iter(faults)

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        task_status.started()
        async with listener:
            await listener.serve(self._handle)

    async def _handle(self, client: anyio.abc.SocketStream) -> None:
        self.connections += 1
        fault = next(self._faults, Fault("fair"))
        try:
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", self._target) as server,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._forward, client, server, tasks.cancel_scope)
                await self._back(server, client, fault)
                tasks.cancel_scope.cancel()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # one end has gone: so does the other

    async def _forward(
        self, client: anyio.abc.SocketStream, server: anyio.abc.SocketStream, connection: anyio.CancelScope
    ) -> None:
        try:
            async for chunk in client:
                await server.send(chunk)
        except anyio.BrokenResourceError:
            pass
        connection.cancel()

    async def _back(self, server: anyio.abc.SocketStream, client: anyio.abc.SocketStream, fault: Fault) -> None:
        sent = 0
        async for chunk in server:
            if fault.kind == "late cut":
                return
            if fault.kind == "delay":
                await anyio.sleep(0.02)
            left = fault.after - sent
            if fault.kind in ("fair", "delay") or len(chunk) < left:
                await client.send(chunk)
                sent += len(chunk)
                continue
            await client.send(chunk[:left])
            match fault.kind:
                case "repeat":
                    await client.send(chunk[left:] + chunk)
                    fault = Fault("fair")
                case "stall":
                    await anyio.sleep(0.2)
                    return
                case "truncate":
                    await client.send_eof()
                    return
                case _:
                    return


@asynccontextmanager
async def bad_weather(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of a server of this machine."""
    proxy = Proxy(int(url.rpartition(":")[2]), [])
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()
