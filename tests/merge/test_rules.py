"""Which rule decides, and what each method does."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from homeroom_merge.plan import Change
from homeroom_merge.records import Decision, Known, Method, Own, Writing
from homeroom_merge.rules import Layer, Rules, explain
from homeroom_merge.values import ABSENT
from tests.merge.records import NOW, SHAPE, bodies, conflicts, known, live, merged

BASE = {"text": "old"}
HUB, SIS = {"text": "hub"}, {"text": "sis"}


def rules(method: Method, **members: object) -> Rules:
    return replace(Rules("Note", method), **members)  # type: ignore[arg-type]


def both_changed(method: Method, **members: object) -> Change:
    return merged(known(BASE, HUB, SIS), rules(method, **members))


def test_manual_makes_a_conflict_of_what_both_changed() -> None:
    change = both_changed(Method.MANUAL)
    (conflict,) = change.conflicts
    assert (conflict.pointer, conflict.base, conflict.sis, conflict.hub) == ("/text", "old", "sis", "hub")
    assert conflict.rule == "entity manual"
    assert change.writes == ()
    assert change.base is None


@pytest.mark.parametrize("method", [Method.RESOLVE_AS_HUB, Method.ALWAYS_HUB])
def test_the_hub_wins_a_conflict(method: Method) -> None:
    assert bodies(both_changed(method)) == {"sis": HUB}


@pytest.mark.parametrize("method", [Method.RESOLVE_AS_SIS, Method.ALWAYS_SIS])
def test_the_sis_wins_a_conflict(method: Method) -> None:
    change = both_changed(method)
    assert bodies(change) == {"hub": SIS}
    assert change.fields[0].decided_by == f"entity {method}"


@pytest.mark.parametrize("method", [Method.RESOLVE_AS_HUB, Method.RESOLVE_AS_SIS, Method.NEWEST, Method.MANUAL])
def test_a_lone_change_needs_no_rule(method: Method) -> None:
    assert bodies(merged(known(BASE, BASE, SIS), rules(method))) == {"hub": SIS}
    change = merged(known(BASE, HUB, BASE), rules(method))
    assert bodies(change) == {"sis": HUB}
    assert change.fields[0].decided_by == "hub"


def test_always_hub_takes_back_what_the_sis_alone_changed() -> None:
    assert bodies(merged(known(BASE, BASE, SIS), rules(Method.ALWAYS_HUB))) == {"sis": BASE}


def test_always_sis_takes_back_what_the_hub_alone_changed() -> None:
    assert bodies(merged(known(BASE, HUB, BASE), rules(Method.ALWAYS_SIS))) == {"hub": BASE}


def test_always_sis_of_a_shared_record_counts_at_the_home_school_only() -> None:
    shared = rules(Method.ALWAYS_SIS, student_audience=True)
    home, away = known(BASE, HUB, BASE), known(BASE, HUB, BASE, home=False)
    assert bodies(merged(home, shared)) == {"hub": BASE}
    assert bodies(merged(away, shared)) == {"sis": HUB}
    assert bodies(merged(known(BASE, HUB, SIS, home=False), shared)) == {"sis": HUB}
    assert bodies(merged(away, rules(Method.ALWAYS_SIS))) == {"hub": BASE}


def timed(hub: datetime | None, sis: datetime | None) -> Known:
    return known(BASE, live(HUB, changed_at=hub), live(SIS, changed_at=sis))


@pytest.mark.parametrize(
    ("ahead_seconds", "written"),
    [(301, {"sis": HUB}), (-301, {"hub": SIS}), (300, {}), (-300, {}), (0, {})],
)
def test_newest_takes_the_later_change_unless_they_are_within_five_minutes(
    ahead_seconds: int, written: dict[str, object]
) -> None:
    change = merged(timed(NOW + timedelta(seconds=ahead_seconds), NOW), rules(Method.NEWEST))
    assert bodies(change) == written
    assert bool(change.conflicts) is not bool(written)


def test_newest_without_a_time_is_a_conflict() -> None:
    for record in (timed(None, NOW), timed(NOW, None)):
        assert conflicts(merged(record, rules(Method.NEWEST))) == ["/text"]


def test_a_sis_time_without_a_zone_takes_that_of_the_feed() -> None:
    zone = ZoneInfo("America/Edmonton")
    clock = NOW.astimezone(zone).replace(tzinfo=None)
    record = timed(NOW + timedelta(hours=1), clock)
    assert bodies(merged(record, rules(Method.NEWEST, zone=zone))) == {"sis": HUB}
    assert "within" in explain("/text", timed(NOW, clock), SHAPE, rules(Method.NEWEST, zone=zone), NOW).sentence


NAMED = {"name": {"first": "Ana", "last": "Roy"}}


def named(first: str, **members: object) -> Known:
    hub, sis = ({"name": {"first": f"{first}{side}", "last": "Roy"}} for side in "12")
    return replace(known(NAMED, hub, sis), **members)  # type: ignore[arg-type]


def test_the_longest_field_rule_wins_and_covers_what_lies_beneath() -> None:
    above = rules(Method.MANUAL, fields={"/name": Method.RESOLVE_AS_HUB})
    assert bodies(merged(named("A"), above)) == {"sis": {"name": {"first": "A1", "last": "Roy"}}}
    longer = replace(above, fields={**above.fields, "/name/first": Method.RESOLVE_AS_SIS})
    change = merged(named("A"), longer)
    assert bodies(change) == {"hub": {"name": {"first": "A2", "last": "Roy"}}}
    assert change.fields[0].decided_by == "field /name/first resolveAsSis"
    other = replace(above, fields={"/nam": Method.RESOLVE_AS_SIS, "/names": Method.RESOLVE_AS_SIS})
    assert conflicts(merged(named("A"), other)) == ["/name/first"]


def test_a_dollar_stands_for_every_item_of_a_list() -> None:
    base, hub, sis = ({"phones": [{"kind": "home", "number": number}]} for number in "012")
    ruled = rules(Method.MANUAL, fields={"/phones/$/number": Method.RESOLVE_AS_SIS})
    assert bodies(merged(known(base, hub, sis), ruled)) == {"hub": sis}
    own = Own(overrides={"/phones/[home]/number": Method.RESOLVE_AS_HUB, "/phones/$/number": Method.RESOLVE_AS_SIS})
    assert bodies(merged(known(base, hub, sis, own=own), ruled)) == {"sis": hub}


def test_layers_are_asked_strongest_first() -> None:
    ruled = rules(Method.RESOLVE_AS_SIS, fields={"/number": Method.RESOLVE_AS_SIS, "/text": Method.RESOLVE_AS_SIS})
    own = Own(overrides={"/text": Method.MANUAL, "/number": Method.ALWAYS_SIS}, sticky=frozenset({"/number"}))
    record = known(BASE, HUB, SIS, own=own)
    found = {at: explain(at, record, SHAPE, ruled, NOW).ruling for at in ("/number", "/text", "/else")}
    assert {at: (ruling.layer, ruling.method) for at, ruling in found.items()} == {
        "/number": (Layer.LOCKED, Method.ALWAYS_HUB),
        "/text": (Layer.RECORD, Method.MANUAL),
        "/else": (Layer.ENTITY, Method.RESOLVE_AS_SIS),
    }
    sticky = replace(record, own=replace(own, sticky=frozenset({"/text"})))
    assert explain("/text", sticky, SHAPE, ruled, NOW).ruling.layer is Layer.STICKY
    plain = replace(record, own=Own())
    assert explain("/text", plain, SHAPE, ruled, NOW).ruling.layer is Layer.FIELD


def test_a_locked_field_is_the_hubs_whatever_the_settings_say() -> None:
    record = known({"number": "1"}, {"number": "1"}, {"number": "2"}, own=Own({"/number": Method.ALWAYS_SIS}))
    change = merged(record, rules(Method.ALWAYS_SIS))
    assert bodies(change) == {"sis": {"number": "1"}}
    assert change.fields[0].decided_by == "locked alwaysHub"


def test_a_sticky_hand_edit_outlasts_the_sis() -> None:
    sticky = known(BASE, BASE, SIS, own=Own(sticky=frozenset({"/text"})))
    assert bodies(merged(sticky, rules(Method.ALWAYS_SIS))) == {"sis": BASE}


def test_a_decision_stands_on_the_values_it_was_made_on() -> None:
    decided = Own(decisions={"/text": Decision("typed", "old", "sis", "hub")})
    change = merged(known(BASE, HUB, SIS, own=decided))
    assert bodies(change) == {"hub": {"text": "typed"}, "sis": {"text": "typed"}}
    assert change.fields[0].decided_by == "decision"
    assert conflicts(merged(known(BASE, HUB, {"text": "other"}, own=decided))) == ["/text"]
    removed = Own(decisions={"/text": Decision(ABSENT, "old", "sis", "hub")})
    assert bodies(merged(known(BASE, HUB, SIS, own=removed))) == {"hub": {}, "sis": {}}


def arguing(*hours_ago: float) -> Own:
    return Own(writings={"/text": tuple(Writing(NOW - timedelta(hours=ago), "old", "sis") for ago in hours_ago)})


def test_a_field_that_flipped_three_times_in_a_day_becomes_a_conflict() -> None:
    change = merged(known(BASE, BASE, SIS, own=arguing(1, 2, 23)), rules(Method.ALWAYS_HUB))
    assert [(found.pointer, found.rule) for found in change.conflicts] == [("/text", "flips")]
    for own in (arguing(1, 2), arguing(1, 2, 24)):
        assert bodies(merged(known(BASE, BASE, SIS, own=own))) == {"hub": SIS}
    assert bodies(merged(known(BASE, BASE, HUB, own=arguing(1, 2, 3)))) == {"hub": HUB}


@pytest.mark.parametrize(
    ("record", "ruled", "words"),
    [
        (known(BASE, HUB, SIS), rules(Method.MANUAL), "the default of Note: manual; where both sides changed"),
        (known(BASE, HUB, SIS, home=False), rules(Method.ALWAYS_SIS, student_audience=True), "not the one named home"),
        (known(BASE, HUB, SIS), rules(Method.NEWEST), "names no time, so it is a conflict"),
        (known(BASE, HUB, SIS, own=arguing(1, 2, 3)), rules(Method.MANUAL), "to and fro three times in 24 hours"),
        (known(BASE, HUB, SIS, own=Own(sticky=frozenset({"/text"}))), rules(Method.MANUAL), "sticky until cleared"),
        (timed(NOW + timedelta(hours=1), NOW), rules(Method.NEWEST), "the hub's is of 2027-09-01T03:00:00+00:00"),
    ],
)
def test_explain_says_which_layer_decides_and_why(record: Known, ruled: Rules, words: str) -> None:
    sentence = explain("/text", record, SHAPE, ruled, NOW).sentence
    assert sentence.startswith("/text is decided by ")
    assert words in sentence
