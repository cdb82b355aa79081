"""Erasing a student: nothing of the content is left, replicas drop it, and it does not come back (decision 18)."""

import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest

from homeroom import Client, MemoryStorage, NotificationType, Replica
from homeroom_server import collection, erasure, operations
from homeroom_server.auth import Role
from homeroom_server.catalogue import _SHIPPED, Catalogue, TypeDefinition, YearRule, load_catalogue
from homeroom_server.changes import Committed
from homeroom_server.committer import Committer
from homeroom_server.operations import OperationError
from homeroom_server.settings import Settings
from homeroom_server.status.calculation import CalculatedStatus, Calculation
from homeroom_server.store import audit as audit_store
from homeroom_server.store import client_streams, records
from homeroom_server.store import erasure as store
from homeroom_server.store.triggers import SourceRecord, Trigger
from tests.access import enrol, settled, write_catalogue
from tests.conftest import Core, open_core
from tests.processes import homeroom
from tests.records import Json, accepted, available, pairs, record, rejected
from tests.test_access import see
from tests.test_collection import collect, turn_old, turn_old_and_collect
from tests.test_is_data_available import until_held

MAPLE, PLAIN, FOOTHILLS, MINISTRY = "S.0982", "S.0990", "A.3020", "O.1"


@pytest.fixture
async def nodes(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[Core, Core]]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_core(database_of_test, changed))
        two = await stack.enter_async_context(open_core(database_of_test, changed))
        await settled(one.services)
        yield one, two


@pytest.fixture
def core(nodes: tuple[Core, Core]) -> Core:
    return nodes[0]


def silent(what: str, done: int, total: int) -> None: ...


async def erase(core: Core, student: str) -> None:
    await erasure.erase(await core.connect(), student, "olga", "a court order", silent)


async def child(core: Core, student: str = "s1") -> None:
    """A student whom Maple Ridge and Plainview have enrolled, with a document."""
    maple, plain = await core.client(MAPLE), await core.client(PLAIN)
    await accepted(maple, "Student", record(student, {"name": f"name of {student}"}))
    await enrol(maple, f"e1.{student}", student, "0982")
    await enrol(plain, f"e2.{student}", student, "0990")
    await accepted(maple, "Document", record(f"d.{student}", {"studentId": student, "text": f"secret of {student}"}))
    await settled(core.services)


async def places_of(connection: asyncpg.Connection, text: str) -> set[str]:
    """Every column of every table that holds a text, also as bytes and inside of longer texts."""
    columns = await connection.fetch(
        """
        select format('%I.%I', table_schema, table_name) as place, column_name
        from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'
        """
    )
    found = set()
    for place, column in columns:
        held = f'select exists (select from {place} where position($1 in "{column}"::text) > 0'
        held += f' or position($2 in "{column}"::text) > 0)'
        if await connection.fetchval(held, text, text.encode().hex()):
            found.add(f"{place.removeprefix('public.')}.{column}")
    return found


def a_catalogue_of_any_bodies(name: str, folder: Path) -> str:
    """A shipped catalogue without its schemas, so that a record of every type can be made up."""
    shipped = (_SHIPPED / name / "catalogue.toml").read_text(encoding="utf-8")
    path = folder / f"{name}.toml"
    path.write_text(re.sub(r"(?m)^schema = .*\n", "", shipped), encoding="utf-8")
    return str(path)


class Made:
    """Records made up of every type that names a student."""

    def __init__(self, seed: int, catalogue: Catalogue) -> None:
        self.chance = random.Random(seed)
        self.types = [d for d in catalogue.types.values() if d.student is not None]
        self.students = [f"60482{n:04}" for n in range(3)]

    def id_of(self, definition: TypeDefinition, student: str) -> str:
        if definition.student == "@id":
            return student
        if definition.id_format == "uuid":
            return str(UUID(int=self.chance.getrandbits(128)))
        return f"{definition.name}-{student}-{self.chance.randrange(10**6)}"

    def body_of(self, definition: TypeDefinition, student: str) -> Json:
        body: Json = {"text": f"content-of-{student}-{self.chance.randrange(10**6)}", "isMarkApproved": True}
        body["courseEnrolmentMark"] = {"isMarkApproved": self.chance.random() < 0.5}
        body["markValue"], body["sectionId"] = f"content-of-{student}", f"missing-{student}"
        if definition.student != "@id":
            body[definition.student or ""] = student
        if definition.association is not None:
            school = self.chance.choice(["0982", "0990", "0001"])  # of which the last is not there
            body |= {definition.association["school"]: school, definition.association["start"]: "2020-09-01"}
        return body

    def path_of(self, definition: TypeDefinition) -> str:
        return definition.name if definition.school_year is YearRule.NONE else f"{definition.name}.2027"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("catalogue", ["alberta", "roster"])
async def test_no_column_of_any_table_holds_anything_of_an_erased_student(
    database_of_test: str, settings: Settings, tmp_path: Path, catalogue: str, seed: int
) -> None:
    changed = replace(settings, catalogue=a_catalogue_of_any_bodies(catalogue, tmp_path), feed_poll_seconds=0.05)
    made = Made(seed, load_catalogue(changed.catalogue))
    gone, *others = made.students
    async with open_core(database_of_test, changed) as core:
        connection = await core.connect()
        await everything_about(core, made)
        held = await places_of(connection, gone)
        assert held >= {
            *("record.id", "record.student", "record.body", "viewer.id", "audit_event.ids", "audit_event.detail"),
            *("association.student", "access_grant.student", "access_event.student", "idempotent_call.answer"),
            *("client_stream.reconciled_ids",),
        }, "there is something to find"
        await erase(core, gone)
        await settled(core.services)
        assert await places_of(connection, f"content-of-{gone}") == set()
        assert await places_of(connection, f"missing-{gone}") == set()
        assert await places_of(connection, gone) <= {"record.id", "viewer.id"}
        await turn_old_and_collect(core)
        assert await places_of(connection, gone) == set()
        for student in others:
            assert await places_of(connection, f"content-of-{student}") >= {"record.body"}


async def everything_about(core: Core, made: Made) -> None:
    """Records of some students, and all that is noted of them on the way."""
    clients = [await core.client(code) for code in (MAPLE, PLAIN)]
    ministry, connection = await core.client(MINISTRY), await core.connect()
    for definition in made.types:
        path = made.path_of(definition)
        for student in made.students:
            school = made.chance.choice(clients)
            record_id = made.id_of(definition, student)
            answer = await school.submit(path, [record(record_id, made.body_of(definition, student))], uuid4())
            (version,) = [result["coreVersion"] for result in answer.results]
            assert version, answer.results
            if made.chance.random() < 0.2:
                # not the school: it may have lost a student of whom it only ever wrote this record
                await accepted(ministry, path, record(record_id, None, version, deleted=True))
        await ministry.reconcile(path, 0, [{"from": None, "to": None, "count": 1, "fingerprint": "0" * 32}])
    await settled(core.services)
    for definition in made.types:
        ids = [i for i, _ in pairs(await available(ministry, made.path_of(definition)))]
        await ministry.get(made.path_of(definition), [{"id": each} for each in ids])
    for student in made.students:
        await operations.grant(connection, FOOTHILLS, student, None)
        await audit_store.note(connection, "person", "vera", None, f"looked for student {student}.")
    await core.services.audit.write()
    await core.services.client_streams.write()
    await settled(core.services)


async def test_who_saw_the_student_is_told_and_gets_nothing_from_any_node(nodes: tuple[Core, Core]) -> None:
    one, two = nodes
    await child(one)
    await child(one, "s2")
    key = await two.key(PLAIN)
    storage = MemoryStorage()
    async with two.client_with(key) as plain, Replica(storage, plain, ["StudentStatus", "Document"]) as replica:
        with anyio.fail_after(20):
            await replica.in_step()
            await until_held(two)
        assert dict(storage.live("Student")).keys() == {"s1", "s2"}
        await erase(one, "s1")
        with anyio.fail_after(20):
            while dict(storage.live("Student")).keys() | dict(storage.live("Document")).keys() != {"s2", "d.s2"}:
                await anyio.sleep(0.01)
            await replica.in_step()
    for node in nodes:
        for code in (MAPLE, PLAIN, FOOTHILLS, MINISTRY):
            client = await node.client(code)
            for kind, record_id in (("Student", "s1"), ("StudentStatus", "s1"), ("Document", "d.s1")):
                assert "of s1" not in await all_that_it_says(client, kind, record_id)


async def all_that_it_says(client: Client, kind: str, record_id: str) -> str:
    """Get, with versions of all kinds, a snapshot from the beginning, and what reconciliation lists."""
    since = await available(client, kind)
    told: list[Any] = [(await client.get(kind, [{"id": record_id}])).records]
    told += [(await client.get(kind, [{"id": record_id, "expectedVersion": v}])).records for _, v in pairs(since)]
    told += [line async for line in client.snapshot(kind)]
    assert record_id not in [line.get("id") for line in told if isinstance(line, dict)]
    told.append(await client.reconcile(kind, 0, [{"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}]))
    assert f"'{record_id}'" not in str(told[-1])
    return str(told)


COMING_BACK = {
    "its own record": ("Student", record("s1", {"name": "again"})),
    "its own record deleted": ("Student", record("s1", None, deleted=True)),
    "a new enrolment": ("Enrolment.2027", record("e9", {"studentId": "s1", "school": "0982", "start": "2026-09-01"})),
    "a record that was erased": ("Document", record("d.s1", {"studentId": "s1"})),
    "such a record as somebody else's": ("Document", record("d.s1", {"studentId": "s2"})),
    "such a record as nobody's": ("Document", record("d.s1", {})),
    "a record of another student": ("Document", record("d.s2", {"studentId": "s1"})),
    "a type that was never there": ("Mark", record("m1", {"studentId": "s1"})),
}


async def test_nothing_brings_an_erased_student_back(core: Core) -> None:
    await child(core)
    await child(core, "s2")
    await erase(core, "s1")
    maple, stranger = await core.client(MAPLE), await core.client("S.0983")
    for round_ in ("before", "after"):
        for how, (kind, again) in COMING_BACK.items():
            if round_ == "after" and how.startswith("such a record"):
                continue  # its id is forgotten by then, and names nobody
            for client in (maple, stranger):
                answer = await client.submit(kind, [again])
                (rejection,) = answer.results[0]["rejections"]
                if round_ == "after" and how == "its own record deleted":
                    assert rejection["code"] == 3004 or rejection["code"] == 9023, "there is no such record"
                else:
                    assert (rejection["code"], rejection["action"]) == (9020, "stop"), how
                    assert rejection["detail"] == "this organisation may not write this record", "and nothing else"
        with pytest.raises(OperationError, match="was erased"):
            await operations.grant(await core.connect(), PLAIN, "s1", None)
        await settled(core.services)
        assert await places_of(await core.connect(), "of s1") == set()
        await turn_old_and_collect(core)
    assert await places_of(await core.connect(), "s1") == set()
    assert await see(maple, "Document", "d.s2") == "Normal"


async def test_nobody_is_looked_for_as_long_as_nobody_was_erased(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise AssertionError("no hash was needed")

    monkeypatch.setattr(store, "hash_of", fail)
    await child(core)


@pytest.mark.parametrize("when", ["decided", "written"])
@pytest.mark.parametrize("kind", ["Document", "Mark"])
async def test_a_submit_that_is_under_way_leaves_nothing(
    core: Core, monkeypatch: pytest.MonkeyPatch, when: str, kind: str
) -> None:
    """Document is a type of which the student has records, Mark one that the database has never seen."""
    await child(core)
    maple, connection = await core.client(MAPLE), await core.connect()
    write_records = records.write_records
    stopped, go_on = anyio.Event(), anyio.Event()
    outcome: list[int] = []

    async def stop_once() -> None:
        if not stopped.is_set():
            stopped.set()
            await go_on.wait()

    async def slowly(conn: Any, row: Any, writes: Sequence[Any], *rest: Any, **named: Any) -> Any:
        if [write.id for write in writes] != ["late"]:
            return await write_records(conn, row, writes, *rest, **named)
        if when == "decided":
            await stop_once()
        written = await write_records(conn, row, writes, *rest, **named)
        await stop_once()
        return written

    async def submit() -> None:
        answer = await maple.submit(kind, [record("late", {"studentId": "s1", "text": "late-content"})])
        outcome.extend(rejection["code"] for rejection in answer.results[0]["rejections"])

    monkeypatch.setattr(records, "write_records", slowly)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            await stopped.wait()
            tasks.start_soon(erase, core, "s1")
            while not await connection.fetchval(
                """
                select exists (select from pg_locks where locktype = 'advisory' and classid = 1 and not granted)
                    or exists (select from erased_student where erased_at is not null)
                """
            ):
                await anyio.sleep(0.01)
            go_on.set()
    assert outcome == ([9020] if when == "decided" else [])
    await settled(core.services)
    assert await places_of(connection, "late-content") == set()


@pytest.mark.parametrize("there_before", [False, True])
async def test_a_status_that_is_being_calculated_is_not_stored(
    core: Core, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    maple = await core.client(MAPLE)
    commit = Committer.commit
    erased: list[bool] = []

    async def commit_late(self: Committer, change: Any, *of_call: Any) -> Committed:
        if isinstance(change, Calculation) and not erased:
            erased.append(True)
            await erase(core, "s1")
        return await commit(self, change, *of_call)

    body = {"studentId": "s1"}
    (version,) = await accepted(maple, "Document", record("d1", body)) if there_before else (0,)
    if there_before:
        await settled(core.services)
    monkeypatch.setattr(Committer, "commit", commit_late)  # of both nodes: either may claim the trigger
    monkeypatch.setattr("homeroom_server.status.calculation.status_body", lambda *_: '{"alerts":[],"of":"s1-alert"}')
    await accepted(maple, "Document", record("d1", {**body, "text": "new"}, version))
    await settled(core.services)
    assert erased
    connection = await core.connect()
    assert await places_of(connection, "s1-alert") == set()
    assert await connection.fetchval("select count(*) from record where not deleted") == 0


async def test_no_status_comes_of_what_an_erased_record_was_before_it_was_the_students(core: Core) -> None:
    await child(core)
    connection = await core.connect()
    row = await connection.fetchrow(
        "select record_type, owner from record where id = 'd.s1' and source_version is null"
    )
    assert row is not None
    await erase(core, "s1")
    before = await connection.fetch("select * from record")
    source = SourceRecord(row["record_type"], None, "d.s1", 2**52, row["owner"], "s2", False, "{}")
    late = CalculatedStatus(Trigger(row["record_type"], "d.s1", 1, changed=True), source, [], None)
    await core.services.committer.commit(Calculation(NotificationType("DocumentStatus"), [late]))
    assert await connection.fetch("select * from record") == before


async def test_a_trigger_that_is_raised_late_makes_no_status_of_an_erased_record(core: Core) -> None:
    await child(core)
    await erase(core, "s1")
    connection = await core.connect()
    await connection.execute("delete from record where source_version is not null")  # as if there had been none
    await connection.execute("insert into status_trigger select record_type, id, 1, now(), false from record")
    core.services.processor.wake()
    await settled(core.services)
    assert await connection.fetchval("select count(*) from record where source_version is not null") == 0


async def test_an_acknowledgement_is_refused_as_if_there_were_nothing(core: Core) -> None:
    await child(core)
    await erase(core, "s1")
    asked = {"id": "d.s1", "alertCode": 1, "arguments": {}, "state": "Acknowledged"}
    answer = await (await core.client(MAPLE)).acknowledge("DocumentStatus", asked)
    assert [rejection["code"] for rejection in answer["rejections"]] == [9020]


async def test_what_a_node_notes_late_is_forgotten_by_the_next_collection(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = anyio.Event()

    def late(note: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def noted(*given: Any) -> None:
            await erased.wait()
            await note(*given)

        return noted

    await child(core)
    reader, connection = await core.client(MINISTRY, Role.READER), await core.connect()
    monkeypatch.setattr(audit_store, "keep", late(audit_store.keep))
    monkeypatch.setattr(client_streams, "keep_observations", late(client_streams.keep_observations))
    await reader.get("Student", [{"id": "s1"}])
    await reader.reconcile("Student", 0, [{"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}])
    await erase(core, "s1")
    erased.set()
    with anyio.fail_after(20):
        while not await places_of(connection, "{s1}") >= {"audit_event.ids", "client_stream.reconciled_ids"}:
            await anyio.sleep(0.01)
    await collection.forget_late_mentions(core.services.reading.primary.pools["usual"])
    assert await places_of(connection, "{s1}") == set()
    await reader.get("Student", [{"id": "s1"}])
    await core.services.audit.write()
    assert await places_of(connection, "{s1}") == set(), "an empty tombstone is nobody's record"


async def test_the_audit_still_says_who_read_the_student_but_not_who_it_was(core: Core) -> None:
    await child(core)
    maple, connection = await core.client(MAPLE), await core.connect()
    await maple.get("Student", [{"id": "s1"}])
    await audit_store.note(connection, "person", "vera", None, "looked for s1, and s1.")
    await core.services.audit.write()
    before = await audit_store.find(connection, audit_store.Question("s1"), 100)
    await erase(core, "s1")
    await audit_store.note(connection, "operator", "olga", None, "asked the audit for record=s1")
    found = await audit_store.find(connection, audit_store.Question("s1"), 100)
    assert [event.action for event, _ in found] == ["did", *(event.action for event, _ in before)]
    done, _ = found[0]
    assert done.actor == "olga"
    assert done.detail is not None
    assert done.detail.startswith("erased a student: 6 records of 5 types, seen by 4 organisations. a court order")
    kept = await connection.fetch("select ids, detail from audit_event")
    assert not [row for row in kept if re.search(r"\bs1\b", f"{row['ids']} {row['detail']}")]
    assert [row["detail"] for row in kept if "looked for erased:" in str(row["detail"])]
    assert not await audit_store.find(connection, audit_store.Question("s2"), 100)


async def test_an_erasure_that_was_cut_short_is_taken_up_again(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await child(core)

    async def fail(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(store, "forget_access", fail)
        with pytest.raises(ConnectionError):
            await erase(core, "s1")
    maple, connection = await core.client(MAPLE), await core.connect()
    assert (await erasure.look(connection, "s1")).erased_at is None
    assert await see(maple, "Student", "s1") == "Normal", "all or nothing"
    moved_away = record("d.s1", {"studentId": "s2", "text": "secret of s1"}, (await version_of(maple, "d.s1")))
    assert await rejected(maple, "Document", moved_away) == [9020], "nothing gets away meanwhile"
    await erase(core, "s1")
    assert (await erasure.look(connection, "s1")).erased_at is not None
    assert await places_of(connection, "of s1") == set()


async def version_of(client: Client, document: str) -> int:
    (found,) = (await client.get("Document", [{"id": document}])).records
    return int(found["coreVersion"])


@pytest.mark.parametrize("what", ["grant", "note"])
async def test_a_grant_or_a_note_that_is_under_way_is_taken_away_too(core: Core, what: str) -> None:
    await child(core)
    granting, connection = await core.connect(), await core.connect()
    transaction = granting.transaction()
    await transaction.start()
    if what == "grant":
        await operations.grant(granting, "S.0983", "s1", None)
    else:
        await audit_store.note(granting, "operator", "olga", None, "looked for student s1")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(erase, core, "s1")
            while not await connection.fetchval(
                """
                select exists (select from pg_locks where locktype = 'advisory' and classid = 4 and not granted)
                    or exists (select from erased_student where erased_at is not null)
                """
            ):
                await anyio.sleep(0.01)
            await transaction.commit()
    await settled(core.services)
    assert await places_of(connection, "student s1") == await places_of(connection, "{s1}") == set()
    assert await connection.fetchval("select count(*) from access_grant") == 0


async def test_many_are_erased_at_once_while_schools_write(core: Core) -> None:
    students = [f"s{n}" for n in range(4)]
    for student in students:
        await child(core, student)
    maple = await core.client(MAPLE)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for student in students:
                tasks.start_soon(erase, core, student)
            for number in range(20):
                student = students[number % 4]
                await maple.submit("Document", [record(f"x{number}", {"studentId": student, "text": f"of {student}"})])
    await settled(core.services)
    for student in students:
        assert await places_of(await core.connect(), f"of {student}") == set()


async def test_the_command_asks_first_and_says_what_it_did(core: Core) -> None:
    await child(core)
    await child(core, "s2")
    connection = await core.connect()
    await connection.execute("analyze")
    assert await known_to_the_planner(connection, "s1")
    url = ("--database-url", core.database_url)

    async def run(*arguments: str) -> tuple[int, str, str]:
        call = ("erase-student", *arguments, "--reason", "a court order", *url)
        done = await anyio.to_thread.run_sync(lambda: homeroom(*call, check=False))
        return done.returncode, done.stdout, " ".join(done.stderr.split())

    code, _, asked = await run("s1")
    assert code == 1
    assert "6 records of 5 types, seen by 4 organisations" in asked
    assert "2 Enrolment" in asked
    assert await see(await core.client(MAPLE), "Student", "s1") == "Normal", "nobody said yes"
    code, said, _ = await run("s1", "--yes", "--json")
    told = json.loads(said)
    assert (code, told["records"]["Student"], told["organizations"], told["erasedAlready"]) == (0, 1, 4, None)
    assert not await known_to_the_planner(connection, "s1")
    assert (await run("s1"))[1].startswith("student s1 was erased already on 20")
    assert (await run("s7", "--yes"))[1] == "there was no record of student s7; from now on there will be none\n"
    assert await rejected(await core.client(MAPLE), "Student", record("s7", {})) == [9020]
    refused = await anyio.to_thread.run_sync(
        lambda: homeroom("erase-student", "s8", "--yes", "--reason", "s8 asked for it", *url, check=False)
    )
    assert (refused.returncode, "leave the student's id out" in refused.stderr) == (1, True)


async def known_to_the_planner(connection: asyncpg.Connection, student: str) -> list[str]:
    """The tables of whose students PostgreSQL's statistics name this one."""
    rows = await connection.fetch(
        """
        select tablename from pg_stats where attname = 'student'
          and $1 = any(coalesce(most_common_vals::text::text[], '{}') || coalesce(histogram_bounds::text::text[], '{}'))
        """,
        student,
    )
    return [row["tablename"] for row in rows]


async def test_what_is_left_of_an_erased_student_is_collected_for_those_who_were_away(core: Core) -> None:
    await child(core)
    ministry = await core.client(MINISTRY)
    await accepted(ministry, "Document", record("d.s1", None, await version_of(ministry, "d.s1"), deleted=True))
    await settled(core.services)
    await turn_old_and_collect(core)  # of the document there is nobody left to be told but the ministry
    cursor = (await available(ministry, "Student"))["maxCoreVersion"]
    await erase(core, "s1")
    await collect(core)
    assert [i for i, _ in pairs(await available(ministry, "Student", cursor))] == ["s1"], "not before the retention"
    await turn_old(core)
    await collect(core)
    found = await available(ministry, "Student", cursor)
    assert (found["reason"], pairs(found)) == ("mismatch", [])
    assert await see(ministry, "Student", "s1") == "Unknown"
    assert await (await core.connect()).fetchval("select count(*) from record") == 0
