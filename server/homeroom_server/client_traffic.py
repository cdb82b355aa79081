"""Counts what each client's calls come to, in memory, and writes it down every few seconds: for explanations only."""

from collections.abc import Mapping
from datetime import UTC, datetime

import anyio
import asyncpg
import structlog

from homeroom.errors import Code
from homeroom_server.store import client_traffic
from homeroom_server.store.client_traffic import Traffic
from homeroom_server.store.connection import FAILURES

_WRITE_SECONDS = 5.0
_WRITTEN_AT_ONCE = 500
"""In a statement: nobody who is woken meanwhile should notice."""
_CLIENTS_MAX = 10_000
"""Counted between two writes; what others do meanwhile is not."""

log = structlog.get_logger()


class ClientTraffic:
    """One count per client; what cannot be written is dropped, never waited for."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._counted: dict[int, Traffic] = {}

    def called(self, client: int) -> None:
        """It has called, and is known."""
        self._of(client).calls += 1

    def refused(self, client: int, code: Code) -> None:
        """It was answered with a problem."""
        counted = self._of(client)
        counted.refused += 1
        counted.refused_at, counted.refused_code = datetime.now(UTC), code.value

    def wait_ended(self, client: int) -> None:
        """A held request of its was answered."""
        self._of(client).waits_ended += 1

    def wait_cut(self, client: int, seconds: float) -> None:
        """The connection of a held request was lost after so long."""
        counted = self._of(client)
        counted.waits_cut += 1
        shortest, longest = counted.cut_seconds_min, counted.cut_seconds_max
        counted.cut_seconds_min = seconds if shortest is None else min(seconds, shortest)
        counted.cut_seconds_max = seconds if longest is None else max(seconds, longest)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await anyio.sleep(_WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write down what was counted since the last time."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            async with self._pool.acquire() as connection:
                await _add(connection, counted)
        except FAILURES as failure:
            log.warning("counts dropped", kind=type(failure).__name__, clients=len(counted))

    def _of(self, client: int) -> Traffic:
        counted = self._counted.get(client)
        if counted is None:
            counted = Traffic()
            if len(self._counted) < _CLIENTS_MAX:
                self._counted[client] = counted
        return counted


async def _add(connection: asyncpg.pool.PoolConnectionProxy, counted: Mapping[int, Traffic]) -> None:
    clients = sorted(counted)  # nodes that write at once cannot wait for each other
    for first in range(0, len(clients), _WRITTEN_AT_ONCE):
        some = clients[first : first + _WRITTEN_AT_ONCE]
        await client_traffic.add(connection, some, [counted[client] for client in some])
