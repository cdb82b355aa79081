"""Writes down every minute which keys have been used: for the operator who wants to know whether one can go."""

import anyio
import asyncpg
import structlog

from homeroom_server.auth import Directory
from homeroom_server.store import registry
from homeroom_server.store.connection import FAILURES

_WRITE_SECONDS = 60.0

log = structlog.get_logger()


class KeyUses:
    """What the directory has seen used; what cannot be written now is written with the next."""

    def __init__(self, pool: asyncpg.Pool, directory: Directory) -> None:
        self._pool = pool
        self._directory = directory

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await anyio.sleep(_WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write down which keys were used since the last time."""
        used, self._directory.used = self._directory.used, set()
        if not used:
            return
        try:
            async with self._pool.acquire() as connection:
                await registry.note_keys_used(connection, list(used))
        except FAILURES as failure:
            self._directory.used |= used
            log.warning("uses of keys not written", kind=type(failure).__name__, count=len(used))
