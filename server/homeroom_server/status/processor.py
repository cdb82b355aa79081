"""Keeps statuses current: claims triggers, reads what rules look at, judges, and hands the results to the committer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import anyio
import asyncpg
import orjson
import structlog

from homeroom.errors import HomeroomError
from homeroom.protocol import STATUS_SUFFIX, NotificationType
from homeroom_server.catalogue import Catalogue
from homeroom_server.committer import Committer
from homeroom_server.record_types import RecordTypes
from homeroom_server.rule_set import Alert, Related, RuleSet, Source
from homeroom_server.settings import Settings
from homeroom_server.status.calculation import CalculatedStatus, Calculation
from homeroom_server.store import associations, triggers
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.triggers import SourceRecord, Trigger
from homeroom_server.tracing.spans import Traces, worked_off

_RELATED_MAX = 100_000
"""Records of the same students that one batch looks at, newest first."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Claimed triggers with their source records (none: the record is gone)."""

    triggers: Mapping[tuple[int, str], Trigger]
    sources: Sequence[SourceRecord]


class Processor:
    """One worker of a node. Any number of nodes may run one: triggers are claimed by a committed lease."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        committer: Committer,
        catalogue: Catalogue,
        settings: Settings,
        traces: Traces,
    ) -> None:
        self._pool = pool
        self._committer = committer
        self._catalogue = catalogue
        self._time_zone = ZoneInfo(settings.time_zone)
        self._lease_seconds = settings.status_lease_seconds
        self._batch_records_max = settings.status_batch_records_max
        self._poll_seconds = settings.feed_poll_seconds
        self._traces = traces
        self._work = anyio.Event()
        self._types = RecordTypes(catalogue.types)

    def wake(self) -> None:
        """Triggers have been raised on this node."""
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled; failures of the database wait for the next poll."""
        while True:
            self._work = anyio.Event()
            try:
                while await worked_off(self._traces, "statuses", self._process_batch):
                    pass
            except (*FAILURES, HomeroomError) as failure:
                log.warning("statuses wait", kind=type(failure).__name__)
            except Exception:  # whatever it was, leases end and the next poll tries again
                log.exception("statuses wait")
            with anyio.move_on_after(self._poll_seconds):
                await self._work.wait()

    async def _process_batch(self) -> int:
        """Claim a batch, calculate and store it; how many triggers there were."""
        async with self._pool.acquire() as connection:
            await self._types.refresh(connection)
            claimed = await triggers.claim_triggers(connection, self._lease_seconds, self._batch_records_max)
            if not claimed:
                return 0
            by_key = {(trigger.record_type, trigger.id): trigger for trigger in claimed}
            sources = await triggers.read_sources(connection, *_columns(list(by_key)))
            await self._raise_dependants(connection, claimed)
            batch = _Batch(by_key, sources)
            related = await self._read_related(connection, batch)
            today = await associations.today(connection, self._time_zone.key)
            await self._finish_without_status(connection, batch)
        for notification_type, statuses in self._calculate(batch, related, today).items():
            await self._committer.commit(Calculation(notification_type, statuses))
        return len(claimed)

    async def _raise_dependants(self, connection: asyncpg.pool.PoolConnectionProxy, claimed: Sequence[Trigger]) -> None:
        """After the change has been committed and before its trigger goes: so none that looks at it is forgotten."""
        changed: dict[int, list[str]] = defaultdict(list)
        for trigger in claimed:
            if trigger.changed:
                changed[trigger.record_type].append(trigger.id)
        for record_type, ids in changed.items():
            dependants = [self._types.numbers[name] for name in self._catalogue.dependants_of(self._name(record_type))]
            await triggers.raise_dependants(connection, record_type, ids, dependants)

    async def _finish_without_status(self, connection: asyncpg.pool.PoolConnectionProxy, batch: _Batch) -> None:
        """End the triggers of records that rules look at but that have no status of their own."""
        judged = {(source.record_type, source.id) for source in batch.sources if self._rules(source) is not None}
        done = [trigger for key, trigger in batch.triggers.items() if key not in judged]
        if done:
            await triggers.finish_triggers(connection, done, [None] * len(done))

    async def _read_related(
        self, connection: asyncpg.pool.PoolConnectionProxy, batch: _Batch
    ) -> tuple[dict[tuple[str, str], Source], dict[tuple[str, str], list[Source]]]:
        """Referenced records by (type, id), and records of the same students by (type, student)."""
        wanted: dict[tuple[int, str], set[tuple[int, str]]] = defaultdict(set)
        of_student: set[str] = set()
        students: set[str] = set()
        for source in batch.sources:
            rules = self._rules(source)
            if rules is None or source.deleted:
                continue
            for name, record_id in self._references(rules, source):
                wanted[self._types.numbers[name], record_id].add((source.record_type, source.id))
            of_student |= set(rules.of_student)
            students |= {source.student} if source.student is not None else set()
        referenced = await self._read_live(connection, list(wanted))
        missing = [key for key in wanted if key not in referenced]
        if missing:
            # Noted first, then looked for again: one that arrives in between finds the note.
            pairs = [(key, looker) for key in missing for looker in wanted[key]]
            await triggers.note_missing(connection, [key for key, _ in pairs], [looker for _, looker in pairs])
            referenced |= await self._read_live(connection, missing)
        numbers = [self._types.numbers[name] for name in of_student]
        found = await triggers.read_of_students(connection, numbers, list(students), _RELATED_MAX)
        by_student: dict[tuple[str, str], list[Source]] = defaultdict(list)
        for record in found:
            by_student[self._name(record.record_type), record.student or ""].append(_as_source(record))
        return {(self._name(number), i): _as_source(r) for (number, i), r in referenced.items()}, by_student

    def _references(self, rules: RuleSet, record: SourceRecord) -> set[tuple[str, str]]:
        try:
            return rules.references(orjson.loads(record.body))
        except Exception:  # found again, and said, when the record is judged
            return set()

    async def _read_live(
        self, connection: asyncpg.pool.PoolConnectionProxy, keys: Sequence[tuple[int, str]]
    ) -> dict[tuple[int, str], SourceRecord]:
        if not keys:
            return {}
        found = await triggers.read_sources(connection, *_columns(keys))
        return {(record.record_type, record.id): record for record in found if not record.deleted}

    def _calculate(
        self,
        batch: _Batch,
        related: tuple[dict[tuple[str, str], Source], dict[tuple[str, str], list[Source]]],
        today: date,
    ) -> dict[NotificationType, list[CalculatedStatus]]:
        """The statuses of a batch by status type. A rule that fails leaves its trigger for later and says so."""
        referenced, by_student = related
        results: dict[NotificationType, list[CalculatedStatus]] = defaultdict(list)
        for record in batch.sources:
            rules = self._rules(record)
            if rules is None:
                continue
            source = _as_source(record)
            others = {name: by_student.get((name, source.student or ""), []) for name in rules.of_student}
            found = Related(today, referenced, others)
            try:
                alerts: list[Alert] = [] if record.deleted else rules.judge(source, found)
                due_again = None if record.deleted else self._next_scan(rules, source, found)
            except Exception:  # a rule is a plug-in: one that fails must not stop the others
                log.exception("rule failed", type=self._name(record.record_type))
                continue
            trigger = batch.triggers[record.record_type, record.id]
            status_type = NotificationType(self._name(record.record_type) + STATUS_SUFFIX, record.school_year)
            results[status_type].append(CalculatedStatus(trigger, record, alerts, due_again))
        return results

    def _next_scan(self, rules: RuleSet, source: Source, related: Related) -> datetime | None:
        if rules.next_scan_on is None:
            return None
        day = rules.next_scan_on(source, related.today)
        if day is None:
            return None
        day = max(day, related.today + timedelta(days=1))
        return datetime.combine(day, time(), self._time_zone).astimezone(UTC)

    def _rules(self, record: SourceRecord) -> RuleSet | None:
        definition = self._catalogue.types.get(self._name(record.record_type))
        return None if definition is None else definition.rules

    def _name(self, record_type: int) -> str:
        """The type's name; empty for a type that the catalogue no longer has."""
        return self._types.names.get(record_type, "")


def _as_source(record: SourceRecord) -> Source:
    return Source(record.id, orjson.loads(record.body), record.student, record.school_year)


def _columns(keys: Sequence[tuple[int, str]]) -> tuple[list[int], list[str]]:
    return [record_type for record_type, _ in keys], [record_id for _, record_id in keys]
