"""Decisions over schemas and bodies of every kind: they settle what they were made on, and nothing else."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.pointing import field_of, plain, value_at, with_value
from homeroom_merge.records import Decision, Method, Own
from homeroom_merge.shape import Shape
from homeroom_merge.values import ABSENT, path_of
from tests.merge.records import SHAPE, conflicts, known, merged, persisted
from tests.merge.test_laws import MANY, Case, cases

SEEDS = st.integers(0, 2**40)


@given(cases(3), SEEDS)
@MANY
def test_after_any_decision_no_conflict_is_left_there_and_the_next_run_plans_nothing(case: Case, seed: int) -> None:
    hand, (base, hub, sis) = random.Random(seed), case.bodies
    record = known(base, hub, sis)
    asked = merged(record, shape=case.shape).conflicts
    decided = {
        each.pointer: Decision(hand.choice((each.hub, each.sis)), each.base, each.sis, each.hub)
        for each in asked
        if hand.random() < 0.7
    }
    some = replace(record, own=Own(decisions=decided))
    left = merged(some, shape=case.shape)
    assert set(conflicts(left)) <= {each.pointer for each in asked} - set(decided)
    if not left.conflicts:
        assert merged(persisted(some, left), shape=case.shape) is UNTOUCHED


@given(cases(3), SEEDS)
@MANY
def test_a_rule_of_its_own_leaves_no_conflict_there(case: Case, seed: int) -> None:
    hand, (base, hub, sis) = random.Random(seed), case.bodies
    record = known(base, hub, sis)
    asked = conflicts(merged(record, shape=case.shape))
    ruled = {at: hand.choice((Method.RESOLVE_AS_HUB, Method.ALWAYS_SIS)) for at in asked}
    settled = merged(replace(record, own=Own(overrides=ruled)), shape=case.shape)
    assert conflicts(settled) == []


@given(cases(3))
@MANY
def test_a_place_that_a_conflict_names_can_be_read_and_written(case: Case) -> None:
    base, hub, sis = case.bodies
    for each in merged(known(base, hub, sis), shape=case.shape).conflicts:
        path = path_of(each.pointer)
        if value_at(case.shape, hub, path) == each.hub:  # else it is the order of a list
            changed = with_value(case.shape, hub, path, each.sis)
            assert value_at(case.shape, changed, path) == each.sis
            if each.hub is not ABSENT and each.sis is not ABSENT:
                assert case.same(with_value(case.shape, changed, path, each.hub), hub), "nothing else has changed"
        assert field_of(each.pointer, case.shape, case.bodies) == each.pointer
        assert field_of(plain(each.pointer), case.shape, case.bodies) == each.pointer


def test_fields_are_named_plainly() -> None:
    body = {"phones": [{"kind": "home", "number": "1"}], "free": {"x": 1}}
    for said, where in (("phones.home.number", "/phones/[home]/number"), ("free.x", "/free/x"), ("number", "/number")):
        assert field_of(said, SHAPE, [body]) == where
    assert field_of("", Shape.of({}), []) == ""
