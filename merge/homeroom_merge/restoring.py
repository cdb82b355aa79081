"""Putting a record back to what a backup has of it (merge.md 5): each side to its own body then, where it differs now.

A side that had no record then stays as it is: what was made since is nobody's to take away. What both sides are after
that is what they agree on, so that the next merge does not bring back what was put back: only a new change counts.
"""

from dataclasses import dataclass, replace

from homeroom_merge.awaiting import as_awaited
from homeroom_merge.merging import UNTOUCHED, is_out_of_view
from homeroom_merge.plan import Change, FieldChange, Kind, Write
from homeroom_merge.records import Base, Known, Side, State
from homeroom_merge.shape import Shape
from homeroom_merge.values import ABSENT, Json, SideName, member, pointer

RULE = "restore"


@dataclass(frozen=True, slots=True)
class Then:
    """Both sides as a backup has them, None where there was no valid record. `covered`: what the SIS spoke of."""

    hub: Json | None = None
    sis: Json | None = None
    covered: frozenset[str] | None = None


def then_of(known: Known, shape: Shape) -> Then:
    """A record as it stood: with what had been written to a SIS that had not shown it yet."""
    if known.awaiting is not None:
        known, _ = as_awaited(known, known.awaiting, shape)
    return Then(_live(known.hub), _live(known.sis), known.sis.covered)


def restored(known: Known, then: Then, shape: Shape, *, hub: bool, sis: bool) -> Change:
    """What puts a record back; UNTOUCHED where it is as it was. `hub`, `sis`: whether that side is written at all."""
    is_shown = True
    plain = Change(known.sis_key, known.hub_id, school=known.school, school_year=known.school_year)
    if State.FAILED in (known.hub.state, known.sis.state) or is_out_of_view(known):
        note = "not put back: it is out of view on the hub, or fails verification"
        return UNTOUCHED if then == Then(covered=then.covered) else replace(plain, note=note, unlink=known.unlinked)
    if known.awaiting is not None:
        known, is_shown = as_awaited(known, known.awaiting, shape)
    hub_back = _write(known, "hub", then.hub if hub else None, shape)
    sis_back = _write(known, "sis", _sis_body(known.sis, then) if sis else None, shape)
    writes = tuple(write for write in (hub_back, sis_back) if write is not None)
    if not writes:
        return UNTOUCHED
    after = _after(known.hub, hub_back), _after(known.sis, sis_back)
    is_parted = after[0] is not None and after[1] is None and known.sis_key is not None
    fields = tuple(field for write in writes for field in _fields(known, write, shape))
    base = _base(known, *after)
    return replace(plain, writes=writes, fields=fields, base=base, unlink=is_parted, awaits=not is_shown)


def _live(side: Side) -> Json | None:
    return side.body if side.state is State.LIVE else None


def _sis_body(side: Side, then: Then) -> Json | None:
    """The SIS's body then, in what it can speak of now; of what it did not speak of then, it keeps what it has."""
    if then.sis is None:
        return None
    kept = {} if then.covered is None else {n: v for n, v in (_live(side) or {}).items() if n not in then.covered}
    return {**kept, **{n: v for n, v in then.sis.items() if side.covered is None or n in side.covered}}


def _write(known: Known, name: SideName, body: Json | None, shape: Shape) -> Write | None:
    side = known.hub if name == "hub" else known.sis
    stands = _live(side)
    if body is None or (stands is not None and shape.root.same(stands, body)):
        return None
    is_new = name == "hub" and side.state is State.ABSENT
    kind = Kind.UPDATE if stands is not None else Kind.CREATE if is_new else Kind.UNDELETE
    return Write(name, kind, body, side.version, side.token)


def _after(side: Side, write: Write | None) -> Json | None:
    return _live(side) if write is None else write.body


def _fields(known: Known, write: Write, shape: Shape) -> list[FieldChange]:
    """Each member that differs; a record that comes back is one change as a whole."""
    base, hub, sis = known.base.hub if known.base else None, _live(known.hub), _live(known.sis)
    stands, body = hub if write.side == "hub" else sis, write.body or {}
    if stands is None:
        was, now_sis, now_hub = (ABSENT if one is None else one for one in (base, sis, hub))
        return [FieldChange("", was, now_sis, now_hub, body, RULE, (write.side,))]
    found = []
    for name in dict.fromkeys((*stands, *body)):
        if not shape.root.member(name).same(member(stands, name), member(body, name)):
            was, now_sis, now_hub, then = (member(one or {}, name) for one in (base, sis, hub, body))
            found.append(FieldChange(pointer((name,)), was, now_sis, now_hub, then, RULE, (write.side,)))
    return found


def _base(known: Known, hub: Json | None, sis: Json | None) -> Base | None:
    """What both sides agree on once they are back; None: as it was, where one of them never had the record."""
    was, covered = known.base, known.base.covered if known.base else known.sis.covered
    if hub is not None and sis is not None:
        return Base(hub, sis, covered=covered)
    if was is None:
        return None
    if hub is not None:
        return Base(hub, was.sis, covered=covered)
    return Base(was.hub, sis or {}, deleted=True, refused={"": sis}, covered=covered)
