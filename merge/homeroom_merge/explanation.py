"""Why a field of a record is as it is, and what a run would make of it now."""

from dataclasses import dataclass
from datetime import datetime

from homeroom_merge.codec import canonical
from homeroom_merge.group import Group
from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import RE_KEY, Change, FieldChange
from homeroom_merge.pointing import value_at
from homeroom_merge.records import Known, State
from homeroom_merge.rules import Ruling, explain
from homeroom_merge.store import inbox
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.inbox import Named
from homeroom_merge.values import ABSENT, Value, path_of


@dataclass(frozen=True, slots=True)
class Explained:
    """What decides a field of a record and why, its values as the last fetches showed them, and what comes next."""

    where: str
    ruling: Ruling
    sentence: str
    base: Value
    base_sis: Value
    """The base in the SIS's rendering."""
    sis: Value
    hub: Value
    next_run: str


async def explained(connection: Conn, group: Group, record: Named, where: str, now: datetime) -> Explained:
    """Of the field at a JSON pointer of a record."""
    terms, path = group.terms_of(record.entity), path_of(where)
    async with connection.transaction():
        each = (await records.read(connection, [record.number]))[record.number]
    known = each.known
    said = explain(where, known, terms.shape, terms.rules, now)
    proposed = [
        entry
        for entry in await inbox.entries(connection, terms.feed, None, record.number, None)
        if entry.rule == RE_KEY
    ]
    if proposed:
        next_run = f"waits: somebody has to say whether it is {proposed[0].sis} under another key"
    else:
        (change,) = await (await group.merge_of(record.entity, now))([each])
        next_run = what_comes(change, where)
    bodies = ((known.base.hub, known.base.sis) if known.base else (ABSENT, ABSENT)) + _shown(known)
    base, base_sis, sis, hub = (value_at(terms.shape, body, path) for body in bodies)
    return Explained(where, said.ruling, said.sentence, base, base_sis, sis, hub, next_run)


def what_comes(change: Change, where: str) -> str:
    """What a planned change means for a field, in a few words."""
    if change is UNTOUCHED:
        return "nothing: neither side has changed"
    for conflict in change.conflicts:
        if _touches(conflict.pointer, where):
            return f"a conflict at {conflict.pointer or 'the record'}: {conflict.rule}"
    if change.conflicts:
        return f"nothing: the record waits for a decision at {change.conflicts[0].pointer or 'the record'}"
    if change.waits_for:
        return "nothing: the record waits for " + ", ".join(f"{entity} {key}" for entity, key in change.waits_for)
    told = [_field_told(field, change) for field in change.fields if _touches(field.pointer, where)]
    told = told or [f"{write.kind} the record on the {write.side}" for write in change.writes if not change.fields]
    return "; ".join(filter(None, (*told, change.note))) or "nothing: neither side has changed it"


def _field_told(field: FieldChange, change: Change) -> str:
    value = "nothing" if field.outcome is ABSENT else canonical(field.outcome)
    to = " and ".join(f"the {side}" for side in field.to if change.write_to(side) is not None)
    what = f"write {value} to {to}" if to else f"take {value} as agreed" if not field.to else f"keep {value}"
    return f"{what} at {field.pointer or 'the record'}, decided by {field.decided_by}"


def _touches(pointer: str, where: str) -> bool:
    return pointer == where or pointer.startswith(where + "/") or where.startswith(pointer + "/")


def _shown(known: Known) -> tuple[Value, Value]:
    sis, hub = (side.body if side.state is State.LIVE else ABSENT for side in (known.sis, known.hub))
    return sis, hub
