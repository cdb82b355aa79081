"""Both directions in one run: edits on both sides, conflicts by every method, and both sides equal in the end."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeroom_merge.codec import canonical
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.values import Json
from homeroom_server.settings import Settings
from tests.merge.pupils import NAME_MAX, TABLE, File, School, opened_school, pupil

HOME, WORK = {"type": "home", "number": "555-0101"}, {"type": "work", "number": "555-0202"}
MOBILE = {"type": "mobile", "number": "555-0303"}


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        yield school
    await sis.close()


async def agreed(school: School, file: File, *keys: str) -> None:
    """Both sides have these pupils, and agree on them."""
    for key in keys:
        file.put(key, first="Ada", last="Bear", phones=json.dumps([HOME]))
    await school.merge()
    assert await school.hub() == file.bodies() == {key: pupil(phones=[HOME]) for key in keys}
    file.writes()


async def is_calm(school: School, rules: Rules | None = None) -> bool:
    """Whether a run right after plans nothing."""
    course = await school.merge(rules)
    return course.status == "success" and await school.outcomes(course) == {}


async def test_edits_of_both_sides_meet_in_one_run(school: School, file: File) -> None:
    await agreed(school, file, "r1", "r2", "r3")
    await school.say("r1", pupil("Eve", phones=[HOME, WORK]))  # the hub's field and item
    file.put("r1", last="Wolf", phones=json.dumps([HOME, MOBILE]), locker="17")  # the SIS's
    file.put("r2", first=None, middle="Q", last="Hare")
    file.put("r2", first="Ida")
    file.put("r4", first="New", last="There")
    await school.say("r5", pupil("New", "Here"))
    course = await school.merge()
    assert course.status == "success"
    hub, sis = await school.hub(), file.bodies()
    assert {key: _as_sis(body) for key, body in hub.items()} == {key: _as_sis(body) for key, body in sis.items()}
    assert hub["r1"]["firstName"] == "Eve"
    assert hub["r1"]["lastName"] == "Wolf"
    assert sorted(phone["type"] for phone in hub["r1"]["phones"]) == ["home", "mobile", "work"]
    assert hub["r2"] == pupil("Ida", "Hare", middleName="Q", phones=[HOME])
    assert hub["r4"] == pupil("New", "There")
    assert sis["r5"] == pupil("New", "Here")
    assert file.rows()["r1"]["locker"] == "17", "what the hub does not carry stays"
    assert file.writes().count("r5") == 1
    assert await is_calm(school)
    assert file.writes() == []


@pytest.mark.parametrize(
    ("method", "wins"),
    [
        (Method.MANUAL, None),
        (Method.RESOLVE_AS_HUB, "hub"),
        (Method.RESOLVE_AS_SIS, "sis"),
        (Method.ALWAYS_HUB, "hub"),
        (Method.ALWAYS_SIS, "sis"),
        (Method.NEWEST, None),
    ],
)
async def test_a_conflict_is_settled_by_each_method(
    school: School, file: File, method: Method, wins: str | None
) -> None:
    rules = Rules("Student", method)
    await agreed(school, file, "r1", "r2")
    await school.say("r1", pupil("Hub", phones=[HOME]))
    file.put("r1", first="Sis")
    file.put("r2", last="Wolf")
    course = await school.merge(rules)
    hub, sis = await school.hub(), file.bodies()
    if wins is None:
        assert (course.status, course.planned and course.planned.conflicts) == ("finishedWithIssues", 1)
        assert (hub["r1"]["firstName"], sis["r1"]["firstName"]) == ("Hub", "Sis"), "neither side is written"
        assert hub["r2"]["lastName"] == "Wolf", "all others go on"
        file.put("r1", first="Hub")
        await school.merge(rules)
        assert await school.own.fetchval("select count(*) from homeroom_merge.conflict") == 0
    else:
        assert hub["r1"]["firstName"] == sis["r1"]["firstName"] == wins.capitalize()
    if method is not Method.ALWAYS_HUB:
        assert hub["r2"]["lastName"] == "Wolf"
    assert await school.hub() == file.bodies()
    assert await is_calm(school, rules)


async def test_always_takes_back_what_the_other_side_changed_alone(school: School, file: File) -> None:
    await agreed(school, file, "r1", "r2")
    file.put("r1", first="Sis")
    await school.merge(Rules("Student", Method.ALWAYS_HUB))
    await school.say("r2", pupil("Hub", phones=[HOME]))
    await school.merge(Rules("Student", Method.ALWAYS_SIS))
    assert await school.hub() == file.bodies() == {"r1": pupil(phones=[HOME]), "r2": pupil(phones=[HOME])}


async def test_field_rules_decide_field_by_field(school: School, file: File) -> None:
    fields = {"/firstName": Method.RESOLVE_AS_SIS, "/phones/$/number": Method.RESOLVE_AS_HUB}
    rules = Rules("Student", Method.MANUAL, fields)
    await agreed(school, file, "r1")
    await school.say("r1", pupil("Hub", phones=[{**HOME, "number": "555-1111"}]))
    file.put("r1", first="Sis", phones=json.dumps([{**HOME, "number": "555-2222"}]))
    assert (await school.merge(rules)).status == "success"
    assert await school.hub() == file.bodies() == {"r1": pupil("Sis", phones=[{**HOME, "number": "555-1111"}])}
    assert await is_calm(school, rules)


async def test_a_first_merge_of_two_full_sides_ends_equal(school: School, file: File) -> None:
    for number in range(4):
        file.put(f"r{number}", first="Ada", last=f"Sis{number % 2}")
        await school.say(f"r{number + 2}", pupil(last=f"Hub{number % 2}", username=f"u{number}"))
    await school.merge(Rules("Student", Method.RESOLVE_AS_SIS))
    assert await school.hub() == file.bodies()
    assert (await school.hub())["r2"] == pupil(last="Sis0"), "an empty cell clears here"
    assert await is_calm(school, Rules("Student", Method.RESOLVE_AS_SIS))


async def test_what_the_sis_cannot_express_is_no_difference(school: School, file: File) -> None:
    long = "Wolfeschlegelsteinhausen"
    await agreed(school, file, "r1")
    await school.say("r1", pupil(last=long, phones=[HOME], birthCity="Elk"))
    await school.say("r2", pupil(last=long, birthCity="Elk"))
    await school.merge()
    assert {body["lastName"] for body in file.bodies().values()} == {long[:NAME_MAX]}
    assert {body["lastName"] for body in (await school.hub()).values()} == {long}, "nothing is cut on the hub"
    assert await is_calm(school)
    file.writes()
    await school.say("r1", pupil(last=long + "berger", phones=[HOME], birthCity="Elk"))
    await school.merge()
    assert file.writes() == [], "the SIS would show the same"
    assert await is_calm(school)


async def test_only_records_of_the_feeds_schools_are_made_in_the_sis(school: School, file: File) -> None:
    school.prefix = "r"
    await agreed(school, file, "r1")
    await school.say("heron1", pupil("Not", "Ours"))
    await school.say("raven1", pupil("Just", "Ours"))
    await school.merge()
    assert set(file.rows()) == {"r1", "raven1"}
    assert await is_calm(school)


async def test_an_undone_run_is_undone_on_both_sides(school: School, file: File) -> None:
    await agreed(school, file, "r1", "r2")
    before = file.bodies()
    await school.say("r1", pupil("Hub", phones=[HOME]))
    await school.say("r3", pupil("Made", "Here"))
    file.put("r2", last="Wolf")
    await school.say("r2", pupil(middleName="M", phones=[HOME]))
    done = await school.merge()
    assert await school.hub() == file.bodies()
    group = await school.group()
    await group.undo([done.run], datetime(2026, 11, 22, 12, tzinfo=UTC))
    sis, hub = file.bodies(), await school.hub()
    assert sis == {"r1": before["r1"], "r2": before["r2"] | {"lastName": "Wolf"}}, "the SIS's own edit is not the run's"
    assert hub["r2"] == pupil(middleName="M", phones=[HOME]), "nor is the hub's"
    assert hub["r3"] == pupil("Made", "Here")
    await school.merge()
    assert (file.bodies(), await school.hub()) == (sis, hub), "tonight's merge does not bring it back"
    file.put("r1", first="Later")
    await school.merge()
    assert (await school.hub())["r1"]["firstName"] == "Later", "a new change counts"


WORDS = ("Ada", "Eve", "Ida", "Wolfeschlegelsteinhausen", "Ö")


class Hand(random.Random):
    """Edits as people make them."""

    def body(self, body: Json) -> Json:
        """The body with a member or an item that says something else, or is gone."""
        edited = dict(body)
        name = self.choice(["firstName", "lastName", "middleName", "username", "phones"])
        if name == "phones":
            numbers = {"type": self.choice(["home", "work", "mobile"]), "number": f"555-{self.randrange(1000, 9999)}"}
            others = [phone for phone in body.get("phones", []) if phone["type"] != numbers["type"]]
            edited["phones"] = [*others, numbers] if self.random() < 0.7 else others
        elif name in ("middleName", "username") and self.random() < 0.4:
            edited.pop(name, None)
        else:
            edited[name] = self.choice(WORDS)
        return edited


@pytest.mark.parametrize("seed", range(4))
async def test_random_edits_of_both_sides_end_equal(school: School, file: File, seed: int) -> None:
    hand = Hand(seed)
    method = [Method.RESOLVE_AS_HUB, Method.RESOLVE_AS_SIS, Method.ALWAYS_HUB, Method.ALWAYS_SIS][seed % 4]
    rules = Rules("Student", method)
    await agreed(school, file, *(f"r{number}" for number in range(6)))
    for night in range(6):
        for key, body in (await school.hub()).items():
            if hand.random() < 0.5 and (edited := hand.body(body)) != body:
                await school.say(key, edited)
            if hand.random() < 0.5:
                edited = hand.body(file.bodies()[key])
                phones = json.dumps(edited["phones"]) if "phones" in edited else None
                cells = {"first": "firstName", "middle": "middleName", "last": "lastName", "user": "username"}
                values = {column: edited.get(name) for column, name in cells.items()}
                file.put(key, **{**values, "first": str(values["first"])[:NAME_MAX]}, phones=phones)
        file.put(f"sis{night}", first=hand.choice(WORDS)[:NAME_MAX], last="New")
        await school.say(f"hub{night}", pupil(hand.choice(WORDS)))
        course = await school.merge(rules)
        assert course.status == "success", await school.outcomes(course)
        hub, sis = await school.hub(), file.bodies()
        assert {key: _as_sis(body) for key, body in hub.items()} == {key: _as_sis(body) for key, body in sis.items()}
        file.writes()
        assert await is_calm(school, rules)
        assert file.writes() == []


def _as_sis(body: Json) -> Json:
    """As the SIS can say it; items have no order here."""
    cut = {name: value[:NAME_MAX] if isinstance(value, str) else value for name, value in body.items()}
    return cut | ({"phones": sorted(map(canonical, cut["phones"]))} if "phones" in cut else {})


async def test_the_newer_of_two_edits_stands(school: School, file: File) -> None:
    await agreed(school, file, "r1")
    rules = Rules("Student", Method.NEWEST)
    for ahead, wins in ((timedelta(hours=1), "Sis0"), (timedelta(hours=-1), "Hub1")):
        number = 0 if ahead > timedelta() else 1
        await school.say("r1", pupil(f"Hub{number}", phones=[HOME]))
        file.put("r1", first=f"Sis{number}")
        await school.own.execute(CHANGED, datetime.now(UTC) + ahead)
        await school.merge(rules)
        assert (await school.hub())["r1"]["firstName"] == file.bodies()["r1"]["firstName"] == wins


CHANGED = "update homeroom_merge.record set sis_changed_at = $1"
