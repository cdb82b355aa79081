"""Records as tests of merging know them, and what a run does with a change."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from homeroom_merge.awaiting import next_awaited
from homeroom_merge.merging import UNTOUCHED, DeletePolicy, OnDelete, merge
from homeroom_merge.plan import Change, Kind, Write
from homeroom_merge.records import Base, Known, Method, Side, State
from homeroom_merge.rules import Rules
from homeroom_merge.shape import Shape

Json = dict[str, Any]

NOW = datetime(2027, 9, 1, 2, 0, tzinfo=UTC)
DELETE = DeletePolicy(OnDelete.DELETE)
MANUAL = Rules("Note")
AS_HUB = Rules("Note", Method.RESOLVE_AS_HUB)
AS_SIS = Rules("Note", Method.RESOLVE_AS_SIS)
SHAPE = Shape.of(
    {
        "type": "object",
        "properties": {
            "name": {"$ref": "#/$defs/name"},
            "phones": {"type": "array", "x-item-key": "kind", "items": {"type": "object"}},
            "steps": {"type": "array", "x-item-key": "id", "x-ordered": True},
            "tags": {"type": "array"},
            "ranks": {"type": "array", "x-ordered": True},
            "number": {"type": "string", "x-locked": True},
        },
        "$defs": {"name": {"type": "object", "properties": {"first": {"type": "string"}}}},
    }
)


def live(body: Json | None, covered: frozenset[str] | None = None, **members: Any) -> Side:
    """A side that shows this, or nothing."""
    return Side(State.ABSENT if body is None else State.LIVE, body, covered, **members)


def known(base: Base | Json | None, hub: Side | Json | None, sis: Side | Json | None, **members: Any) -> Known:
    """A record; a plain body is the base of both sides, or what a side shows."""
    base = Base(base, base) if isinstance(base, dict) else base
    return Known("17", "000000017", _side(hub), _side(sis), base, **members)


def _side(shown: Side | Json | None) -> Side:
    return shown if isinstance(shown, Side) else live(shown)


def merged(record: Known, rules: Rules = MANUAL, policy: DeletePolicy = DELETE, shape: Shape = SHAPE) -> Change:
    """What is to be done about a record."""
    return merge(record, shape, rules, policy, NOW)


def bodies(change: Change) -> dict[str, Json | None]:
    """What is written, by side."""
    return {write.side: write.body for write in change.writes}


def kinds(change: Change) -> dict[str, Kind]:
    """How it is written, by side."""
    return {write.side: write.kind for write in change.writes}


def conflicts(change: Change) -> list[str]:
    """Where nobody decides."""
    return [conflict.pointer for conflict in change.conflicts]


def persisted(record: Known, change: Change, drop_off: bool = False) -> Known:
    """The record after a run has done all of it. `drop_off`: the SIS does not show yet what was written to it."""
    if change is UNTOUCHED:
        return record
    after = replace(record, unlinked=change.unlink)
    for write in change.writes:
        if write.side == "hub":
            after = replace(after, hub=_written(record.hub, write))
        elif not drop_off:
            after = replace(after, sis=_written(record.sis, write))
    if change.base is None:
        return after
    if change.awaits or (drop_off and any(write.side == "sis" for write in change.writes)):
        return replace(after, awaiting=next_awaited(record, change.base))
    return replace(after, base=change.base, awaiting=None)


def _written(side: Side, write: Write) -> Side:
    if write.kind is Kind.DELETE:
        return replace(side, state=State.DELETED, body=None)
    return replace(side, state=State.LIVE, body=write.body)
