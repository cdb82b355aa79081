"""Realtime: a run over just the records that moved, on either side, without a trace of all the others."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from homeroom_merge.connectors.connector import Abilities, Fetch
from homeroom_merge.connectors.hub import Hub, HubSeen
from homeroom_merge.draining import TRIGGERS_MAX, drain
from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.group import Group
from homeroom_merge.guards import Limits
from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.opening import InProgressError
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.run import Course
from homeroom_merge.shape import Shape
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.store import connection as state
from homeroom_merge.store import runs, seen, triggers
from homeroom_merge.terms import Terms
from homeroom_merge.testing import MemorySis
from homeroom_merge.testing.memory import DATABASE
from homeroom_merge.values import Json, SideName
from homeroom_merge.verification import Verifier
from homeroom_server.settings import Settings
from tests.merge.pupils import NOW, Pupils, School, feed_of, opened_school, pupil

STUDENT = "Student"


class Numbered(Pupils):
    """Pupils whose number is in the locker column."""

    def read(self, row: Row) -> Reading:
        return replace(super().read(row), number=str(row["locker"]) if row.get("locker") else None)


class Asked(MemorySis):
    """A SIS that knows what it was asked for."""

    def __init__(self, abilities: Abilities = DATABASE) -> None:
        super().__init__(abilities)
        self.looked: list[str] = []
        self.fetches = 0

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        self.fetches += 1
        return await super().fetch(entity, cursor)

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        self.looked += keys
        return await super().fetch_by_id(entity, keys)


@dataclass
class Realtime:
    """A school whose records are merged as they move."""

    school: School
    sis: Asked
    change: Callable[[Terms], Terms] = lambda terms: terms
    rules: Rules = field(default_factory=lambda: Rules(STUDENT))
    on_hub: list[str] = field(default_factory=list)
    """The ids that the hub was asked for."""

    def put(self, key: str, first: str = "Ada", last: str = "Bear", **cells: object) -> None:
        self.sis.put(STUDENT, key, first=first, last=last, school="S.91", **cells)

    async def group(self) -> Group:
        told = self.school.client, self.school.own, self.sis, Numbered(), self.rules, self.change
        return await feed_of(*told)

    async def agree(self, *keys: str) -> None:
        """Both sides have these pupils, and agree on them."""
        for key in keys:
            self.put(key)
        await self.night()
        self.forget()

    async def night(self) -> Course:
        """A run over everything; what is held is approved."""
        group = await self.group()
        (course,) = await group.run(NOW, runner="nightly")
        if course.status == "held":
            (course,) = await group.approve([course.run], NOW, "tests")
        return course

    def forget(self) -> None:
        self.sis.looked, self.sis.fetches = [], 0
        self.sis.writes.clear()
        self.on_hub.clear()

    async def subject(self) -> int:
        return (await seen.find_subject(self.school.own, "raven", STUDENT)).number

    async def moved(self, side: SideName, *keys: str) -> None:
        """Somebody noticed."""
        await triggers.raise_(self.school.own, await self.subject(), side, keys)

    async def drain(self) -> Course | None:
        return await drain(self.school.own, await self.group(), STUDENT, NOW)

    async def drain_all(self) -> None:
        while (course := await self.drain()) is not None:
            assert course.status == "success", await self.school.outcomes(course)

    async def drained(self) -> Course:
        course = await self.drain()
        assert course is not None
        return course

    async def triggers(self) -> dict[str, str]:
        """What is left of them: by key, whether it is dirty, or why it is parked."""
        rows = await self.school.own.fetch("select key, parked, why from homeroom_merge.trigger")
        return {row["key"]: row["why"] if row["parked"] else "dirty" for row in rows}

    async def runs(self) -> int:
        return int(await self.school.own.fetchval("select count(*) from homeroom_merge.run where runner = 'realtime'"))

    def bodies(self) -> dict[str, Json]:
        return {key: Numbered().read(row).body for key, row in self.sis.rows[STUDENT].items()}

    async def cursors(self) -> tuple[str, str]:
        row = await self.school.own.fetchrow("select hub_cursor, sis_cursor from homeroom_merge.subject")
        assert row is not None
        return row["hub_cursor"], row["sis_cursor"]


class Contacts:
    """Between rows of contacts and contacts, each of a pupil."""

    entity = "Contact"
    fields = frozenset({"studentId", "firstName", "lastName"})

    def read(self, row: Row) -> Reading:
        names = {"studentId": row.get("student"), "firstName": row.get("first"), "lastName": row.get("last")}
        return Reading(str(row["id"]), names, self.fields, "S.91")

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        cells = {"student": body["studentId"], "first": body["firstName"], "last": body["lastName"]}
        return {**({} if row is None else row), "id": key, **cells}


@pytest.fixture
async def at(database_of_test: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Realtime]:
    sis = Asked()
    async with opened_school(database_of_test, settings, sis) as school:
        realtime, look = Realtime(school, sis), Hub.look

        async def looked(hub: Hub, of: str, ids: Sequence[str], *known: Mapping[str, int]) -> list[HubSeen]:
            realtime.on_hub.extend(ids)
            return await look(hub, of, ids, *known)

        monkeypatch.setattr(Hub, "look", looked)
        yield realtime


async def test_edits_of_either_side_reach_the_other_and_touch_no_other_record(at: Realtime) -> None:
    await at.agree(*(f"r{number}" for number in range(20)))
    cursors = await at.cursors()
    await at.school.say("r1", pupil("Hub"))
    at.put("r2", "Sis")
    at.put("r3", "Unnoticed")
    await at.moved("hub", "r1")
    await at.moved("sis", "r2")
    course = await at.drained()
    assert (course.status, await at.triggers()) == ("success", {})
    hub = await at.school.hub()
    assert (hub["r1"], hub["r2"], hub["r3"]) == (pupil("Hub"), pupil("Sis"), pupil("Ada"))
    assert at.bodies()["r1"] == pupil("Hub")
    assert (set(at.on_hub), set(at.sis.looked), at.sis.fetches) == ({"r1", "r2"}, {"r1", "r2"}, 0)
    assert at.sis.writes == {"r1": 1}
    assert await at.cursors() == cursors, "a full run sees all that it would have seen"
    assert course.report is not None
    planned = await at.school.outcomes(course)
    assert (course.report.runner, set(planned)) == ("realtime", {"r1", "r2"})
    assert await at.drain() is None


async def test_both_sides_of_a_record_are_looked_at_though_one_was_noticed(at: Realtime) -> None:
    await at.agree("r1")
    await at.school.say("r1", pupil("Hub"))
    at.put("r1", last="Sis")
    await at.moved("hub", "r1")
    await at.drained()
    assert await at.school.hub() == at.bodies() == {"r1": pupil("Hub", "Sis")}


async def test_new_records_of_either_side_are_made_on_the_other(at: Realtime) -> None:
    await at.agree("r1")
    at.put("r2", "New")
    await at.school.say("r3", pupil("Made", "Here"))
    await at.moved("sis", "r2")
    await at.moved("hub", "r3", "of-nobody")
    assert (await at.drained()).status == "success"
    assert await at.school.hub() == at.bodies() == {"r1": pupil(), "r2": pupil("New"), "r3": pupil("Made", "Here")}
    assert (await at.night()).status == "success"
    assert at.sis.writes == {"r3": 1}


async def test_a_record_that_both_sides_made_meanwhile_is_linked(at: Realtime) -> None:
    await at.agree("r1")
    at.put("r2", "New")
    await at.school.say("r2", pupil("New"))
    await at.moved("hub", "r2")
    assert (await at.drained()).status == "success"
    assert (at.sis.writes, await at.triggers()) == ({}, {})
    assert await at.school.own.fetchval("select count(*) from homeroom_merge.record where base_hub is not null") == 2


async def test_a_new_key_with_a_known_number_is_proposed_and_not_made(at: Realtime) -> None:
    at.put("r1", locker="number 1")
    await at.agree("r2")
    at.sis.remove(STUDENT, "r1")
    at.put("r9", locker="number 1")
    await at.moved("sis", "r9")
    await at.drained()
    assert set(await at.school.hub()) == {"r1", "r2"}
    assert await at.triggers() == {"r9": "conflict"}
    assert await at.school.own.fetchval("select rule from homeroom_merge.conflict") == "proposed re-key"


async def test_our_own_writes_wake_nothing(at: Realtime) -> None:
    await at.agree("r1", "r2")
    await at.school.say("r1", pupil("Hub"))
    at.put("r2", "Sis")
    await at.moved("hub", "r1")
    await at.moved("sis", "r2")
    await at.drained()
    at.forget()
    answer = await at.school.client.get(STUDENT, [{"id": "r2"}])
    await triggers.raise_on_hub(at.school.own, await at.subject(), {"r2": answer.records[0]["coreVersion"]})
    assert (await at.drain(), await at.runs()) == (None, 1), "not even looked at"
    assert at.on_hub == at.sis.looked == []
    await at.moved("hub", "r1", "r2")
    await at.moved("sis", "r1", "r2")
    course = await at.drained()
    assert (course.status, await at.triggers(), at.sis.writes) == ("success", {}, {})
    assert await at.school.own.fetchval("select count(*) from homeroom_merge.planned where run = $1", course.run) == 0


async def test_a_version_that_we_did_not_write_is_no_echo(at: Realtime) -> None:
    await at.agree("r1")
    await at.school.say("r1", pupil("Hub"))
    answer = await at.school.client.get(STUDENT, [{"id": "r1"}])
    await triggers.raise_on_hub(at.school.own, await at.subject(), {"r1": answer.records[0]["coreVersion"]})
    await at.drained()
    assert at.bodies()["r1"] == pupil("Hub")


async def test_what_a_node_behind_shows_is_not_taken_for_what_moved(at: Realtime) -> None:
    await at.agree("r1")
    await triggers.raise_on_hub(at.school.own, await at.subject(), {"r1": 10**6})
    course = await at.drained()
    assert (course.status, await at.triggers()) == ("failed", {"r1": "dirty"})


async def test_a_conflict_is_parked_until_a_side_moves(at: Realtime) -> None:
    await at.agree("r1")
    await at.school.say("r1", pupil("Hub"))
    at.put("r1", "Sis")
    await at.moved("hub", "r1")
    assert (await at.drained()).status == "finishedWithIssues"
    assert (await at.triggers(), await at.drain()) == ({"r1": "conflict"}, None)
    at.put("r1", "Hub")
    await at.moved("sis", "r1")
    assert (await at.drained()).status == "success"
    assert await at.school.own.fetchval("select count(*) from homeroom_merge.conflict") == 0
    assert await at.triggers() == {"r1": "conflict"}, "the hub's own, which the night removes"
    await at.night()
    assert await at.triggers() == {}


async def test_a_drain_leaves_the_conflicts_and_faults_of_others_alone(at: Realtime) -> None:
    await at.agree("r1", "r2", "r3")
    await at.school.say("r1", pupil("Hub"))
    at.put("r1", "Sis")
    at.put("r2", phones="no list")
    await at.moved("sis", "r1", "r2")
    await at.drained()
    assert await at.triggers() == {"r1": "conflict", "r2": "invalid"}
    at.put("r3", "Sis")
    await at.moved("sis", "r3")
    assert (await at.drained()).status == "success"
    own = at.school.own
    counts = [await own.fetchval(f"select count(*) from homeroom_merge.{table}") for table in ("conflict", "failing")]
    assert counts == [1, 1]


async def test_a_deleted_record_of_the_hub_is_deleted_and_absence_in_a_look_is_no_delete(at: Realtime) -> None:
    at.change = lambda terms: replace(terms, policy=DeletePolicy(OnDelete.DELETE))
    at.rules = Rules("Staff")
    await at.agree("r1", "r2")
    await at.school.say("r1", None)
    at.sis.remove(STUDENT, "r2")
    await at.moved("hub", "r1")
    await at.moved("sis", "r2")
    await at.drained()
    assert (at.bodies(), await at.school.hub()) == ({}, {"r2": pupil()})
    assert await at.triggers() == {}
    await at.school.say("r1", pupil("Back"))
    at.put("r2", "Back")
    await at.moved("hub", "r1")
    await at.moved("sis", "r2")
    await at.drained()
    assert at.bodies() == await at.school.hub() == {"r1": pupil("Back"), "r2": pupil("Back")}


async def test_realtime_counts_over_a_day(at: Realtime) -> None:
    at.change = lambda terms: replace(terms, limits=Limits(updates=50))
    await at.agree(*(f"r{number}" for number in range(10)))
    for number in range(5):
        at.put(f"r{number}", "Sis")
        await at.moved("sis", f"r{number}")
        assert (await at.drained()).status == "success"
    at.put("r4", "Again")
    await at.moved("sis", "r4")
    assert (await at.drained()).status == "success", "a record counts once"
    at.put("r5", "Sis")
    await at.moved("sis", "r5")
    held = await at.drained()
    assert held.status == "held"
    assert held.log.guard_reasons == ("6 updates: 60.0 % of 10 records, more than 50 %",)
    assert (await at.triggers(), await at.drain()) == ({"r5": "held"}, None)
    at.put("r6", "Sis")
    await at.moved("sis", "r6")
    newer = await at.drained()
    assert newer.status == "held"
    open_ = await runs.with_status(at.school.own, "raven", "held")
    assert [run.id for run in open_] == [newer.run], "a newer plan takes in what the older one held"
    await (await at.group()).approve([newer.run], NOW, "tests")
    assert at.bodies() == await at.school.hub()


async def test_a_burst_is_drained_in_pages_and_what_comes_meanwhile_stays(at: Realtime) -> None:
    await at.agree("r1", "r2")
    burst = [f"nobody {number}" for number in range(10_000)]
    at.put("r1", "Sis")
    await at.moved("sis", "r1", *burst)
    passes, fetch = 0, at.sis.fetch_by_id

    async def meanwhile(entity: str, keys: Sequence[str]) -> Fetch:
        found = await fetch(entity, keys)
        if passes == 0 and at.bodies()["r2"] == pupil():
            at.put("r2", "During")
            await at.moved("sis", "r2", keys[0])
        return found

    at.sis.fetch_by_id = meanwhile  # type: ignore[method-assign]
    while (course := await at.drain()) is not None:
        passes += 1
        assert course.status == "success", course.log.notes
    assert passes == 10_001 // TRIGGERS_MAX + 1
    assert {key: at.sis.looked.count(key) for key in burst} == {key: 1 + (key == burst[0]) for key in burst}
    assert await at.school.hub() == {"r1": pupil("Sis"), "r2": pupil("During")}
    assert await at.triggers() == {}


async def test_a_sis_that_cannot_be_read_by_id_waits_for_the_night(at: Realtime) -> None:
    at.sis.abilities = replace(DATABASE, by_id=False)
    await at.agree("r1", "r2")
    await at.school.say("r1", pupil("Hub"))
    at.put("r2", "Sis")
    await at.moved("hub", "r1")
    await at.moved("sis", "r2")
    assert (await at.drain(), await at.runs(), await at.triggers()) == (None, 0, {"r1": "tonight", "r2": "tonight"})
    assert await triggers.subjects(at.school.own) == []
    assert (await at.night()).status == "success"
    assert (await at.triggers(), at.bodies()["r1"]) == ({}, pupil("Hub"))


async def test_an_entity_that_was_never_merged_waits_for_its_first_merge(at: Realtime) -> None:
    at.put("r1")
    await at.moved("sis", "r1")
    assert (await at.drain(), await at.triggers(), await at.school.hub()) == (None, {"r1": "tonight"}, {})
    await at.night()
    assert await at.triggers() == {}


async def test_a_night_removes_only_what_it_has_seen(at: Realtime) -> None:
    await at.agree("r1")
    await at.moved("sis", "r1")
    fetch = at.sis.fetch

    async def meanwhile(entity: str, cursor: str | None = None) -> Fetch:
        await at.moved("sis", "r1")
        return await fetch(entity, cursor)

    at.sis.fetch = meanwhile  # type: ignore[method-assign]
    await at.night()
    assert await at.triggers() == {"r1": "dirty"}


async def test_a_run_that_fails_or_is_dry_leaves_all_dirty(at: Realtime) -> None:
    await at.agree("r1")
    await at.moved("sis", "r1")
    await (await at.group()).run(NOW, dry=True)
    assert await at.triggers() == {"r1": "dirty"}
    at.sis.is_down = True
    assert (await at.drained()).status == "failed"
    await (await at.group()).run(NOW)
    assert await at.triggers() == {"r1": "dirty"}


async def test_what_waits_is_drained_once_what_it_waits_for_is(at: Realtime) -> None:
    own, client = at.school.own, at.school.client
    (schema,) = [
        each["schema"] for each in (await client.notification_types()).notification_types if each["name"] == "Contact"
    ]
    pupils, sis = await at.group(), LocalSis(at.sis, Contacts())
    terms = replace(
        pupils.terms_of(STUDENT),
        entity="Contact",
        types={None: "Contact"},
        shape=Shape.of(schema),
        rules=Rules("Contact"),
    )
    sides = replace(
        pupils.sides_of(STUDENT), sis=sis, hub_verifier=Verifier(schema), sis_verifier=Verifier(schema, sis.fields)
    )
    both = Group(
        own,
        {STUDENT: pupils.terms_of(STUDENT), "Contact": terms},
        {STUDENT: pupils.sides_of(STUDENT), "Contact": sides},
    )
    at.put("r1")
    at.sis.put("Contact", "c1", student="r1", first="Ma", last="Bear")
    await both.approve([course.run for course in await both.run(NOW)], NOW, "tests")
    at.put("r2")
    at.sis.put("Contact", "c2", student="r2", first="Pa", last="Bear")
    contacts = (await seen.find_subject(own, "raven", "Contact")).number
    await triggers.raise_(own, contacts, "sis", ["c2"])
    assert await drain(own, both, "Contact", NOW) is not None
    assert (await at.triggers(), await drain(own, both, "Contact", NOW)) == ({"c2": "waits"}, None)
    await at.moved("sis", "r2")
    assert await drain(own, both, STUDENT, NOW) is not None
    assert await at.triggers() == {"c2": "dirty"}
    course = await drain(own, both, "Contact", NOW)
    assert course is not None
    assert (course.status, await at.triggers()) == ("success", {})
    (contact,) = (await client.get("Contact", [{"id": "c2"}])).records
    assert contact["body"]["studentId"] == "r2"


async def test_two_drains_do_not_meet(at: Realtime, database_of_test: str) -> None:
    await at.agree("r1")
    await at.moved("sis", "r1")
    other = await state.connect(database_of_test)
    assert await runs.hold(other, await at.subject())
    with pytest.raises(InProgressError):
        await at.drain()
    await other.close()
    assert await at.triggers() == {"r1": "dirty"}


async def test_what_moves_while_it_is_written_is_looked_at_again_by_itself(at: Realtime) -> None:
    await at.agree("r1", "r2")
    await at.school.say("r1", pupil("Hub"))
    await at.moved("hub", "r1")
    at.sis.meanwhile = lambda key: at.put(key, last="Sis") if at.bodies()[key] == pupil() else None
    cursors = await at.cursors()
    assert (await at.drained()).status == "success"
    assert at.bodies()["r1"] == (await at.school.hub())["r1"] == pupil("Hub", "Sis")
    assert (await at.cursors(), set(at.on_hub)) == (cursors, {"r1"})


@dataclass
class Hands:
    """People on both sides at once, who keep to fields of their own, and what both sides are to be in the end."""

    at: Realtime
    chance: random.Random
    wanted: dict[str, Json]

    async def edit(self, number: int) -> None:
        """Some edits and new records; most of them are noticed."""
        for key in self.chance.sample(sorted(self.wanted), 3):
            first = self.wanted[key]["firstName"] = f"Hub{number}"
            (found,) = (await self.at.school.client.get(STUDENT, [{"id": key}])).records
            if not found.get("body"):
                self.wanted[key]["firstName"] = "New"  # the hub does not have it yet
                continue
            await self.at.school.say(key, {**found["body"], "firstName": first})
            await self._noticed("hub", key)
        for key in self.chance.sample(sorted(self.wanted), 3):
            self.of_sis(key, f"Sis{number}")
            await self._noticed("sis", key)
        self.at.put(f"sis{number}", "New")
        self.wanted[f"sis{number}"] = pupil("New")
        await self._noticed("sis", f"sis{number}")
        await self.at.school.say(f"hub{number}", pupil("New"))
        self.wanted[f"hub{number}"] = pupil("New")
        await self._noticed("hub", f"hub{number}")

    def of_sis(self, key: str, last: str) -> None:
        if key in self.at.sis.rows[STUDENT]:
            self.at.sis.put(STUDENT, key, last=last)
            self.wanted[key]["lastName"] = last

    def meanwhile(self, key: str) -> None:
        """Somebody edits a row just as it is written, now and then."""
        if self.chance.random() < 0.2:
            self.of_sis(key, f"While{self.chance.randrange(100)}")

    async def _noticed(self, side: SideName, key: str) -> None:
        if self.chance.random() < 0.8:
            await self.at.moved(side, key)


@pytest.mark.parametrize("drains", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_drains_and_a_night_come_to_what_nights_alone_come_to(at: Realtime, seed: int, drains: bool) -> None:
    at.change = lambda terms: replace(terms, limits=Limits(None, None, None, None))
    at.rules = Rules(STUDENT, Method.RESOLVE_AS_SIS)  # a field that the SIS moves between both writes
    keys = [f"r{number}" for number in range(6)]
    await at.agree(*keys)
    hands = Hands(at, random.Random(seed), {key: pupil() for key in keys})
    at.sis.meanwhile = hands.meanwhile
    for number in range(6):
        await hands.edit(number)
        if drains and hands.chance.random() < 0.7:
            await at.drain_all()
    at.sis.meanwhile = None
    await at.night()
    await at.night()
    assert await at.school.hub() == at.bodies() == hands.wanted
    assert await at.triggers() == {}
    at.forget()
    for side in ("hub", "sis"):
        await at.moved(side, *hands.wanted)
    await at.drain_all()
    assert at.sis.writes == {}, "no echo"
