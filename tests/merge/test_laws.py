"""The laws of merging (merge.md 7), over schemas and bodies of every kind."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.merging import UNTOUCHED, DeletePolicy, OnDelete, merge
from homeroom_merge.plan import Change
from homeroom_merge.records import Base, Known, Method, Side, State
from homeroom_merge.rules import Rules
from homeroom_merge.shape import Node, Shape
from homeroom_merge.values import ABSENT, Value
from tests.merge.records import MANUAL, NOW, Json, known, live, merged, persisted

NAMES = ("a", "b", "c")
OF_METHODS = [Method.MANUAL, Method.RESOLVE_AS_HUB, Method.RESOLVE_AS_SIS]
SCALARS = [None, "", "x", "y", 1, 2]
MANY = settings(max_examples=400, deadline=None)


@dataclass(frozen=True, slots=True)
class Case:
    """A shape and bodies of it."""

    shape: Shape
    bodies: tuple[Json, ...]

    def same(self, one: Value, other: Value) -> bool:
        return self.shape.root.same(one, other)


class Making(random.Random):
    """Schemas, and bodies of them; by a seed, since thousands of them drawn piece by piece take minutes."""

    def schema(self, depth: int) -> Json:
        """A place: an object, a list of any kind, or text."""
        kind = self.choice(["object", "array", "keyed", "string"]) if depth else "string"
        if kind == "string":
            return {"type": "string"}
        if kind == "object":
            return self.object_schema(depth)
        found = {"type": "array", "x-ordered": self.random() < 0.5}
        return found if kind == "array" else found | {"x-item-key": "k", "items": self.object_schema(depth)}

    def object_schema(self, depth: int) -> Json:
        """An object of some of the names."""
        return {"type": "object", "properties": {name: self.schema(depth - 1) for name in self.some(NAMES)}}

    def value(self, schema: Json) -> Value:
        """What may stand in such a place, null and empty ones too."""
        if self.random() < 0.15:
            return None
        match schema["type"]:
            case "object":
                return self.body(schema)
            case "array" if "x-item-key" in schema:
                return [{"k": key, **self.body(schema["items"])} for key in self.some("pqrs")]
            case "array":
                return self.choices(SCALARS, k=self.randrange(4))
            case _:
                return self.choice(SCALARS)

    def body(self, schema: Json) -> Json:
        """Some of the members, and one that the schema does not know."""
        found = {name: self.value(inner) for name, inner in schema["properties"].items() if self.random() < 0.8}
        return found | ({"free": self.choice(SCALARS)} if self.random() < 0.3 else {})

    def like(self, schema: Json, value: Value) -> Value:
        """The value once somebody edited it here and there."""
        if self.random() < 0.2:
            return self.value(schema)
        if isinstance(value, dict) and schema["type"] == "object":
            return self.edited(schema, value)
        if isinstance(value, list) and "x-item-key" in schema:
            kept = [{**self.edited(schema["items"], item), "k": item["k"]} for item in value if self.random() < 0.8]
            keys = [key for key in self.some("pqrs") if key not in {item["k"] for item in value}]
            items = kept + [{"k": key, **self.body(schema["items"])} for key in keys[:1]]
            return self.sample(items, len(items)) if self.random() < 0.2 else items
        return value

    def edited(self, schema: Json, body: Json) -> Json:
        """A body of which some members say something else, or are gone."""
        members = {name: self.like(inner, body[name]) for name, inner in schema["properties"].items() if name in body}
        gone = [name for name in members if self.random() < 0.1]
        return {name: value for name, value in {**body, **members}.items() if name not in gone}

    def some(self, names: Sequence[str]) -> list[str]:
        """Some of them, in any order."""
        return self.sample(names, self.randrange(len(names) + 1))


def cases(count: int) -> st.SearchStrategy[Case]:
    """Bodies of one schema: each is another, or the first one edited."""
    return st.integers(0, 2**40).map(lambda seed: _case(Making(seed), count))


def _case(making: Making, count: int) -> Case:
    schema = {"type": "object", "properties": {name: making.schema(3) for name in NAMES}}
    found = [making.body(schema)]
    while len(found) < count:
        edited = making.edited(schema, found[0]) if making.random() < 0.7 else making.body(schema)
        found.append(edited)
    return Case(Shape.of(schema), tuple(found))


def _after(record: Known, case: Case, rules: Rules = MANUAL) -> Known:
    change = merged(record, rules, shape=case.shape)
    assert not change.conflicts
    return persisted(record, change)


def _both_hold(record: Known, case: Case, body: Json) -> bool:
    return case.same(record.hub.body, body) and case.same(record.sis.body, body)


@pytest.mark.parametrize("method", OF_METHODS)
@given(cases(2))
@MANY
def test_what_both_sides_say_alike_is_taken(method: Method, case: Case) -> None:
    base, body = case.bodies
    rules = Rules("Note", method)
    assert merged(known(base, body, body), rules, shape=case.shape).writes == ()
    assert _both_hold(_after(known(base, body, body), case, rules), case, body)


@pytest.mark.parametrize("method", OF_METHODS)
@given(cases(2))
@MANY
def test_what_one_side_alone_changed_is_taken(method: Method, case: Case) -> None:
    base, body = case.bodies
    rules = Rules("Note", method)
    assert _both_hold(_after(known(base, base, body), case, rules), case, body)
    assert _both_hold(_after(known(base, body, base), case, rules), case, body)


def _swapped(record: Known) -> Known:
    base = record.base and replace(record.base, hub=record.base.sis, sis=record.base.hub)
    return replace(record, hub=record.sis, sis=record.hub, base=base)


MIRRORED = {
    Method.MANUAL: Method.MANUAL,
    Method.RESOLVE_AS_HUB: Method.RESOLVE_AS_SIS,
    Method.RESOLVE_AS_SIS: Method.RESOLVE_AS_HUB,
    Method.ALWAYS_HUB: Method.ALWAYS_SIS,
    Method.ALWAYS_SIS: Method.ALWAYS_HUB,
}


def _seen_from_the_hub(change: Change) -> object:
    return [(found.pointer, found.sis, found.hub) for found in change.conflicts]


def _seen_from_the_sis(change: Change) -> object:
    return [(found.pointer, found.hub, found.sis) for found in change.conflicts]


@pytest.mark.parametrize("method", MIRRORED)
@given(cases(4))
@MANY
def test_merging_is_symmetric_but_for_the_rule(method: Method, case: Case) -> None:
    base_hub, base_sis, hub, sis = case.bodies
    record = known(Base(base_hub, base_sis), hub, sis)
    change = merged(record, Rules("Note", method), shape=case.shape)
    mirrored = merged(_swapped(record), Rules("Note", MIRRORED[method]), shape=case.shape)
    conflicts = sorted(_seen_from_the_hub(change), key=repr)  # type: ignore[call-overload]
    assert conflicts == sorted(_seen_from_the_sis(mirrored), key=repr)  # type: ignore[call-overload]
    if not conflicts:
        one, other = persisted(record, change), _swapped(persisted(_swapped(record), mirrored))
        assert case.same(one.hub.body, other.hub.body)
        assert case.same(one.sis.body, other.sis.body)


@pytest.mark.parametrize("method", [*MIRRORED, Method.NEWEST])
@given(cases(4), st.booleans())
@MANY
def test_a_second_run_right_after_plans_nothing(method: Method, case: Case, is_first: bool) -> None:
    base_hub, base_sis, hub, sis = case.bodies
    rules = Rules("Note", method)
    record = known(None if is_first else Base(base_hub, base_sis), hub, sis)
    change = merged(record, rules, shape=case.shape)
    if change.conflicts:
        assert change.writes == ()
        assert change.base is None
    else:
        assert merged(persisted(record, change), rules, shape=case.shape) is UNTOUCHED


@pytest.mark.parametrize("method", [*MIRRORED, Method.NEWEST])
@given(cases(4))
@MANY
def test_a_field_nobody_touched_is_never_written(method: Method, case: Case) -> None:
    base_hub, base_sis, hub, sis = case.bodies
    record = known(Base(base_hub, base_sis), hub, sis)
    change = merged(record, Rules("Note", method), shape=case.shape)
    root = case.shape.root
    for name in {*base_hub, *base_sis, *hub, *sis}:
        now, was = (hub, sis), (base_hub, base_sis)
        moved = any(not _same_at(root, name, *pair) for pair in zip(now, was, strict=True))
        if not moved:
            assert not any(field.pointer.split("/")[1] == name for field in change.fields)
            for write in change.writes:
                seen = hub if write.side == "hub" else sis
                assert _same_at(root, name, write.body or {}, seen)


def _same_at(root: Node, name: str, one: Json, other: Json) -> bool:
    return root.member(name).same(one.get(name, ABSENT), other.get(name, ABSENT))


@given(cases(4), st.sampled_from(list(State)), st.booleans(), st.booleans())
@MANY
def test_a_record_that_failed_is_untouched_on_both_sides(
    case: Case, state: State, is_hub: bool, is_first: bool
) -> None:
    base_hub, base_sis, hub, sis = case.bodies
    failed, body = Side(State.FAILED), hub if is_hub else sis
    other = live(body) if state is State.LIVE else Side(state)
    base = None if is_first else Base(base_hub, base_sis)
    change = merged(known(base, *((failed, other) if is_hub else (other, failed))), shape=case.shape)
    assert change.writes == ()
    assert change.base is None
    assert "failed verification" in change.note


@given(cases(3))
@MANY
def test_changes_to_different_members_never_conflict(case: Case) -> None:
    base, one, other = case.bodies
    hub = base | {"a": "hub"} if one else {name: base[name] for name in base if name != "a"}
    sis = base | {"b": other.get("b")}
    change = merged(known(base, hub, sis), shape=case.shape)
    assert change.conflicts == ()
    after = persisted(known(base, hub, sis), change)
    assert _same_at(case.shape.root, "a", after.hub.body or {}, hub)
    assert _same_at(case.shape.root, "b", after.hub.body or {}, sis)
    assert case.same(after.hub.body, after.sis.body)


@given(cases(4), st.sets(st.sampled_from(NAMES)))
@MANY
def test_what_the_sis_does_not_carry_never_travels(case: Case, names: set[str]) -> None:
    base_hub, base_sis, hub, sis = case.bodies
    covered = frozenset(names)
    base = Base(base_hub, {name: base_sis[name] for name in base_sis if name in covered}, covered=covered)
    seen = {name: sis[name] for name in sis if name in covered}
    record = known(base, hub, live(seen, covered))
    change = merged(record, Rules("Note", Method.RESOLVE_AS_SIS), shape=case.shape)
    for write in change.writes:
        if write.side == "sis":
            assert set(write.body or {}) <= covered
        else:
            assert all((write.body or {}).get(name, ABSENT) == hub.get(name, ABSENT) for name in {*hub} - covered)


POLICIES = [DeletePolicy(), DeletePolicy(OnDelete.DEACTIVATE, "a", "gone"), DeletePolicy(OnDelete.DELETE)]
AWAY = [Side(state) for state in State if state is not State.LIVE]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a record stands: what it was, who has it, and by what it is merged."""

    deleted: bool
    first: bool
    unlinked: bool
    hub: Side | None
    sis: Side | None
    rules: Rules
    policy: DeletePolicy

    def record(self, case: Case) -> Known:
        base_hub, base_sis, hub, sis = case.bodies
        base = None if self.first else Base(base_hub, base_sis, deleted=self.deleted)
        return known(base, self.hub or hub, self.sis or sis, unlinked=self.unlinked)


STANDINGS = st.builds(
    Standing,
    deleted=st.booleans(),
    first=st.booleans(),
    unlinked=st.booleans(),
    hub=st.none() | st.sampled_from(AWAY),
    sis=st.none() | st.sampled_from([side for side in AWAY if side.state is not State.OUT_OF_VIEW]),
    rules=st.sampled_from(list(Method)).map(lambda method: Rules("Note", method)),
    policy=st.sampled_from(POLICIES),
)


@pytest.mark.parametrize("drop_off", [False, True])
@given(cases(4), STANDINGS)
@MANY
def test_however_a_record_stands_a_second_run_writes_nothing(drop_off: bool, case: Case, standing: Standing) -> None:
    record = standing.record(case)
    change = merge(record, case.shape, standing.rules, standing.policy, NOW)
    after = persisted(record, change, drop_off)
    again = merge(after, case.shape, standing.rules, standing.policy, NOW)
    assert again.writes == ()
    assert again.conflicts == change.conflicts
    if change.unlink or change.set_aside or State.FAILED in (record.hub.state, record.sis.state):
        assert change.writes == ()


@given(cases(4), STANDINGS)
@MANY
def test_what_was_awaited_becomes_the_base_once_it_is_shown(case: Case, standing: Standing) -> None:
    record = standing.record(case)
    change = merge(record, case.shape, standing.rules, standing.policy, NOW)
    waiting = persisted(record, change, drop_off=True)
    at_once = persisted(record, change)
    shown = replace(waiting, sis=at_once.sis)
    after = persisted(shown, merge(shown, case.shape, standing.rules, standing.policy, NOW))
    assert (after.base, after.awaiting) == (at_once.base, None)
