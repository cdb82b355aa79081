"""What was read of whose records, by whom: remembered for a second, then kept for good.

What is written is noted by its own commit (store.records); what people do, by whatever they do.
"""

from datetime import UTC, datetime

import anyio
import asyncpg
import structlog

from homeroom.protocol import NotificationType
from homeroom_server.auth import Caller
from homeroom_server.store import audit
from homeroom_server.store.audit import Event
from homeroom_server.store.connection import FAILURES

_WRITE_SECONDS = 1.0
_KEPT_MAX = 50_000
_WRITTEN_AT_ONCE = 500
"""In one statement: nobody who is woken meanwhile should notice."""

log = structlog.get_logger()


class Audit:
    """Reads that this node has answered. What cannot be kept is counted, and the count is kept."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._events: list[Event] = []
        self._lost = 0
        self.lost = 0
        """Since the node began."""

    @property
    def waiting(self) -> int:
        """Reads that are not kept yet."""
        return len(self._events)

    def read(self, caller: Caller, notification_type: NotificationType, ids: str) -> None:
        """A client was given these records; ids with spaces between."""
        if ids:
            self._add(caller, "read", notification_type, ids, None)

    def read_all(self, caller: Caller, notification_type: NotificationType, after: int, until: int) -> None:
        """A client was given, or begun to be given, all of a type that it may see, between two versions."""
        self._add(caller, "readAll", notification_type, "", f"above version {after}, up to {until}")

    async def run(self) -> None:
        """Keep what has happened until cancelled, and what is left then."""
        try:
            while True:
                await anyio.sleep(_WRITE_SECONDS)
                await self.write()
        finally:
            with anyio.move_on_after(_WRITE_SECONDS, shield=True):
                await self.write()

    async def write(self) -> None:
        """Keep what has happened since the last time; what cannot be kept now waits for the next."""
        try:
            while self._events or self._lost:
                taken, lost = self._events[:_WRITTEN_AT_ONCE], self._lost
                if lost:
                    told = f"{lost} reads were not noted: the database was away for too long"
                    taken.append(Event(datetime.now(UTC), "node", "", None, None, "lost", None, None, told))
                async with self._pool.acquire() as connection:
                    await audit.keep(connection, taken)
                del self._events[:_WRITTEN_AT_ONCE]
                self._lost -= lost
        except FAILURES as failure:
            log.warning("the audit waits", kind=type(failure).__name__, events=len(self._events))

    def _add(
        self, caller: Caller, action: str, notification_type: NotificationType, ids: str, detail: str | None
    ) -> None:
        if len(self._events) >= _KEPT_MAX:
            self._lost += 1
            self.lost += 1
            return
        now, organization = datetime.now(UTC), caller.organization.number
        named = ids.split(" ") if ids else None
        self._events.append(
            Event(now, "client", caller.client_name, organization, None, action, str(notification_type), named, detail)
        )
