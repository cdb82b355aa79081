"""Taking a run back: just the fields that it changed, and only where they still hold its value (merge.md 5).

That is a three-way merge of its own: what the run wrote is the base, what stood there before is one side, what stands
there now the other. Where somebody has changed a field since, both have, and it is a conflict.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import Change, Conflict, Kind, Write
from homeroom_merge.records import Base, Known, State
from homeroom_merge.rules import Judge, Rules
from homeroom_merge.shape import Shape
from homeroom_merge.threeway import merge_bodies
from homeroom_merge.values import ABSENT, Json

RULE = "undo"


@dataclass(frozen=True, slots=True)
class Wrote:
    """One write of the run that is undone: the hub's body before it and after it, None where there was no record."""

    before: Json | None
    after: Json | None


def undone(known: Known, wrote: Wrote, shape: Shape, rules: Rules, now: datetime) -> Change:
    """What takes one write back; the value that the SIS has by now is no change until it says something else."""
    lives = known.hub.state is State.LIVE
    if wrote.before is None:
        return _created(known, wrote, shape) if lives else UNTOUCHED
    if wrote.after is None:
        return _disputed(known, wrote) if lives else _deleted(known, wrote.before)
    if not lives or known.hub.body is None:
        return _disputed(known, wrote)
    by_hand = Rules(rules.entity)
    merged = merge_bodies(
        Base(wrote.after, wrote.after), known.hub.body, wrote.before, None, shape, Judge(by_hand, known, now)
    )
    writes = (Write("hub", Kind.UPDATE, merged.hub, known.hub.version),) if merged.hub != known.hub.body else ()
    conflicts = tuple(replace(conflict, rule=RULE) for conflict in merged.conflicts)
    return replace(
        _plain(known), writes=writes, fields=merged.fields, conflicts=conflicts, base=_base(known, merged.hub)
    )


def _created(known: Known, wrote: Wrote, shape: Shape) -> Change:
    if not shape.root.same(known.hub.body, wrote.after):
        return _disputed(known, wrote)
    sis = known.sis.body or {}
    base = replace(_base(known, wrote.after or {}), deleted=True, refused={"": sis})
    return replace(_plain(known), writes=(Write("hub", Kind.DELETE, None, known.hub.version),), base=base)


def _deleted(known: Known, before: Json) -> Change:
    write = Write("hub", Kind.UNDELETE, before, known.hub.version)
    return replace(_plain(known), writes=(write,), base=_base(known, before))


def _disputed(known: Known, wrote: Wrote) -> Change:
    before = ABSENT if wrote.before is None else wrote.before
    now = known.hub.body if known.hub.state is State.LIVE and known.hub.body is not None else ABSENT
    after = ABSENT if wrote.after is None else wrote.after
    return replace(_plain(known), conflicts=(Conflict("", after, before, now, RULE),))


def _base(known: Known, hub: Json) -> Base:
    was = known.base or Base({}, {})
    sis = known.sis.body if known.sis.state is State.LIVE and known.sis.body is not None else was.sis
    return Base(hub, sis, covered=was.covered)


def _plain(known: Known) -> Change:
    return Change(known.sis_key, known.hub_id, school=known.school, school_year=known.school_year)
