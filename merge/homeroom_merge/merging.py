"""One record: what has to be written where, so that both sides say the same again, or why it is left alone."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from homeroom_merge.awaiting import as_awaited
from homeroom_merge.plan import Change, Conflict, FieldChange, Kind, Write
from homeroom_merge.records import Base, Deactivated, Known, Side, State
from homeroom_merge.rules import Dispute, Judge, Rules
from homeroom_merge.shape import Shape
from homeroom_merge.threeway import merge_bodies
from homeroom_merge.values import ABSENT, Json, SideName, Value, member, pointer

UNTOUCHED: Final = Change(None, None)
"""Of a record that nobody touched; names none, so that millions of them cost nothing."""
NEVER_DELETED = frozenset({"Student", "Course", "School"})
"""Entities locked to `ignore`: a pupil who leaves one school is not deleted for all."""


class OnDelete(StrEnum):
    """What becomes of a record on one side when it is deleted on the other."""

    IGNORE = "ignore"
    DEACTIVATE = "deactivate"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    """`member`, `value`: how a record is marked that is deactivated."""

    on_delete: OnDelete = OnDelete.IGNORE
    member: str = ""
    value: Value = None

    def for_entity(self, entity: str) -> "DeletePolicy":
        """The policy in force for an entity: some are locked to `ignore`."""
        return DeletePolicy() if entity in NEVER_DELETED else self


def merge(known: Known, shape: Shape, rules: Rules, policy: DeletePolicy, now: datetime) -> Change:
    """What is to be done about one record; UNTOUCHED where there is nothing to do or to say."""
    base, hub, sis = known.base, known.hub, known.sis
    if (
        base is not None
        and hub.state is State.LIVE
        and sis.state is State.LIVE
        and hub.body == base.hub
        and sis.body == base.sis
        and known.awaiting is None
        and not base.deleted
        and not known.unlinked
    ):
        return UNTOUCHED
    return _merge(known, _Terms(shape, Judge(rules, known, now), policy.for_entity(rules.entity)))


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a record is merged by."""

    shape: Shape
    judge: Judge
    policy: DeletePolicy


def _merge(known: Known, terms: _Terms) -> Change:
    if State.FAILED in (known.hub.state, known.sis.state):
        return _said(known, "failed verification: left out, and neither side is written", unlink=known.unlinked)
    awaited = known.awaiting
    if awaited is None:
        return _settle(known, terms)
    seen, is_shown = as_awaited(known, awaited, terms.shape)
    change = _settle(seen, terms)
    if not is_shown:
        return replace(change, awaits=True) if change is not UNTOUCHED else UNTOUCHED
    moved = change.base is None and not change.conflicts and seen.base is not None
    return replace(_plain(known, change), base=seen.base) if moved else change


def is_out_of_view(known: Known) -> bool:
    """Whether the hub no longer shows a record that it had, and does not say that it is deleted."""
    hub, base = known.hub.state, known.base
    is_lost = hub is State.ABSENT and base is not None and not base.deleted
    return hub is State.OUT_OF_VIEW or is_lost


def _settle(known: Known, terms: _Terms) -> Change:
    """The record by who has it: both sides, one of them, none."""
    if is_out_of_view(known):
        note = "out of view on the hub: the link is set aside, and neither side is written"
        return _said(known, note, unlink=known.unlinked, aside=True)
    hub_lives, sis_lives = known.hub.state is State.LIVE, known.sis.state is State.LIVE
    if hub_lives and sis_lives:
        return _both_live(known, terms)
    if known.unlinked:
        return _said(known, "the link was given up when one side deleted it", unlink=True)
    if hub_lives or sis_lives:
        return _one_lives(known, terms, "hub" if hub_lives else "sis")
    return _none_lives(known)


def _none_lives(known: Known) -> Change:
    base = known.base
    if base is None or (base.deleted and base.deactivated is None):
        return UNTOUCHED
    if known.sis.state is State.ABSENT and not base.deactivated:
        return _said(known, "deleted on the hub; the SIS did not show it, which does not count as deleted")
    after = replace(base, deleted=True, deactivated=None)
    return replace(_said(known, "deleted on both sides"), base=after)


def _one_lives(known: Known, terms: _Terms, living: SideName) -> Change:
    base, gone = known.base, known.sis if living == "hub" else known.hub
    side = known.hub if living == "hub" else known.sis
    if base is None:
        return _create(known, living) if gone.state is State.ABSENT else _dispute(known, terms, living)
    if base.deleted:
        if living == "sis" and terms.shape.root.same(known.sis.body, base.refused.get("", ABSENT)):
            return UNTOUCHED  # an undo took it back, and the SIS says nothing new
        if base.deactivated is None:
            return _bring_back(known, terms, living)
        return UNTOUCHED if base.deactivated.side == living else _dispute(known, terms, living)
    if gone.state is State.ABSENT:
        return _said(known, "the SIS did not show it, which does not count as deleted: neither side is written")
    if terms.policy.on_delete is OnDelete.IGNORE or _is_unmoved(side, base, terms, living):
        return _delete(known, terms, living)
    return _dispute(known, terms, living)


def _is_unmoved(side: Side, base: Base, terms: _Terms, name: SideName) -> bool:
    if name == "hub":
        return terms.shape.root.same(side.body, base.hub)
    covered = side.covered
    then = base.sis if covered is None else {key: base.sis[key] for key in base.sis if key in covered}
    return terms.shape.root.same(side.body, then)


def _create(known: Known, living: SideName) -> Change:
    covered = known.sis.covered
    if living == "hub":
        body = _covered(_body(known.hub), covered)
        write = Write("sis", Kind.CREATE, body, token=known.sis.token)
        return replace(_plain(known), writes=(write,), base=Base(_body(known.hub), body, covered=covered))
    body = _body(known.sis)
    write = Write("hub", Kind.CREATE, body, known.hub.version)
    return replace(_plain(known), writes=(write,), base=Base(body, body, covered=covered))


def _dispute(known: Known, terms: _Terms, living: SideName) -> Change:
    """Delete against edit."""
    base = ABSENT if known.base is None else known.base.hub
    hub = _body(known.hub) if living == "hub" else ABSENT
    sis = _body(known.sis) if living == "sis" else ABSENT
    verdict = terms.judge.decide(terms.shape.root, Dispute((), base, sis, hub, sis_moved=True, hub_moved=True))
    if not verdict.settled:
        return replace(_plain(known), conflicts=(Conflict("", base, sis, hub, verdict.decided_by),))
    if verdict.outcome is ABSENT:
        return _delete(known, terms, living, verdict.decided_by)
    return _bring_back(known, terms, living, verdict.decided_by)


def _delete(known: Known, terms: _Terms, living: SideName, decided_by: str = "") -> Change:
    """The side where it lives follows the one where it is gone, as the policy has it."""
    side = known.hub if living == "hub" else known.sis
    by = decided_by or ("sis" if living == "hub" else "hub")
    match terms.policy.on_delete:
        case OnDelete.IGNORE:
            return _said(known, f"deleted by {by}, and deletes are ignored: the link is given up", unlink=True)
        case OnDelete.DEACTIVATE:
            return _deactivate(known, terms, living, by)
        case OnDelete.DELETE:
            write = Write(living, Kind.DELETE, None, side.version, side.token)
            told = _record_change(known, living, ABSENT, by, to=living)
            return replace(_plain(known), writes=(write,), fields=(told,), base=_gone(known, living, _body(side)))
        case never:
            assert_never(never)


def _record_change(known: Known, living: SideName, outcome: Value, by: str, to: SideName) -> FieldChange:
    """The record itself as what changed."""
    base = ABSENT if known.base is None else known.base.hub
    sis, hub = (ABSENT, known.hub.body) if living == "hub" else (known.sis.body, ABSENT)
    return FieldChange("", base, sis, hub, outcome, by, (to,))


def _gone(known: Known, living: SideName, body: Json, mark: Deactivated | None = None) -> Base:
    """The tombstone: what the gone side had last, and `body` where it lived."""
    was = known.base or Base({}, {}, covered=known.sis.covered)
    hub, sis = (body, was.sis) if living == "hub" else (was.hub, body)
    return replace(was, hub=hub, sis=sis, deleted=True, deactivated=mark)


def _deactivate(known: Known, terms: _Terms, living: SideName, by: str) -> Change:
    side, name, value = known.hub if living == "hub" else known.sis, terms.policy.member, terms.policy.value
    if side.covered is not None and name not in side.covered:
        return _said(known, f"deleted by {by}, but the feed has no {name} to deactivate it by")
    before, body = member(_body(side), name), {**_body(side), name: value}
    after = _gone(known, living, body, Deactivated(living, name, value, before))
    if before is not ABSENT and terms.shape.root.member(name).same(before, value):
        return replace(_said(known, f"deleted by {by}, and inactive already"), base=after)
    sis, hub = (ABSENT, before) if living == "hub" else (before, ABSENT)
    change = FieldChange(pointer((name,)), before, sis, hub, value, by, (living,))
    write = Write(living, Kind.DEACTIVATE, body, side.version, side.token)
    return replace(_plain(known), writes=(write,), fields=(change,), base=after)


def _bring_back(known: Known, terms: _Terms, living: SideName, decided_by: str = "") -> Change:
    """The side where it is gone gets it back: what it had then, with what has changed since on the other."""
    base = known.base
    gone: SideName = "sis" if living == "hub" else "hub"
    if base is None or not (base.hub if gone == "hub" else base.sis):
        change = _create(known, living)
        change = replace(change, writes=tuple(replace(write, kind=Kind.UNDELETE) for write in change.writes))
    elif gone == "hub":
        seen = replace(known, hub=replace(known.hub, state=State.LIVE, body=base.hub))
        change = _fields(seen, terms, forced=gone, kind=Kind.UNDELETE)
    else:
        body = _covered(base.sis, known.sis.covered)
        seen = replace(known, sis=replace(known.sis, state=State.LIVE, body=body))
        change = _fields(seen, terms, forced=gone, kind=Kind.UNDELETE)
    body = _body(known.hub if living == "hub" else known.sis)
    told = _record_change(known, living, body, decided_by or living, to=gone)
    return change if change.conflicts else replace(change, fields=(told, *change.fields))


def _both_live(known: Known, terms: _Terms) -> Change:
    base = known.base
    if base is None or base.deactivated is None:
        change = _fields(known, terms)
        is_new = known.unlinked or (base is not None and base.deleted)
        return _said(known, "both sides have it again") if change is UNTOUCHED and is_new else change
    mark, before = base.deactivated, replace(base, deleted=False, deactivated=None)
    side = known.hub if mark.side == "hub" else known.sis
    if not terms.shape.root.member(mark.member).same(member(_body(side), mark.member), mark.value):
        return _fields(replace(known, base=before), terms)
    active = replace(side, body=_with(_body(side), mark.member, mark.before))
    if mark.side == "hub":
        before = replace(before, hub=_with(base.hub, mark.member, mark.before))
        return _fields(replace(known, base=before, hub=active), terms, forced="hub")
    before = replace(before, sis=_with(base.sis, mark.member, mark.before))
    return _fields(replace(known, base=before, sis=active), terms, forced="sis")


def _fields(known: Known, terms: _Terms, forced: SideName | None = None, kind: Kind = Kind.UPDATE) -> Change:
    """Both sides merged, field by field. `forced`: a side that is written in any case, as `kind`."""
    hub, sis, base = known.hub, known.sis, known.base
    merged = merge_bodies(base, _body(hub), _body(sis), sis.covered, terms.shape, terms.judge)
    if merged.conflicts:
        return replace(_plain(known), fields=merged.fields, conflicts=merged.conflicts)
    writes = []
    if merged.moves("hub") or forced == "hub":
        writes.append(Write("hub", kind if forced == "hub" else Kind.UPDATE, merged.hub, hub.version))
    if merged.moves("sis") or forced == "sis":
        writes.append(Write("sis", kind if forced == "sis" else Kind.UPDATE, merged.sis, token=sis.token))
    if not writes and merged.base == base:
        return UNTOUCHED
    return replace(_plain(known), writes=tuple(writes), fields=merged.fields, base=merged.base)


def _with(body: Json, name: str, value: Value) -> Json:
    rest = {key: inner for key, inner in body.items() if key != name}
    return rest if value is ABSENT else {**rest, name: value}


def _covered(body: Json, covered: frozenset[str] | None) -> Json:
    return body if covered is None else {name: body[name] for name in body if name in covered}


def _body(side: Side) -> Json:
    assert side.body is not None, "a live side has a body"
    return side.body


def _plain(known: Known, change: Change | None = None) -> Change:
    """A change that names its record."""
    names = Change(known.sis_key, known.hub_id, school=known.school, school_year=known.school_year)
    return names if change is None or change is UNTOUCHED else change


def _said(known: Known, note: str, *, unlink: bool = False, aside: bool = False) -> Change:
    return replace(_plain(known), note=note, unlink=unlink, set_aside=aside)
