"""A student erased from merges: nothing is left in any table or file, and no feed brings the student back."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
import zstandard
from anyio import to_thread
from typer.testing import CliRunner, Result

from homeroom_merge.command import app
from homeroom_merge.connectors.connector import Fetch
from homeroom_merge.connectors.hub import Hub
from homeroom_merge.draining import drain
from homeroom_merge.erasure import ErasureError, Student, erase, feeds_meant
from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.group import Group
from homeroom_merge.records import Fault, Method
from homeroom_merge.report.model import StepName
from homeroom_merge.rules import Rules
from homeroom_merge.run import Course
from homeroom_merge.runners import queue
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.store import own, queue_schema, seen, triggers
from homeroom_merge.store.connection import connect
from homeroom_merge.terms import Backups, Terms
from homeroom_merge.testing import MemorySis
from homeroom_merge.unnaming import unnamed
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier
from homeroom_server.settings import Settings
from tests.merge.pupils import AT_ONCE, NOW, Pupils, School, opened_school

CHILDREN = {
    "k-eve": ("Evangeline", "Quetzal", "n-4711"),
    "k-ida": ("Idalia", "Xanthos", "n-4712"),
    "k-ann": ("Annunziata", "Wolfsbane", "n-4713"),
}
BY_HAND = Rules("Student", Method.MANUAL)


class NumberedPupils(Pupils):
    """With their number in the locker column."""

    def read(self, row: Row) -> Reading:
        return replace(super().read(row), number=str(row["locker"]) if row.get("locker") else None)


class Contacts:
    """Between rows of contacts and the hub's: who they are to be told by is a student."""

    entity = "Contact"
    fields = frozenset({"studentId", "firstName", "lastName"})

    def read(self, row: Row) -> Reading:
        cells = {"studentId": row.get("student"), "firstName": row.get("first"), "lastName": row.get("last")}
        body: Json = {name: value for name, value in cells.items() if value}
        faults = () if "lastName" in body else (Fault("/lastName", "it has none"),)
        return Reading(str(row["id"]), body, self.fields, "S.91", faults=faults)

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        said = {"student": body.get("studentId"), "first": body.get("firstName"), "last": body.get("lastName")}
        return {"id": key, "school": "S.91", **(row or {}), **said}


class Slow(MemorySis):
    """One that answers once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = anyio.Event(), anyio.Event()
        self.may_answer.set()

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        self.asked.set()
        await self.may_answer.wait()
        return await super().fetch(entity, cursor)


@dataclass
class Feed:
    """Three children with a contact each, on whom both sides agree; ids on the hub are drawn."""

    school: School
    sis: Slow
    url: str
    folder: Path
    said: Mapping[str, Any] = field(default_factory=dict)

    async def group(self) -> Group:
        terms, sides = {}, {}
        formatters: tuple[Formatter, ...] = (NumberedPupils(), Contacts())
        for formatter in formatters:
            entity = formatter.entity
            said = self.said[entity]
            terms[entity] = Terms(
                "raven",
                entity,
                {None: entity},
                frozenset({"S.91"}),
                ("A.9",),
                Shape.of(said["schema"]),
                replace(BY_HAND, entity=entity),
                backups=Backups(f"file://{self.folder}"),
                student=said["student"],
                draws_uuids=True,
                complete_every_hours=0,
                feeds_before_delete=1,
            )
            verifiers = Verifier(said["schema"]), Verifier(said["schema"], formatter.fields)
            local = LocalSis(self.sis, formatter)
            sides[entity] = Sides({"A.9": Hub(self.school.client)}, local, *verifiers, pacing=AT_ONCE)
        return Group(self.school.own, terms, sides)

    async def night(self, *, approve: bool = True) -> dict[str, Course]:
        """By entity."""
        courses = await (await self.group()).run(NOW)
        if approve and (held := [each.run for each in courses if each.status == "held"]):
            await (await self.group()).approve(held, NOW, "tests")
        return {each.terms.entity: each for each in courses}

    async def hub_id(self, key: str, entity: str = "Student") -> str:
        return str(await self.school.own.fetchval(HUB_ID, entity, key))

    async def number(self, key: str, entity: str = "Student") -> int:
        return int(await self.school.own.fetchval(NUMBER, entity, key))

    async def edit_on_hub(self, hub_id: str, entity: str = "Student", **members: object) -> None:
        (found,) = (await self.school.client.get(entity, [{"id": hub_id}])).records
        record = {"id": hub_id, "expectedVersion": found["coreVersion"], "deleted": False}
        changed = [{**record, "body": {**found["body"], **members}}]
        (result,) = (await self.school.client.submit(entity, changed, uuid4())).results
        assert not result["rejections"], result

    async def erase(self, *arguments: str, exit_code: int = 0, answer: str = "") -> Any:
        """By the command."""
        done = await self.do(*arguments, answer=answer)
        assert done.exit_code == exit_code, (done.output, done.exc_info)
        return json.loads(done.stdout) if "--json" in arguments else done.output

    async def do(self, *arguments: str, answer: str = "") -> Result:
        said = ["erase-student", *arguments, "--reason", "the parents ask for it"]
        runner = CliRunner(env={"HOMEROOM_MERGE_DATABASE_URL": self.url})
        return await to_thread.run_sync(lambda: runner.invoke(app, said, input=answer))

    async def places_of(self, *needles: str) -> list[str]:
        """Every table and file where one of these stands: as text, within JSON, or as bytes."""
        tables = await self.school.own.fetch(TABLES)
        found = []
        for (table,) in tables:
            for (text,) in await self.school.own.fetch(f"select t::text from {table} t"):
                if any(needle in text or needle.encode().hex() in text for needle in needles):
                    found.append(str(table))
        files = [path.name for path in self.folder.rglob("*") if any(each in _unpacked(path) for each in needles)]
        return sorted({*found, *files})


HUB_ID = """
    select hub_id from homeroom_merge.record r join homeroom_merge.subject s on s.number = r.subject
    where s.entity = $1 and r.sis_key = $2
"""
NUMBER = HUB_ID.replace("hub_id", "r.number", 1)
TABLES = """
    select format('%I.%I', table_schema, table_name) from information_schema.tables
    where table_schema like 'homeroom\\_merge%' and table_type = 'BASE TABLE'
"""


def _unpacked(path: Path) -> str:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode() if path.is_file() else ""


OTHERS = {key: [name for other in CHILDREN if other != key for name in (other, *CHILDREN[other])] for key in CHILDREN}


def contact_of(key: str) -> str:
    return key.replace("k-", "c-")


@pytest.fixture
async def feed(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Feed]:
    sis = Slow()
    async with opened_school(database_of_test, settings, sis) as school:
        await queue_schema.apply(school.own)
        catalogue = (await school.client.notification_types()).notification_types
        feed = Feed(school, sis, database_of_test, tmp_path, {each["name"]: each for each in catalogue})
        for key, (first, last, number) in CHILDREN.items():
            sis.put("Student", key, first=first, last=last, locker=number, school="S.91")
            sis.put("Contact", contact_of(key), student=key, first="Parent", last=f"Of{last}", school="S.91")
        await feed.night()
        yield feed


async def lived(feed: Feed) -> None:
    """What months bring, for each child: edits both ways, a conflict and its decision, rules, faults, an undo, a held
    restore, triggers, a typed value that waits."""
    state, ids = feed.school.own, {key: await feed.hub_id(key) for key in CHILDREN}
    for key, hub_id in ids.items():
        feed.sis.put("Student", key, middle=f"Mid{key}")
        await feed.edit_on_hub(hub_id, username=f"user-{key}")
    edits = await feed.night()
    for key, hub_id in ids.items():
        feed.sis.put("Student", key, middle=f"Sis{key}")
        feed.sis.put("Contact", contact_of(key), last="")
        feed.sis.fail(key, "refused")
        await feed.edit_on_hub(hub_id, middleName=f"Hub{key}", username=f"new-{key}")
    await feed.night()
    await (await feed.group()).undo([edits["Student"].run], NOW)
    await (await feed.group()).restore(edits["Student"].run)
    subject = (await seen.find_subject(state, "raven", "Student")).number
    async with queue.open_queue(feed.url) as jobs:
        for key, hub_id in ids.items():
            number = await feed.number(key)
            await own.decide(state, number, "/middleName", json.dumps(f"Typed{key}"), "tests")
            await own.override(state, number, "/lastName", Method.ALWAYS_HUB, "tests")
            await own.stick(state, number, "/firstName", "tests")
            await triggers.raise_(state, subject, "hub", [hub_id])
            await triggers.raise_(state, subject, "sis", [key])
            await queue.defer_value(jobs, "raven", "Student", number, "/middleName", f"Typed{key}", "tests")


# A record that was linked to another has left its rows behind under a number that no record has.
ORPHANS = (
    """
    insert into homeroom_merge.planned (run, record, change, is_delete)
    select run, record + 1000000, change, is_delete from homeroom_merge.planned
    """,
    """
    insert into homeroom_merge.journal
        (run, record, side, kind, idempotency_key, hub_id, body, expected_version, before, result)
    select run, record + 1000000, side, kind, idempotency_key, hub_id, body, expected_version, before, 'done'
    from homeroom_merge.journal
    """,
    """
    insert into homeroom_merge.restoring (run, record, hub, sis)
    select run, record + 1000000, hub, sis from homeroom_merge.restoring
    """,
)
HOLDING = (
    "conflict",
    "decision",
    "journal",
    "left_out",
    "planned",
    "record",
    "restoring",
    "run",
    "student_key",
    "trigger",
    "writing",
)


async def others(feed: Feed, key: str) -> list[str]:
    """All that is known of the other children, row by row."""
    kept = []
    for table in ("record", "planned", "journal", "conflict", "decision", "left_out", "trigger"):
        rows = await feed.school.own.fetch(f"select t::text from homeroom_merge.{table} t order by 1")
        kept += [row[0] for row in rows if any(each in row[0] for each in OTHERS[key])]
    return kept


@pytest.mark.parametrize("key", ["k-eve", "k-ann"])
async def test_nothing_of_an_erased_student_is_left_and_nothing_comes_back(feed: Feed, key: str) -> None:
    await lived(feed)
    hub_id, contact_id = await feed.hub_id(key), await feed.hub_id(contact_of(key), "Contact")
    names = (*CHILDREN[key], key, contact_of(key), hub_id, contact_id)
    for statement in ORPHANS:
        await feed.school.own.execute(statement)
    before = await feed.places_of(*names)
    assert [each for each in HOLDING if f"homeroom_merge.{each}" not in before] == [], "or this shows nothing"
    assert "homeroom_merge_queue.procrastinate_jobs" in before
    untouched, on_hub, written = await others(feed, key), await bodies(feed), dict(feed.sis.writes)
    (told,) = (await feed.erase(hub_id, "--yes", "--json"))["feeds"]
    assert (told["feed"], told["known"], told["plainBackups"]) == ("raven", True, [])
    assert (told["erased"]["records"], told["erased"]["typed values"], told["erased"]["keys of backups"]) == (2, 1, 2)
    assert await feed.places_of(*names) == []
    assert await others(feed, key) == untouched
    await feed.school.own.execute("update homeroom_merge.subject set hub_cursor = null")
    night = await feed.night(approve=False)
    assert counts(night["Student"])["refused in the SIS"] == counts(night["Student"])["refused on the hub"] == 1
    assert counts(night["Contact"])["refused in the SIS"] == 1
    assert {course.status for course in night.values()} <= {"success", "finishedWithIssues"}, "no guard has tripped"
    assert await feed.places_of(*names) == []
    assert (await bodies(feed))[hub_id] == on_hub[hub_id]
    assert feed.sis.writes[key] == written.get(key, 0)
    assert set(await bodies(feed)) == set(on_hub)


async def bodies(feed: Feed) -> dict[str, Json]:
    return await feed.school.hub()


def counts(course: Course) -> Mapping[str, int]:
    (step,) = (step for step in course.log.steps if step.name is StepName.VERIFY)
    return step.counts


async def test_a_report_says_how_many_were_refused_and_not_who(feed: Feed) -> None:
    await feed.erase("--sis-key", "k-ida", "--feed", "raven", "--yes")
    course = (await feed.night())["Student"]
    assert course.status == "success"
    assert course.report is not None
    assert course.report.notes == (
        "erased student: 1 refused on the hub, 1 refused in the SIS; nothing of these records is kept or written",
    )


async def test_backups_hold_a_student_only_for_who_has_the_key_and_a_restore_leaves_the_erased_out(feed: Feed) -> None:
    feed.sis.put("Student", "k-ida", middle="Zara")
    course = (await feed.night())["Student"]
    assert course.backup is not None
    text = _unpacked(Path(course.backup.place.removeprefix("file://")))
    assert not [name for child in CHILDREN.values() for name in child if name in text]
    await feed.erase("--sis-key", "k-eve", "--feed", "raven", "--yes")
    feed.sis.put("Student", "k-ida", middle="Bad")
    await feed.night()
    restored = await (await feed.group()).restore(course.run)
    assert [note for note in restored.log.notes if note.startswith("1 records of the backup are left out")]
    assert list(await feed.school.outcomes(restored)) == [await feed.hub_id("k-ida")]


async def test_a_backup_from_before_students_had_keys_is_named_and_gives_no_erased_student_back(feed: Feed) -> None:
    hub_id = await feed.hub_id("k-eve")
    feed.sis.put("Student", "k-ida", middle="Zara")
    course = (await feed.night())["Student"]
    assert course.backup is not None
    path = Path(course.backup.place.removeprefix("file://"))
    checksum = make_plain(path, course.run, hub_id)
    await feed.school.own.execute("update homeroom_merge.backup set checksum = $2 where run = $1", course.run, checksum)
    said = await feed.erase(hub_id, "--yes")
    assert f"delete this backup, which is not sealed or cannot be read: file://{path}" in said
    restored = await (await feed.group()).restore(course.run)
    assert [note for note in restored.log.notes if note.startswith("1 records of the backup are left out")]
    assert await feed.places_of("k-eve") == [path.name]


def make_plain(path: Path, run: UUID, hub_id: str) -> str:
    """One of format 1 in its place, with one child."""
    side = {"state": "live", "body": {"firstName": "Evangeline", "lastName": "Quetzal"}}
    head = {"format": "homeroom-merge-backup", "version": 1, "feed": "raven", "entity": "Student", "run": str(run)}
    keys = {"hubId": hub_id, "sisKey": "k-eve", "school": "S.91", "schoolYear": None, "awaiting": None}
    line = {**keys, "hub": {**side, "version": 1}, "sis": {**side, "covered": None}}
    text = "".join(json.dumps(each) + "\n" for each in (head, line))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    path.write_bytes(zstandard.compress((text + json.dumps({"records": 1, "sha256": checksum}) + "\n").encode()))
    return checksum


async def test_a_student_who_comes_back_under_another_key_is_known_by_number(feed: Feed) -> None:
    await feed.erase("--sis-key", "k-eve", "--feed", "raven", "--yes")
    feed.sis.remove("Student", "k-eve")
    feed.sis.remove("Contact", "c-eve")
    feed.sis.put("Student", "k-new", first="Evangeline", last="Quetzal", locker="n-4711", school="S.91")
    feed.sis.put("Contact", "c-new", student="k-new", first="Parent", last="Quetzal", school="S.91")
    on_hub = await bodies(feed)
    night = await feed.night()
    assert [counts(course)["refused in the SIS"] for course in night.values()] == [1, 1]
    assert await feed.places_of("k-new", "c-new", "Evangeline", "Quetzal") == []
    assert await bodies(feed) == on_hub


async def test_a_record_that_comes_to_name_an_erased_student_is_refused_and_not_missed(feed: Feed) -> None:
    await feed.erase("--sis-key", "k-eve", "--feed", "raven", "--yes")
    feed.sis.put("Contact", "c-ida", student="k-eve")
    course = (await feed.night())["Contact"]
    assert counts(course)["refused in the SIS"] == 2
    assert await feed.school.own.fetchval(STATE, "c-ida") == "live", "it is there, whoever it is of"
    assert await feed.school.outcomes(course) == {}


STATE = "select sis_state::text from homeroom_merge.record where sis_key = $1"


async def test_a_trigger_of_an_erased_student_ends_quietly(feed: Feed) -> None:
    hub_id, state = await feed.hub_id("k-eve"), feed.school.own
    await feed.erase(hub_id, "--yes")
    subject = (await seen.find_subject(state, "raven", "Student")).number
    await triggers.raise_(state, subject, "sis", ["k-eve"])
    await triggers.raise_(state, subject, "hub", [hub_id])
    course = await drain(state, await feed.group(), "Student", NOW)
    assert course is not None
    assert (course.status, await feed.school.outcomes(course)) == ("success", {})
    assert await feed.places_of("k-eve", hub_id) == []


async def test_an_erasure_waits_for_no_run_that_goes_on_too_long_and_leaves_nothing_of_it(feed: Feed) -> None:
    feed.sis.asked, feed.sis.may_answer = anyio.Event(), anyio.Event()
    feed.sis.put("Student", "k-eve", middle="Meanwhile")
    student = Student(None, "k-eve")
    other = await connect(feed.url)
    (meant,) = (await feeds_meant(other, student, ["raven"])).items()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.night)
        await feed.sis.asked.wait()
        with pytest.raises(ErasureError, match="a run of raven is going on: nothing of this feed was erased"):
            await erase(other, meant, student, "tests", "asked for", is_meant=True, lock_seconds=0.05)
        assert await feed.number("k-eve")
        tasks.start_soon(_erased_once_free, other, meant, student)
        feed.sis.may_answer.set()
    await other.close()
    assert await feed.places_of("k-eve", "Evangeline", "Meanwhile") == []


async def _erased_once_free(connection: Any, meant: tuple[str, int], student: Student) -> None:
    await erase(connection, meant, student, "tests", "asked for", is_meant=True)


async def test_it_asks_first_and_says_what_there_is_and_does_nothing_without_a_yes(feed: Feed) -> None:
    hub_id = await feed.hub_id("k-eve")
    said = await feed.erase(hub_id, exit_code=1, answer="n\n")
    assert "raven: 2 records, " in said
    assert "would be erased" in said
    assert await feed.hub_id("k-eve") == hub_id
    assert await feed.school.own.fetchval("select count(*) from homeroom_merge.erased_student") == 0
    said = await feed.erase(hub_id, answer="y\n")
    assert "homeroom erase-student" in said, "the others have to be told"


async def test_erasing_again_changes_nothing(feed: Feed) -> None:
    hub_id = await feed.hub_id("k-eve")
    await feed.erase(hub_id, "--yes")
    (again,) = (await feed.erase(hub_id, "--yes", "--json"))["feeds"]
    assert not any(again["erased"].values())
    assert again["listed"] == 1, "the key that the hub's id would have in the SIS, which nobody knows any more"
    (third,) = (await feed.erase(hub_id, "--yes", "--json"))["feeds"]
    assert third["listed"] == 0


async def test_a_student_of_whom_nothing_is_known_is_put_on_the_list(feed: Feed) -> None:
    said = await feed.erase("--sis-key", "k-una", "--feed", "raven", "--yes")
    assert "raven: nothing is kept of the student" in said
    feed.sis.put("Student", "k-una", first="Una", last="Unknown", school="S.91")
    assert counts((await feed.night())["Student"])["refused in the SIS"] == 1
    assert await feed.places_of("k-una") == []


async def test_another_child_whose_key_is_like_the_id_of_the_erased_is_left_alone(feed: Feed) -> None:
    """Ids on the hub and keys of a SIS may be alike without meaning the same child."""
    before = await others(feed, "k-eve")
    await feed.erase("k-ida", "--yes")
    assert await others(feed, "k-eve") == before
    assert "refused in the SIS" not in counts((await feed.night())["Student"])


async def test_the_list_says_who_erased_and_why_and_nothing_of_whom(feed: Feed) -> None:
    await feed.erase("--sis-key", "k-eve", "--feed", "raven", "--yes")
    rows = await feed.school.own.fetch("select distinct reason, erased_by <> '' from homeroom_merge.erased_student")
    assert [tuple(row.values()) for row in rows] == [("the parents ask for it", True)]


@pytest.mark.parametrize(
    ("arguments", "said", "exit_code"),
    [
        (("--yes",), "name the student", 2),
        (("h-1", "--json"), "say --yes", 2),
        (("h-1", "--feed", "heron", "--yes"), "there is no feed heron", 1),
        (("--sis-key", "parents", "--feed", "raven", "--yes"), "say it without naming the student", 1),
    ],
    ids=["nobody", "json", "feed", "reason"],
)
async def test_what_cannot_be_done_is_refused(
    feed: Feed, arguments: tuple[str, ...], said: str, exit_code: int
) -> None:
    done = await feed.do(*arguments)
    assert (done.exit_code, said in " ".join(done.output.split())) == (exit_code, True)


def test_logs_lose_names_and_what_others_have_printed() -> None:
    said = {"notes": ["k-1 (since 2026-11-01), k-10", "the connector or formatter printed: Eve"], "counts": {"k": 1}}
    told = json.loads(unnamed(json.dumps(said), ["k-1"]))
    assert told["notes"][0] == "(an erased student) (since 2026-11-01), k-10"
    assert "Eve" not in told["notes"][1]
