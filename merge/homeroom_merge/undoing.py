"""Taking a run back: just the fields that it changed, and only where they still hold its value (merge.md 5).

On each side that is a three-way merge of its own: what the run wrote is the base, what stood there before is one side,
what stands there now the other. Where somebody has changed a field since, both have, and it is a conflict.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from homeroom_merge.awaiting import as_awaited
from homeroom_merge.plan import UNDO, Change, Conflict, FieldChange, Kind, Write
from homeroom_merge.records import PLAIN, Base, Known, State
from homeroom_merge.rules import Judge, Rules
from homeroom_merge.shape import Shape
from homeroom_merge.threeway import merge_bodies
from homeroom_merge.values import ABSENT, Json, SideName


@dataclass(frozen=True, slots=True)
class Span:
    """One side's body before the run that is undone and after it, None where there was no record."""

    before: Json | None
    after: Json | None


@dataclass(frozen=True, slots=True)
class Wrote:
    """What that run wrote of a record; None: nothing to that side."""

    hub: Span | None = None
    sis: Span | None = None


@dataclass(frozen=True, slots=True)
class _Back:
    """One side taken back: what it has then, None where it has no record."""

    body: Json | None
    write: Write | None = None
    fields: tuple[FieldChange, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def undone(known: Known, wrote: Wrote, shape: Shape, rules: Rules, now: datetime) -> Change:
    """What takes its writes back; what either side has by now is no change until it says something else."""
    if known.awaiting is not None:
        known, _ = as_awaited(known, known.awaiting, shape)
    judge = Judge(Rules(rules.entity), replace(known, own=PLAIN), now)
    hub, sis = _back(known, "hub", wrote.hub, shape, judge), _back(known, "sis", wrote.sis, shape, judge)
    plain = Change(known.sis_key, known.hub_id, school=known.school, school_year=known.school_year)
    fields, conflicts = (*hub.fields, *sis.fields), (*hub.conflicts, *sis.conflicts)
    if conflicts:
        return replace(plain, fields=fields, conflicts=conflicts)
    writes = tuple(back.write for back in (hub, sis) if back.write is not None)
    is_parted = hub.body is not None and sis.body is None and _is_parting(wrote)
    return replace(plain, writes=writes, fields=fields, base=_base(known, wrote, hub, sis), unlink=is_parted)


def _back(known: Known, name: SideName, span: Span | None, shape: Shape, judge: Judge) -> _Back:
    side = known.hub if name == "hub" else known.sis
    stands = side.body if side.state is State.LIVE else None
    if span is None:
        return _Back(stands)
    if span.before is None:
        if stands is None:
            return _Back(None)
        is_same = shape.root.same(stands, span.after)
        away = _Back(None, Write(name, Kind.DELETE, None, side.version, side.token))
        return away if is_same else _disputed(name, stands, span)
    if span.after is None and stands is None:
        return _Back(span.before, Write(name, Kind.UNDELETE, span.before, side.version, side.token))
    if span.after is None or stands is None:
        return _disputed(name, stands, span)
    merged = merge_bodies(Base(span.after, span.after), stands, span.before, None, shape, judge)
    write = Write(name, Kind.UPDATE, merged.hub, side.version, side.token) if merged.hub != stands else None
    conflicts = tuple(replace(conflict, rule=UNDO) for conflict in merged.conflicts)
    if name == "hub":
        return _Back(merged.hub, write, merged.fields, conflicts)
    swapped = tuple(replace(conflict, sis=conflict.hub, hub=conflict.sis) for conflict in conflicts)
    return _Back(merged.hub, write, tuple(map(_of_sis, merged.fields)), swapped)


def _of_sis(moved: FieldChange) -> FieldChange:
    """A field as it was merged, said of the SIS: what stands there is its value."""
    return replace(moved, sis=moved.hub, hub=moved.sis, to=("sis",) if moved.to else ())


def _disputed(name: SideName, stands: Json | None, span: Span) -> _Back:
    after, before, now = (ABSENT if body is None else body for body in (span.after, span.before, stands))
    conflict = Conflict("", after, before, now, UNDO) if name == "hub" else Conflict("", after, now, before, UNDO)
    return _Back(stands, conflicts=(conflict,))


def _is_parting(wrote: Wrote) -> bool:
    """Whether the hub keeps, or gets back, what the SIS does not have: the link is given up, not the record."""
    return wrote.sis is not None or (wrote.hub is not None and wrote.hub.after is None)


def _base(known: Known, wrote: Wrote, hub: _Back, sis: _Back) -> Base:
    was = known.base or Base({}, {})
    spanned = (span.after if span is not None else None for span in (wrote.hub, wrote.sis))
    last_hub, last_sis = (after or then for after, then in zip(spanned, (was.hub, was.sis), strict=True))
    found = Base(last_hub if hub.body is None else hub.body, last_sis if sis.body is None else sis.body)
    if hub.body is not None:
        return replace(found, covered=was.covered)
    return replace(found, deleted=True, refused={"": sis.body or {}}, covered=was.covered)
