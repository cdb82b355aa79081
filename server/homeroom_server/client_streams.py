"""Remembers what each client was told, in memory, and writes it down every few seconds: for explanations only."""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import asyncpg
import structlog

from homeroom_server.auth import Caller
from homeroom_server.availability import Entry
from homeroom_server.held.answer import Part
from homeroom_server.store import client_streams
from homeroom_server.store.client_streams import Observation
from homeroom_server.store.connection import FAILURES

_WRITE_SECONDS = 5.0
_WRITE_COUNT = 2_000
"""Written sooner when there are so many: a herd leaves no trace in the node's memory."""
_WRITTEN_AT_ONCE = 100
"""In a statement: nobody who is woken meanwhile should notice."""
_KEPT_MAX = 4_000
_RECONCILED_IDS_MAX = 1_000

log = structlog.get_logger()


class ClientStreams:
    """One observation per client, organisation and type; what cannot be written is dropped, never waited for."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._seen: dict[tuple[int, int, str], Observation] = {}
        self._many = anyio.Event()

    def told(self, caller: Caller, entry: Entry, part: Part) -> None:
        """A client asked about a type and was told this."""
        seen = self._observation(caller, str(entry.notification_type))
        if seen is None:
            return
        now = datetime.now(UTC)
        seen.asked_at, seen.cursor, seen.version_hash = now, entry.max_core_version, entry.version_hash
        seen.told_reason, seen.told_records = part.reason, len(part.ids)
        if entry.version_hash is not None and part.reason == "none":
            seen.matched_at, seen.matched_version = now, entry.max_core_version
            seen.mismatched_at, seen.mismatches = None, 0
        elif entry.version_hash is not None and part.reason == "mismatch":
            seen.mismatched_at = seen.mismatched_at or now
            seen.mismatches += 1

    def reconciled(self, caller: Caller, notification_type: str, cursor: int, ids: Sequence[str]) -> None:
        """A client was listed these ids by reconciliation."""
        seen = self._observation(caller, notification_type)
        if seen is not None:
            seen.asked_at, seen.cursor, seen.told_reason, seen.told_records = (
                datetime.now(UTC),
                cursor,
                "records",
                len(ids),
            )
            seen.reconciled_ids = [*(seen.reconciled_ids or ()), *ids][:_RECONCILED_IDS_MAX]

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with anyio.move_on_after(_WRITE_SECONDS):
                await self._many.wait()
            await self.write()

    async def write(self) -> None:
        """Write down what was seen since the last time."""
        seen, self._seen, self._many = self._seen, {}, anyio.Event()
        if not seen:
            return
        try:
            async with self._pool.acquire() as connection:
                waiting = list(seen.values())
                for first in range(0, len(waiting), _WRITTEN_AT_ONCE):
                    await client_streams.keep_observations(connection, waiting[first : first + _WRITTEN_AT_ONCE])
        except FAILURES as failure:
            log.warning("observations dropped", kind=type(failure).__name__, count=len(seen))

    def _observation(self, caller: Caller, notification_type: str) -> Observation | None:
        key = (caller.client, caller.organization.number, notification_type)
        if key not in self._seen and len(self._seen) >= _KEPT_MAX:
            return None
        if len(self._seen) == _WRITE_COUNT:
            self._many.set()
        return self._seen.setdefault(
            key, Observation(*key, datetime.now(UTC), 0, None, "none", 0, None, None, None, 0, None)
        )
