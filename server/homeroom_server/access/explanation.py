"""Does this organisation see this record, and why? Reads what its stream holds, and the facts that should decide it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from homeroom.protocol import NotificationType
from homeroom_server.access import calendar, verdict
from homeroom_server.access.calendar import AccessDay
from homeroom_server.access.facts import Facts, read_facts
from homeroom_server.access.reasons import reasons_for, rule_in_words
from homeroom_server.access.rules import TypeAccess, access_rules
from homeroom_server.catalogue import Catalogue, TypeDefinition
from homeroom_server.operations import OperationError
from homeroom_server.settings import Settings
from homeroom_server.store import access_explained as store
from homeroom_server.store import types
from homeroom_server.store.access_explained import AccessEvent, ObservedRecord, Observer, Waiting
from homeroom_server.store.connection import Conn

NOBODY = 0
"""The number of no organisation."""
_EVENTS_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Question:
    """Does `organization` see that record? `notification_type` may leave the year out."""

    organization: str
    notification_type: NotificationType
    definition: TypeDefinition
    record_id: str


@dataclass(frozen=True, slots=True)
class Case:
    """What decides about a record, whoever looks. `decisive`: the record, or the source of a status.

    `through`: codes of its owner and of those associated with its student, through whom it is seen.
    """

    definition: TypeDefinition
    asked: NotificationType
    record_id: str
    rule: TypeAccess | None
    decisive: ObservedRecord
    facts: Facts
    access_day: AccessDay
    through: Sequence[str]
    waiting: Waiting
    forgets_nothing: bool

    def explained(self, observer: Observer, record: ObservedRecord) -> verdict.Explained:
        """Why one organisation sees it or does not, its events apart. `record`: as it stands to the observer."""
        day = self.access_day.day or self.access_day.today
        return verdict.Explained(
            observer,
            self.asked,
            self.record_id,
            record,
            self.decisive.student,
            rule_in_words(self.rule, self.decisive),
            reasons_for(observer, self.definition.name, self.rule, self.decisive, self.facts, day),
            self.waiting,
            self.access_day,
            is_status=self.definition.source is not None,
            forgets_nothing=self.forgets_nothing,
            events=(),
        )


async def explain_access(
    connection: Conn, question: Question, catalogue: Catalogue, settings: Settings
) -> dict[str, Any]:
    """Whether the organisation sees the record, every reason for it, and what is still to be computed.

    OperationError: there is no such organisation, or no such record.
    """
    definition = question.definition
    record_id = definition.canonical_id(question.record_id)
    if record_id is None:
        raise OperationError(f"{question.record_id!r} is not {definition.id_words}, as ids of {definition.name} are")
    asked = replace(question, record_id=record_id)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return verdict.as_json(await _read(connection, asked, catalogue, settings))


async def _read(connection: Conn, question: Question, catalogue: Catalogue, settings: Settings) -> verdict.Explained:
    observer = await store.read_observer(connection, question.organization)
    if observer is None:
        raise OperationError(f"there is no organisation {question.organization}")
    record = await _read_asked(connection, question, observer)
    case = await read_case(connection, question.definition, record, question.record_id, catalogue, settings)
    events = await _events(connection, case.decisive.student, observer)
    return replace(case.explained(observer, record), events=events)


async def read_case(
    connection: Conn,
    definition: TypeDefinition,
    record: ObservedRecord,
    record_id: str,
    catalogue: Catalogue,
    settings: Settings,
) -> Case:
    """Of a record that was found in the same snapshot."""
    rules = access_rules(catalogue)
    source = definition.source or definition.name
    rule = next((rule for rule in rules if rule.name == source), None)
    path = None if rule is None else rule.shared_path
    decisive = await store.read_observed(connection, source, record_id, NOBODY, path)
    assert decisive is not None, "a status stands beside its source"
    facts = Facts((), (), ())
    if decisive.student is not None:
        numbers = await types.read_record_types(connection)
        facts = await read_facts(connection, [decisive.student], rules, numbers, settings.time_zone)
    through = sorted({decisive.owner, *(association.organization for association in facts.associations())})
    return Case(
        definition,
        NotificationType(definition.name, record.school_year),
        record_id,
        rule,
        decisive,
        facts,
        await calendar.read_access_day(connection, settings),
        through,
        await store.read_waiting(connection, source, record_id, through, settings.status_lease_seconds),
        forgets_nothing=datetime.now(UTC) - record.created_at < timedelta(days=settings.retention_days),
    )


async def _read_asked(connection: Conn, question: Question, observer: Observer) -> ObservedRecord:
    name, record_id = question.definition.name, question.record_id
    record = await store.read_observed(connection, name, record_id, observer.number, None)
    if record is None:
        raise OperationError(f"there is no {name} {record_id}")
    if question.notification_type.school_year not in (None, record.school_year):
        stands = NotificationType(name, record.school_year)
        raise OperationError(f"there is no {question.notification_type} {record_id}: it stands under {stands}")
    return record


async def _events(connection: Conn, student: str | None, observer: Observer) -> Sequence[AccessEvent]:
    if student is None:
        return ()
    return await store.read_events(connection, student, observer.below, _EVENTS_SHOWN_MAX)
