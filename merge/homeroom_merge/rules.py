"""Which rule decides a field, strongest first, and what it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import assert_never

from homeroom_merge.records import Decision, Known, Method, Side, Writing
from homeroom_merge.shape import Node, Shape
from homeroom_merge.values import ABSENT, Path, SideName, Value, is_item, path_of, pointer

NEWEST_APART = timedelta(minutes=5)
"""Two changes within this time are a conflict: clocks are not that good."""
FLIPS_WITHIN = timedelta(hours=24)
FLIPS_MAX = 3


class Layer(StrEnum):
    """Where a rule stands, strongest first."""

    LOCKED = "locked"
    STICKY = "sticky"
    RECORD = "record"
    FIELD = "field"
    ENTITY = "entity"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one entity. `fields`: by JSON pointer, with `$` for items of lists; for what lies beneath, too."""

    entity: str
    default: Method = Method.MANUAL
    fields: Mapping[str, Method] = field(default_factory=dict)
    student_audience: bool = False
    """Records that several schools share: `alwaysSis` counts only at the one named home."""
    zone: tzinfo = UTC
    """Of SIS times that name none."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rule in force for a field: the layer it stands in, where it was said, its method."""

    layer: Layer
    said_at: str
    method: Method

    def __str__(self) -> str:
        return " ".join(filter(None, (self.layer, self.said_at, self.method)))


@dataclass(frozen=True, slots=True)
class Dispute:
    """A field that changed: what stands where, and who moved it. Without a base, both have."""

    path: Path
    base: Value
    sis: Value
    hub: Value
    sis_moved: bool
    hub_moved: bool
    is_order: bool = False
    """The values are the orders of a list, told by its items' names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a field. Not settled: a conflict."""

    settled: bool
    outcome: Value
    decided_by: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which layer decides a field of a record, and why, in a sentence."""

    ruling: Ruling
    sentence: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides the fields of one record."""

    rules: Rules
    known: Known
    now: datetime

    def decide(self, node: Node, dispute: Dispute) -> Verdict:
        """The outcome of a field on which the sides differ."""
        where = pointer(dispute.path)
        own = self.known.own
        if own.decisions and (decision := own.decisions.get(where)) and _still(decision, dispute, node):
            return Verdict(True, decision.outcome, "decision")
        if own.writings and flips(own.writings.get(where, ()), dispute.hub, dispute.sis, self.now) >= FLIPS_MAX:
            return Verdict(False, ABSENT, "flips")
        lone = _lone(dispute)
        ruling = ruling_for(self.rules, self.known, dispute.path, node.locked)
        match winner(ruling.method, lone, self.known, self.rules):
            case None:
                return Verdict(False, ABSENT, str(ruling))
            case "hub":
                return Verdict(True, dispute.hub, "hub" if lone == "hub" else str(ruling))
            case "sis":
                return Verdict(True, dispute.sis, "sis" if lone == "sis" else str(ruling))
            case never:
                assert_never(never)


def ruling_for(rules: Rules, known: Known, path: Path, locked: Method | None) -> Ruling:
    """The strongest rule for a field of a record. `locked`: what the schema says of the place."""
    if locked:
        return Ruling(Layer.LOCKED, "", locked)
    own = known.own
    if own.sticky and (said_at := _longest(own.sticky, path)) is not None:
        return Ruling(Layer.STICKY, said_at, Method.ALWAYS_HUB)
    if own.overrides and (said_at := _longest(own.overrides, path)) is not None:
        return Ruling(Layer.RECORD, said_at, own.overrides[said_at])
    if rules.fields and (said_at := _longest(rules.fields, path)) is not None:
        return Ruling(Layer.FIELD, said_at, rules.fields[said_at])
    return Ruling(Layer.ENTITY, "", rules.default)


def winner(method: Method, lone: SideName | None, known: Known, rules: Rules) -> SideName | None:
    """The side whose value stands, or None: a conflict. `lone`: the only side that changed."""
    match method:
        case Method.MANUAL:
            return lone
        case Method.RESOLVE_AS_HUB:
            return lone or "hub"
        case Method.RESOLVE_AS_SIS:
            return lone or "sis"
        case Method.ALWAYS_HUB:
            return "hub"
        case Method.ALWAYS_SIS:
            return (lone or "hub") if _is_away(rules, known) else "sis"
        case Method.NEWEST:
            return lone or _newer(known.hub, known.sis, rules.zone)
        case never:
            assert_never(never)


def flips(writings: tuple[Writing, ...], hub: Value, sis: Value, now: datetime) -> int:
    """How often a field was turned between these two values of late."""
    late = (writing for writing in writings if now - writing.at < FLIPS_WITHIN)
    return sum((writing.before, writing.after) in ((hub, sis), (sis, hub)) for writing in late)


def explain(where: str, known: Known, shape: Shape, rules: Rules, now: datetime) -> Explanation:
    """Which layer decides the field at a pointer, in this record, and why."""
    path = path_of(where)
    ruling = ruling_for(rules, known, path, shape.node(path).locked)
    reasons = [f"{where or 'The record'} is decided by {worded(ruling, rules.entity)}"]
    if ruling.method is Method.ALWAYS_SIS and _is_away(rules, known):
        reasons += ["here it counts as resolveAsHub, since this school is not the one named home"]
    if ruling.method is Method.NEWEST:
        reasons += [_times(known, rules.zone)]
    if where in known.own.decisions:
        reasons += ["what was decided in the inbox comes first, as long as the values are those it was decided on"]
    if _turns(known.own.writings.get(where, ()), now) >= FLIPS_MAX:
        reasons += ["it was turned to and fro three times in 24 hours, so another turn is a conflict"]
    return Explanation(ruling, "; ".join(reasons) + ".")


def worded(ruling: Ruling, entity: str) -> str:
    """What decides, and what that does."""
    return f"{_LAYERS[ruling.layer].format(ruling=ruling, entity=entity)}; {_METHODS[ruling.method]}"


def ruling_of(text: str) -> Ruling | None:
    """The rule that a conflict names; None: it is over something else."""
    layer, _, rest = text.partition(" ")
    said_at, _, method = rest.rpartition(" ")
    if layer not in list(Layer) or method not in list(Method):
        return None
    return Ruling(Layer(layer), said_at, Method(method))


_LAYERS = {
    Layer.LOCKED: "the schema, which locks it as {ruling.method}",
    Layer.STICKY: "a hand edit in the hub at {ruling.said_at}, sticky until cleared: {ruling.method}",
    Layer.RECORD: "the record's own override at {ruling.said_at}: {ruling.method}",
    Layer.FIELD: "the field rule {ruling.said_at}: {ruling.method}",
    Layer.ENTITY: "the default of {entity}: {ruling.method}",
}
_METHODS = {
    Method.MANUAL: "where both sides changed it differently, a person decides",
    Method.RESOLVE_AS_HUB: "where both sides changed it differently, the hub's value stands",
    Method.RESOLVE_AS_SIS: "where both sides changed it differently, the SIS value stands",
    Method.ALWAYS_HUB: "the hub's value stands whoever changed it",
    Method.ALWAYS_SIS: "the SIS value stands whoever changed it",
    Method.NEWEST: "where both sides changed it differently, the later change stands",
}


def _lone(dispute: Dispute) -> SideName | None:
    if dispute.sis_moved and dispute.hub_moved:
        return None
    return "sis" if dispute.sis_moved else "hub"


def _still(decision: Decision, dispute: Dispute, node: Node) -> bool:
    """Whether no value has changed; a side that has got the outcome by now has not changed its mind."""
    if dispute.is_order:
        asked, found = (decision.base, decision.sis, decision.hub), (dispute.base, dispute.sis, dispute.hub)
        return all(_common(then, now) == _common(now, then) for then, now in zip(asked, found, strict=True))
    sides = (decision.sis, dispute.sis), (decision.hub, dispute.hub)
    is_asked = all(node.same(then, now) or node.same(decision.outcome, now) for then, now in sides)
    return is_asked and node.same(decision.base, dispute.base)


def _common(order: Value, other: Value) -> list[str]:
    """The part of an order that is in the other, too: items come and go by decisions of their own."""
    return [name for name in order if name in other] if isinstance(order, list) and isinstance(other, list) else []


def _is_away(rules: Rules, known: Known) -> bool:
    return rules.student_audience and not known.home


def _newer(hub: Side, sis: Side, zone: tzinfo) -> SideName | None:
    if hub.changed_at is None or sis.changed_at is None:
        return None
    ahead = _zoned(hub.changed_at, zone) - _zoned(sis.changed_at, zone)
    if abs(ahead) <= NEWEST_APART:
        return None
    return "hub" if ahead > timedelta() else "sis"


def _zoned(at: datetime, zone: tzinfo) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _times(known: Known, zone: tzinfo) -> str:
    hub, sis = known.hub.changed_at, known.sis.changed_at
    if hub is None or sis is None:
        return "one of them names no time, so it is a conflict"
    told = f"the hub's is of {_zoned(hub, zone).isoformat()}, that of the SIS of {_zoned(sis, zone).isoformat()}"
    return told if _newer(known.hub, known.sis, zone) else told + ", within five minutes, so it is a conflict"


def _turns(writings: tuple[Writing, ...], now: datetime) -> int:
    return max((flips(writings, writing.before, writing.after, now) for writing in writings), default=0)


def _longest(said: Mapping[str, Method] | frozenset[str], path: Path) -> str | None:
    """The longest of these pointers that is the path or stands above it; one that names an item before one with `$`."""
    found: tuple[tuple[int, int], str] | None = None
    for at in said:
        parts = path_of(at)
        if len(parts) <= len(path) and all(map(_fits, parts, path)):
            rank = len(parts), sum(map(is_item, parts))
            found = max(found, (rank, at)) if found else (rank, at)
    return found[1] if found else None


def _fits(said: str, part: str) -> bool:
    return said == part or (said == "$" and is_item(part))
