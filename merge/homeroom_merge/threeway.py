"""One tree of values, of both sides, each against its own base: what becomes of each field, and what nobody decides."""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from homeroom_merge.ordering import Key, is_moved, woven
from homeroom_merge.plan import Conflict, FieldChange
from homeroom_merge.records import Base
from homeroom_merge.rules import Dispute, Judge, Verdict
from homeroom_merge.shape import ItemKey, Node, Shape, item_part
from homeroom_merge.values import ABSENT, Json, Path, SideName, Value, path_of, pointer


class _NoBase(Enum):
    NO_BASE = "noBase"


NO_BASE: Final = _NoBase.NO_BASE
"""The base of what was never agreed on: every value differs from it, even ABSENT."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Both sides after the merge, each in its own rendering, and the base that follows. With conflicts, none counts."""

    hub: Json
    sis: Json
    base: Base
    fields: tuple[FieldChange, ...]
    conflicts: tuple[Conflict, ...]

    def moves(self, side: SideName) -> bool:
        """Whether anything has to be written on a side."""
        return any(side in change.to for change in self.fields)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is, and the four values that stand there."""

    node: Node
    path: Path
    base_hub: Value
    base_sis: Value
    hub: Value
    sis: Value


@dataclass(slots=True)
class _Walk:
    judge: Judge
    refused: Json
    fields: list[FieldChange] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)


def merge_bodies(
    base: Base | None, hub: Json, sis: Json, covered: frozenset[str] | None, shape: Shape, judge: Judge
) -> Merged:
    """Both sides merged. `covered`: the members that the SIS speaks of; on others it has no opinion. None: all.

    Nothing given is changed; what comes out shares with it what nobody touched.
    """
    walk = _Walk(judge, base.refused if base else {})
    place = _Place(shape.root, (), base.hub if base else NO_BASE, base.sis if base else NO_BASE, hub, sis)
    fresh = _fresh(base, covered)
    new_hub, new_sis = _members(walk, place, covered, fresh)
    after = _base_after(base, new_hub, new_sis, covered)
    return Merged(new_hub, new_sis, after, tuple(walk.fields), tuple(walk.conflicts))


def _fresh(base: Base | None, covered: frozenset[str] | None) -> frozenset[str]:
    """Members of which the SIS speaks for the first time."""
    if base is None or base.covered is None:
        return frozenset()
    return (covered if covered is not None else frozenset(base.hub) | frozenset(base.sis)) - base.covered


def _base_after(base: Base | None, hub: Json, sis: Json, covered: frozenset[str] | None) -> Base:
    """What both sides agree on now. A member that is not covered keeps its base, for the day it comes back."""
    if covered is None:
        return Base(hub, sis)
    if base is None:
        return Base(hub, sis, covered=covered)
    apart = (base.hub.keys() | base.sis.keys() | hub.keys()) - covered
    if base.covered is not None:
        apart &= base.covered
    refused = {at: value for at, value in base.refused.items() if apart.intersection(path_of(at)[:1])}
    spoken = None if base.covered is None else base.covered | covered
    return Base(_kept(hub, base.hub, apart), _kept(sis, base.sis, apart), refused=refused, covered=spoken)


def _kept(now: Json, then: Json, names: set[str]) -> Json:
    if not names:
        return now
    rest = {name: value for name, value in now.items() if name not in names}
    return rest | {name: then[name] for name in names if name in then}


def _members(
    walk: _Walk, place: _Place, covered: frozenset[str] | None = None, fresh: frozenset[str] = frozenset()
) -> tuple[Json, Json]:
    """Objects, member by member. Bases that are none count as empty; `fresh` members have no base."""
    hub, sis, new_hub, new_sis = place.hub, place.sis, dict(place.hub), dict(place.sis)
    base_hub, base_sis = _inside(place.base_hub), _inside(place.base_sis)
    missing = NO_BASE if place.base_hub is NO_BASE else ABSENT
    for name in dict.fromkeys((*hub, *sis)):
        now_hub, now_sis = hub.get(name, ABSENT), sis.get(name, ABSENT)
        is_fresh = name in fresh and now_hub is not ABSENT  # where the hub says nothing, nothing is lost
        was_hub = NO_BASE if is_fresh else base_hub.get(name, missing)
        was_sis = NO_BASE if is_fresh else base_sis.get(name, missing)
        if (now_hub == was_hub and now_sis == was_sis) or (covered is not None and name not in covered):
            continue
        if was_hub is NO_BASE and now_hub == now_sis:
            continue
        inner = _Place(place.node.member(name), (*place.path, name), was_hub, was_sis, now_hub, now_sis)
        after_hub, after_sis = _value(walk, inner)
        _put(new_hub, name, after_hub)
        _put(new_sis, name, after_sis)
    return new_hub, new_sis


def _inside(base: Value) -> Json:
    return base if isinstance(base, dict) else {}


def _put(body: dict[Key, Value], key: Key, value: Value) -> None:
    if value is ABSENT:
        body.pop(key, None)
    else:
        body[key] = value


def _value(walk: _Walk, place: _Place) -> tuple[Value, Value]:
    """What a place holds afterwards, on the hub and in the SIS."""
    if walk.refused and place.node.same(place.sis, walk.refused.get(pointer(place.path), NO_BASE)):
        place = replace(place, base_sis=place.sis)
    node, hub, sis = place.node, place.hub, place.sis
    hub_moved, sis_moved = not node.same(hub, place.base_hub), not node.same(sis, place.base_sis)
    if not hub_moved and not sis_moved:
        return hub, sis
    if isinstance(hub, dict) and isinstance(sis, dict):
        return _members(walk, place)
    if node.item_key and (both := _items(walk, place)):
        return both
    return _whole(walk, place, hub_moved, sis_moved)


def _whole(walk: _Walk, place: _Place, hub_moved: bool, sis_moved: bool) -> tuple[Value, Value]:
    """A value that is taken or left as it is."""
    hub, sis, same = place.hub, place.sis, place.node.same
    base = place.base_sis if not hub_moved else place.base_hub
    dispute = Dispute(place.path, ABSENT if base is NO_BASE else base, sis, hub, sis_moved, hub_moved)
    if same(hub, sis):
        if base is not NO_BASE:
            by = "both" if hub_moved and sis_moved else "hub" if hub_moved else "sis"
            _note(walk, dispute, Verdict(True, hub, by), ())
        return hub, sis
    verdict = walk.judge.decide(place.node, dispute)
    outcome = verdict.outcome
    if not verdict.settled:
        _note(walk, dispute, verdict, ())
        return hub, sis
    keeps_hub, keeps_sis = same(hub, outcome), same(sis, outcome)
    _note(walk, dispute, verdict, _sides(not keeps_hub, not keeps_sis))
    return hub if keeps_hub else outcome, sis if keeps_sis else outcome


def _sides(hub: bool, sis: bool) -> tuple[SideName, ...]:
    return (*(("hub",) if hub else ()), *(("sis",) if sis else ()))


def _note(walk: _Walk, dispute: Dispute, verdict: Verdict, to: tuple[SideName, ...]) -> None:
    at, values = pointer(dispute.path), (dispute.base, dispute.sis, dispute.hub)
    if verdict.settled:
        walk.fields.append(FieldChange(at, *values, verdict.outcome, verdict.decided_by, to))
    else:
        walk.conflicts.append(Conflict(at, *values, verdict.decided_by))


_Keyed = dict[ItemKey, Value]


def _items(walk: _Walk, place: _Place) -> tuple[Value, Value] | None:
    """Keyed lists, item by item; None where one of them is no list with sound keys."""
    node = place.node
    hub, sis = node.keyed(place.hub), node.keyed(place.sis)
    base_hub, base_sis = node.keyed(_listed(place.base_hub)), node.keyed(_listed(place.base_sis))
    if hub is None or sis is None or base_hub is None or base_sis is None:
        return None
    missing = NO_BASE if place.base_hub is NO_BASE else ABSENT
    new_hub, new_sis = dict(hub), dict(sis)
    for key in dict.fromkeys((*hub, *sis)):
        was_hub, was_sis = base_hub.get(key, missing), base_sis.get(key, missing)
        now_hub, now_sis = hub.get(key, ABSENT), sis.get(key, ABSENT)
        if now_hub == was_hub and now_sis == was_sis:
            continue
        inner = _Place(node.item(), (*place.path, item_part(key)), was_hub, was_sis, now_hub, now_sis)
        after_hub, after_sis = _value(walk, inner)
        _put(new_hub, key, after_hub)
        _put(new_sis, key, after_sis)
    if node.ordered:
        new_hub, new_sis = _arranged(
            walk, place, (list(base_hub), list(base_sis), list(hub), list(sis)), new_hub, new_sis
        )
    return list(new_hub.values()), list(new_sis.values())


def _listed(base: Value) -> Value:
    return base if isinstance(base, list) else []


_Orders = tuple[list[ItemKey], list[ItemKey], list[ItemKey], list[ItemKey]]
"""Of the base of the hub, that of the SIS, the hub, the SIS."""


def _arranged(walk: _Walk, place: _Place, orders: _Orders, hub: _Keyed, sis: _Keyed) -> tuple[_Keyed, _Keyed]:
    """The items of both in order: that of the side which moved them."""
    was_hub, was_sis, now_hub, now_sis = ([key for key in order if key in hub or key in sis] for order in orders)
    as_hub, as_sis = woven(now_hub, now_sis), woven(now_sis, now_hub)
    no_base = place.base_hub is NO_BASE
    hub_moved, sis_moved = no_base or is_moved(now_hub, was_hub), no_base or is_moved(now_sis, was_sis)
    if as_hub != as_sis and (hub_moved or sis_moved):
        by_name = {item_part(key): key for key in as_hub}
        base, told_sis, told_hub = map(_names, (was_hub if hub_moved else was_sis, as_sis, as_hub))
        dispute = Dispute(place.path, base, told_sis, told_hub, sis_moved, hub_moved, is_order=True)
        verdict = walk.judge.decide(place.node, dispute)
        if verdict.settled:
            as_hub = as_sis = woven([by_name[name] for name in verdict.outcome if name in by_name], as_hub)
        to = _sides(_is_rearranged(now_hub, as_hub), _is_rearranged(now_sis, as_sis))
        _note(walk, dispute, verdict, to)
    return {key: hub[key] for key in as_hub if key in hub}, {key: sis[key] for key in as_sis if key in sis}


def _names(order: list[ItemKey]) -> list[str]:
    return [item_part(key) for key in order]


def _is_rearranged(now: list[ItemKey], after: list[ItemKey]) -> bool:
    return now != [key for key in after if key in set(now)]
