"""Works off access triggers and moved organisations: who sees a record is made what it should be (decision 9)."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
import asyncpg
import structlog

from homeroom_server.access import calendar
from homeroom_server.access.facts import read_facts
from homeroom_server.access.rules import access_rules
from homeroom_server.catalogue import Catalogue
from homeroom_server.changes import Moved
from homeroom_server.record_types import RecordTypes
from homeroom_server.settings import Settings
from homeroom_server.store import access_triggers, associations, moves, showing, types
from homeroom_server.store.access_triggers import AccessTrigger
from homeroom_server.store.associations import AssociationRow
from homeroom_server.store.connection import FAILURES, Conn
from homeroom_server.store.moves import Move
from homeroom_server.store.showing import MovedType, RuleRow
from homeroom_server.tracing.spans import Traces, worked_off

log = structlog.get_logger()


class AccessWorker:
    """One worker of a node. Any number of nodes may run one: students are claimed by a lease, moves by a row lock."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        catalogue: Catalogue,
        settings: Settings,
        announce: Callable[[Moved], Awaitable[None]],
        traces: Traces,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._announce = announce
        self._traces = traces
        self._catalogue = catalogue
        self._rules = access_rules(catalogue)
        self._rows: Sequence[RuleRow] = ()
        self._types = RecordTypes(catalogue.types)
        self._work = anyio.Event()
        self._held = calendar.Holding()

    def wake(self) -> None:
        """Triggers have been raised on this node."""
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled; failures of the database wait for the next poll."""
        while True:
            self._work = anyio.Event()
            try:
                await calendar.begin_day(self._pool, self._settings, self._held)
                await self._raise_arrived()
                while await worked_off(self._traces, "access", self.process_students):
                    pass
                while await worked_off(self._traces, "moves", self.process_move):
                    pass
            except FAILURES as failure:
                log.warning("access waits", kind=type(failure).__name__)
            except Exception:  # leases end and the next poll tries again
                log.exception("access waits")
            with anyio.move_on_after(self._settings.feed_poll_seconds):
                await self._work.wait()

    async def _raise_arrived(self) -> None:
        """An organisation may be loaded after the enrolments that name it."""
        async with self._pool.acquire() as connection, connection.transaction():
            if students := await associations.take_arrived(connection):
                await access_triggers.raise_triggers(connection, students)

    async def process_students(self) -> int:
        """Claim some students and settle who sees their records; how many there were."""
        limit, lease = self._settings.access_batch_students_max, self._settings.access_lease_seconds
        async with self._pool.acquire() as connection:
            await self._prepare(connection)
            claimed = await access_triggers.claim_triggers(connection, lease, limit)
            if not claimed:
                return 0
            try:
                moved = await self._settle(connection, claimed)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await access_triggers.release_triggers(connection, claimed)
                raise
        await self._tell(moved)
        return len(claimed)

    async def _settle(self, connection: Conn, claimed: Sequence[AccessTrigger]) -> list[MovedType]:
        """One transaction. What commits between two of its steps has raised the trigger again (decision 9)."""
        students = [trigger.student for trigger in claimed]
        async with connection.transaction():
            await access_triggers.lock_students(connection, students)
            locked = await showing.lock_types_of(connection, students, self._rows)
            # Read once: the day may move on between two statements, and both must speak of the same.
            day = await associations.access_day(connection) or await associations.today(
                connection, self._settings.time_zone
            )
            facts = await read_facts(connection, students, self._rules, self._types.numbers, self._settings.time_zone)
            derived = [
                AssociationRow(a.student, a.organization, a.cause, a.source, a.begins_on, a.ends_on)
                for a in facts.associations()
            ]
            begun = await associations.write_associations(connection, students, derived, day)
            moved = await showing.show_and_hide(connection, self._rows, locked, students)
            await access_triggers.finish_triggers(connection, claimed, day)
        await self._watch_volume(connection, [code for code, _ in begun])
        return moved

    async def process_move(self) -> bool:
        """Settle a page of what an organisation sees that has moved in the tree; whether there was one."""
        async with self._pool.acquire() as connection:
            await self._prepare(connection)
            async with connection.transaction():
                move = await moves.claim_move(connection)
                if move is None:
                    return False
                moved = await self._settle_page(connection, move)
        await self._tell(moved)
        return True

    async def _settle_page(self, connection: Conn, move: Move) -> list[MovedType]:
        rule = next((row for row in self._rows if row.record_type == move.record_type), None)
        if rule is None:  # a public type, or a status type, whose rows go with its source's
            await moves.note_move(connection, move, None, 0)
            return []
        locked = await showing.lock_with_status(connection, move.notification_type, move.school_year, rule)
        limit = self._settings.access_batch_records_max
        until, page = await moves.next_of_move(connection, move, limit)
        keys = [(move.notification_type, record_id) for _, record_id in page]
        moved = await showing.show_and_hide(connection, self._rows, locked, [], keys)
        await moves.note_move(connection, move, page[-1][0] if len(page) == limit else None, until)
        return moved

    async def _prepare(self, connection: Conn) -> None:
        """Learn the numbers of the catalogue's types, once in each history."""
        if not await self._types.refresh(connection):
            return
        numbers = self._types.numbers
        self._rows = [
            RuleRow(
                numbers[rule.name],
                rule.by_owner,
                rule.open,
                rule.shared_path,
                None if rule.status is None else numbers[rule.status],
            )
            for rule in self._rules
        ]

    async def _tell(self, moved: Sequence[MovedType]) -> None:
        if not moved:
            return
        async with self._pool.acquire() as connection:
            rows = await types.read_types(connection, [each.number for each in moved])
        for each in moved:
            await self._announce(Moved(rows[each.number], each.low, each.high, triggered=each.gained > 0))

    async def _watch_volume(self, connection: Conn, codes: Sequence[str]) -> None:
        """Enrolling a student opens a child's records: who opens very many is named."""
        if codes:
            for code, students in await associations.students_of_organization(connection, codes):
                if students >= self._settings.access_gains_alarm:
                    log.warning("an organisation came to see very many students", organization=code, students=students)
