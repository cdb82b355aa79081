"""Sides that know a record by keys of their own: what is written refers to what is there, as that side names it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom import Client
from homeroom_merge.connectors.hub import Hub
from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.group import Group
from homeroom_merge.linking import Links
from homeroom_merge.plan import Change, Kind, Write
from homeroom_merge.records import Awaited, Base, Fault, Known, Method, Side, State
from homeroom_merge.rules import Rules
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.terms import Terms
from homeroom_merge.testing import DATABASE, MemorySis
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import open_core
from tests.merge.feeds import IN_MEMORY, opened_state
from tests.merge.pupils import AT_ONCE, NOW, ORGANIZATIONS

CATALOGUE = """
[types.Teacher]
school_year = "none"
id_format = "uuid"
audience = "owner"
schema = "teacher.json"

[types.Group]
school_year = "none"
id_format = "uuid"
audience = "owner"
schema = "group.json"
"""
TEXT = {"type": "string"}
TEACHER = {"type": "object", "required": ["name"], "properties": {"name": TEXT}}
MEMBERS = {
    "type": "array",
    "x-item-key": "teacher",
    "items": {"type": "object", "properties": {"teacher": {**TEXT, "x-reference": "Teacher"}, "role": TEXT}},
}
GROUP = {
    "type": "object",
    "properties": {"name": TEXT, "lead": {**TEXT, "x-reference": "Teacher"}, "members": MEMBERS},
}
SHAPE = Shape.of(GROUP)


@dataclass
class Plain:
    """Between rows that say just what the hub says, and the hub."""

    entity: str
    fields: frozenset[str]

    def read(self, row: Row) -> Reading:
        body: Json = {name: row[name] for name in sorted(self.fields) if name in row}
        faults = (Fault("/name", "it says that it is broken"),) if row.get("name") == "broken" else ()
        return Reading(str(row["id"]), body, self.fields, "S.91", faults=faults)

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        return {"id": key, **{name: body[name] for name in sorted(self.fields) if name in body}}


@dataclass
class Staffed:
    """A Core that names records by UUIDs, and a SIS that names them otherwise."""

    client: Client
    own: asyncpg.Connection
    sis: MemorySis

    async def merge(self, *, approving: bool = True) -> dict[str, str]:
        """One night, and what is held approved: how each entity ended."""
        terms, sides = {}, {}
        for entity, schema in (("Teacher", TEACHER), ("Group", GROUP)):
            formatter = Plain(entity, frozenset(schema["properties"]))
            terms[entity] = Terms(
                "raven", entity, {None: entity}, frozenset({"S.91"}), ("A.9",), Shape.of(schema),
                Rules(entity, Method.RESOLVE_AS_HUB), draws_uuids=True, backups=IN_MEMORY,
            )  # fmt: skip
            verifiers = Verifier(schema), Verifier(schema, formatter.fields)
            sides[entity] = Sides({"A.9": Hub(self.client)}, LocalSis(self.sis, formatter), *verifiers, pacing=AT_ONCE)
        group = Group(self.own, terms, sides)
        courses = await group.run(NOW)
        held = [course.run for course in courses if course.status == "held" and approving]
        return {course.terms.entity: course.status for course in courses + await group.approve(held, NOW, "tests")}

    async def hub(self, entity: str) -> dict[str, Json]:
        """The bodies that the hub has, by their name."""
        found = {line["id"]: line["body"] async for line in self.client.snapshot(entity) if "id" in line}
        return {body["name"]: {**body, "id": key} for key, body in found.items()}

    async def say(self, entity: str, record: Json) -> None:
        """Somebody edits a record on the hub."""
        (now,) = (await self.client.get(entity, [{"id": record["id"]}])).records
        body = {name: value for name, value in record.items() if name != "id"}
        said = {"id": record["id"], "expectedVersion": now["coreVersion"], "deleted": False, "body": body}
        (result,) = (await self.client.submit(entity, [said])).results
        assert not result["rejections"], result


@pytest.fixture
async def staffed(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Staffed]:
    """Two teachers, and a group that one of them leads."""
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE)
    for name, schema in (("teacher", TEACHER), ("group", GROUP)):
        (tmp_path / f"{name}.json").write_text(json.dumps(schema))
    async with open_core(database_of_test, replace(settings, catalogue=str(path))) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS)
        async with opened_state(database_of_test) as own, core.client_with(await core.key("A.9"), "A.9") as client:
            sis = MemorySis(replace(DATABASE, delta=False))
            sis.put("Teacher", "t1", name="Ada")
            sis.put("Teacher", "t2", name="Eve")
            sis.put("Group", "g1", name="chess", lead="t1", members=[{"teacher": "t1", "role": "coach"}])
            yield Staffed(client, own, sis)


async def test_references_go_by_the_name_that_each_side_has(staffed: Staffed) -> None:
    await staffed.merge()
    teachers, groups = await staffed.hub("Teacher"), await staffed.hub("Group")
    ada, eve, chess = teachers["Ada"]["id"], teachers["Eve"]["id"], groups["chess"]
    assert str(UUID(chess["id"])) == chess["id"]
    assert (chess["lead"], chess["members"]) == (ada, [{"teacher": ada, "role": "coach"}])
    before = staffed.sis.writes.copy()
    assert await staffed.merge() == {"Teacher": "success", "Group": "success"}
    assert staffed.sis.writes == before
    assert await staffed.hub("Group") == groups
    await staffed.say("Group", {**chess, "lead": eve, "members": [*chess["members"], {"teacher": eve, "role": "help"}]})
    staffed.sis.put("Group", "g1", members=[{"teacher": "t1", "role": "head coach"}])
    await staffed.merge()
    row = staffed.sis.rows["Group"]["g1"]
    assert row["lead"] == "t2"
    assert row["members"] == [{"teacher": "t1", "role": "head coach"}, {"teacher": "t2", "role": "help"}]
    (found,) = (await staffed.hub("Group")).values()
    assert found["members"] == [{"teacher": ada, "role": "head coach"}, {"teacher": eve, "role": "help"}]
    await staffed.merge()
    planned = await staffed.own.fetchval(
        "select count(*) from planned where run = (select id from run order by begun_at desc limit 1)"
    )
    assert planned == 0


async def test_what_the_hub_made_reaches_the_sis_under_the_keys_that_it_has(staffed: Staffed) -> None:
    await staffed.merge()
    eve = (await staffed.hub("Teacher"))["Eve"]["id"]
    record = {"id": str(UUID(int=7)), "expectedVersion": 0, "body": {"name": "choir", "lead": eve}}
    (result,) = (await staffed.client.submit("Group", [{**record, "organization": "S.91"}])).results
    assert not result["rejections"], result
    await staffed.merge()
    (row,) = (row for row in staffed.sis.rows["Group"].values() if row["name"] == "choir")
    assert row["lead"] == "t2"


async def test_a_record_waits_until_the_hub_has_what_it_refers_to(staffed: Staffed) -> None:
    await staffed.merge()
    staffed.sis.put("Teacher", "t3", name="broken")
    staffed.sis.put("Group", "g2", name="drama", lead="t3")
    assert (await staffed.merge())["Group"] == "finishedWithIssues"
    assert "drama" not in await staffed.hub("Group")
    staffed.sis.put("Teacher", "t3", name="Una")
    assert (await staffed.merge())["Group"] == "success"
    assert (await staffed.hub("Group"))["drama"]["lead"] == (await staffed.hub("Teacher"))["Una"]["id"]


async def test_a_record_waits_while_what_it_refers_to_is_held(staffed: Staffed) -> None:
    """It was planned when the other was about to be written, and nobody let that go on."""
    await staffed.merge()
    for number in range(9):
        staffed.sis.put("Teacher", f"n{number}", name=f"New {number}")
    staffed.sis.put("Group", "g2", name="drama", lead="n1")
    assert await staffed.merge(approving=False) == {"Teacher": "held", "Group": "finishedWithIssues"}
    assert "drama" not in await staffed.hub("Group")
    await staffed.merge()
    assert (await staffed.merge())["Group"] == "success"
    assert (await staffed.hub("Group"))["drama"]["lead"] == (await staffed.hub("Teacher"))["New 1"]["id"]


KEYS = {f"t{number}": f"{number:08}-0000-4000-8000-000000000000" for number in range(4)}
LINKS = Links({"Teacher": dict(KEYS)})
key = st.sampled_from([*KEYS, "stranger"])
body = st.fixed_dictionaries(
    {"name": st.text(max_size=3)},
    optional={"lead": key, "members": st.lists(st.fixed_dictionaries({"teacher": key}), max_size=3)},
)


@given(body, body, body)
@settings(max_examples=300, deadline=None)
def test_what_is_turned_into_hub_ids_is_turned_back(seen: Json, then: Json, earlier: Json) -> None:
    base = Base(then, then, refused={"": seen, "/lead": "t1", "/members/[x]/teacher": "t2"})
    known = Known("g1", "id", Side(State.LIVE, seen), Side(State.LIVE, seen), base, awaiting=Awaited(base, (earlier,)))
    merged = LINKS.merged(known, SHAPE)
    assert merged.hub == known.hub
    assert merged.base is not None
    assert merged.awaiting is not None
    assert merged.base.hub == then
    for told, was in ((merged.sis.body, seen), (merged.base.sis, then), (merged.awaiting.earlier[0], earlier)):
        assert told == SHAPE.turned(was, lambda _, name: KEYS.get(name, name))
    change = Change("g1", "id", (Write("sis", Kind.UPDATE, merged.sis.body), Write("hub", Kind.UPDATE, then)))
    kept = LINKS.kept(replace(change, base=merged.base), SHAPE)
    assert kept.base == base
    assert [write.body for write in kept.writes] == [seen, then]


def test_what_is_made_in_the_sis_waits_for_what_it_refers_to() -> None:
    known = Known(None, "id", Side(State.LIVE, {"lead": KEYS["t1"]}), Side(State.ABSENT))
    change = Change(None, "id", (Write("sis", Kind.CREATE, {"lead": KEYS["t1"]}),))
    assert Links({"Teacher": {"t9": "other"}}).missing(known, change, SHAPE) == (("Teacher", KEYS["t1"]),)
    assert LINKS.missing(known, change, SHAPE) == Links().missing(known, change, SHAPE) == ()


def test_a_reference_to_what_may_be_known_under_another_key_is_left_as_it_is() -> None:
    """Somebody has to say first whether it is the same; the rest of the record goes on, and a new one waits."""
    links = Links({"Teacher": {**KEYS, "new": None}})
    body: Json = {"name": "chess", "lead": "new", "members": [{"teacher": "t1"}]}
    sis = Side(State.LIVE, body, frozenset(body))
    old = Known("g1", "id", Side(State.LIVE, {}), sis, Base({}, {}))
    kept = links.decided(old, SHAPE).sis
    assert (kept.body, kept.covered) == ({"name": "chess", "members": body["members"]}, frozenset({"name", "members"}))
    assert LINKS.decided(old, SHAPE) is old
    new = replace(old, base=None)
    assert links.decided(new, SHAPE) is new
    assert links.missing(new, Change("g1", "id"), SHAPE) == (("Teacher", "new"),)
