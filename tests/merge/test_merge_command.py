"""`homeroom-merge` as an administrator uses it: from the settings of a new feed to an approved merge and its report."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from anyio import to_thread
from typer.testing import CliRunner, Result

from homeroom import Client
from homeroom.answers import RecordAnswer
from homeroom_merge.command import app
from homeroom_merge.store.connection import connect
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import open_core
from tests.merge.interchanges import ORGANIZATIONS, put, student

COMMAND = str(Path(sys.executable).parent / "homeroom-merge")
ORGANIZATIONS_OF_THE_CORE = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\n"
FAILED, HELD, CANCELLED = 1, 3, 130


@dataclass
class Prompt:
    """Somebody at a prompt, in a folder of theirs."""

    folder: Path
    environment: dict[str, str]

    async def do(self, *arguments: str, exit_code: int = 0, stdin: str = "") -> str:
        """What a command prints, in a thread: a process of its own takes a second to begin."""
        done = await to_thread.run_sync(self._invoked, arguments, stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        assert done.exit_code == exit_code, done.stderr + done.stdout
        return done.stdout + (done.stderr if exit_code == 1 else "")

    async def do_apart(self, *arguments: str, exit_code: int = 0) -> str:
        """The same in a process of its own."""
        done = await anyio.run_process(
            [COMMAND, *arguments], check=False, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE
        )
        assert done.returncode == exit_code, done.stderr.decode() + done.stdout.decode()
        return done.stdout.decode() + (done.stderr.decode() if exit_code == 1 else "")

    def _invoked(self, arguments: Sequence[str], stdin: str) -> Result:
        others = dict.fromkeys(os.environ.keys() - self.environment.keys())
        with contextlib.chdir(self.folder):
            return CliRunner(env={**self.environment, **others}).invoke(app, arguments, input=stdin)


@dataclass
class Administrator(Prompt):
    """Who also sees the hub, as its own people use it."""

    client: Client

    async def read(self, key: str) -> RecordAnswer:
        """A pupil on the hub."""
        (found,) = (await self.client.get("Student", [{"id": key}])).records
        return found

    async def edit(self, key: str, **members: object) -> None:
        """Somebody edits a pupil on the hub."""
        found = await self.read(key)
        body = {**found["body"], **members}
        record = {"id": key, "expectedVersion": found["coreVersion"], "deleted": False, "body": body}
        (result,) = (await self.client.submit("Student", [record], uuid4())).results
        assert not result["rejections"], result


@pytest.fixture
async def administrator(database_of_test: str, settings: Settings, folder: Path) -> AsyncIterator[Administrator]:
    """With a Core that runs, and a folder of interchange files."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(database_of_test, replace(settings, catalogue="roster")))
        await stack.enter_async_context(core.served())
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        key = await core.key("A.9")
        exports = folder / "exports"
        exports.mkdir()
        put(exports, "EducationOrganization", ORGANIZATIONS)
        put(exports, "Student", "".join(student(str(number)) for number in range(3)))
        own = {"HOMEROOM_KEY": key, "HOMEROOM_MERGE_DATABASE_URL": database_of_test}
        environment = {**os.environ, **own, "COLUMNS": "200"}
        client = await stack.enter_async_context(core.client_with(key, "A.9"))
        administrator = Administrator(folder, environment, client)
        said = await administrator.do(
            *("settings", "start", "edfi", "--name", "elk", "--authority", "A.9", "--school", "S.91"),
            *("--entity", "SchoolAuthority", "--entity", "School", "--entity", "Student"),
        )
        said = said.replace("https://core.example.org", core.base_url).replace("/srv/sis-exports", str(exports))
        (folder / "elk.toml").write_text(said.replace("# organizations = []", 'organizations = ["A.9"]'))
        yield administrator


def reports(said: str) -> dict[str, str]:
    return {each["entity"]: each["status"] for each in map(json.loads, said.splitlines())}


@pytest.mark.timeout(300)
async def test_a_new_feed_is_set_up_merged_approved_and_taken_back(administrator: Administrator) -> None:
    del administrator.environment["HOMEROOM_MERGE_DATABASE_URL"]  # embedded, as for whoever begins
    do = administrator.do_apart
    assert "has no settings" in await do("run", "--feed", "elk", exit_code=1)
    assert "version 1" in await do("settings", "push", "elk.toml", "--comment", "first")
    shown = await do("plan", "--feed", "elk", exit_code=HELD)
    assert "  + /firstName: Ada" in shown
    assert "a first merge is always held" in shown
    assert "homeroom-merge approve " in shown
    planned = reports(await do("plan", "--feed", "elk", "--json", exit_code=HELD))
    assert planned == {"SchoolAuthority": "held", "School": "held", "Student": "held"}
    await do("run", "--feed", "elk", exit_code=HELD)
    approved = reports(await do("approve", "--feed", "elk", "--by", "me", "--json"))
    assert set(approved.values()) == {"success"}
    assert set(reports(await do("run", "--feed", "elk", "--json")).values()) == {"success"}
    listed = await do("runs", "--feed", "elk")
    of_students = next(
        line.split()[1] for line in reversed(listed.splitlines()) if "Student" in line and "success" in line
    )
    await do("report", of_students, "--html", "students.html", "--csv", "students.csv")
    assert "<script" not in (administrator.folder / "students.html").read_text()
    assert len((administrator.folder / "students.csv").read_text().splitlines()) == 1 + 3
    assert "All went well (success)" in await do("report", of_students)
    head, *records = map(json.loads, (await do("report", of_students, "--json")).splitlines())
    assert (head["status"], head["settings"]["version"], len(records)) == ("success", 1, 3)
    assert json.loads(await do("runs", "--feed", "elk", "--json", "--limit", "1"))[0]["status"] == "success"
    assert reports(await do("undo", of_students, "--feed", "elk", "--json")) == {"Student": "success"}
    (head, *records) = (await do("run", "--feed", "elk", "--entity", "Student", "--json")).splitlines()
    assert (json.loads(head)["summary"]["writes"], records) == ({}, []), "what was taken back stays so"
    assert "0 discarded" in await do("discard", "--feed", "elk", "--by", "me")
    assert "not held" in await do("approve", of_students, "--feed", "elk", "--by", "me", exit_code=1)


@pytest.mark.timeout(240)
async def test_a_whole_entity_is_put_back_from_its_backup(administrator: Administrator) -> None:
    do, of_students = administrator.do, ("--feed", "elk", "--entity", "Student", "--set", "backup.keep=3")
    await do("settings", "push", "elk.toml")
    await do("run", *of_students, exit_code=HELD)
    await do("approve", "--feed", "elk", "--by", "me")
    (backup,) = json.loads(await do("backups", "--feed", "elk", "--json"))
    assert (backup["entity"], backup["records"]) == ("Student", 3)
    assert backup["place"].startswith(f"file://{administrator.folder}/homeroom-merge-data/backups/elk-Student-")
    said = await do("restore", backup["run"], "--backup", "--feed", "elk", "--json", exit_code=HELD)
    assert reports(said) == {"Student": "held"}
    copy = administrator.folder / "copy"
    copy.write_bytes(b"no backup")
    said = await do("restore", backup["run"], "--feed", "elk", "--from", f"file://{copy}", exit_code=1)
    assert "cannot read the backup" in said


async def test_a_worker_that_cannot_be_called_says_so(administrator: Administrator) -> None:
    do = administrator.do_apart  # it says where all that is logged goes from then on
    await do("worker", "--webhook", "nowhere", exit_code=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "in use" in await do("worker", "--webhook", place, exit_code=1)


@pytest.mark.timeout(300)
async def test_what_is_wrong_is_said_with_what_to_do(administrator: Administrator) -> None:
    file = administrator.folder / "elk.toml"
    right = file.read_text()
    file.write_text(right.replace('authority = "A.9"', 'autority = "A.9"'))
    said = await administrator.do("settings", "push", "elk.toml", exit_code=1)
    assert "feed.autority" in said
    assert "authority" in said.replace("autority", "")
    file.write_text(right.replace("[entity.School]", "[entity.Skool]"))
    await administrator.do("settings", "push", "elk.toml")
    assert "Skool: the formatter edfi does not carry it" in await administrator.do("run", "--feed", "elk", exit_code=1)
    del administrator.environment["HOMEROOM_KEY"]
    assert "HOMEROOM_KEY is empty" in await administrator.do("run", "--feed", "elk", exit_code=1)


@pytest.mark.timeout(300)
async def test_a_conflict_is_listed_explained_and_decided(administrator: Administrator) -> None:
    do = administrator.do
    await do("settings", "push", "elk.toml")
    await do("run", "--feed", "elk", exit_code=HELD)
    await do("approve", "--feed", "elk", "--by", "me")
    for number, first in (("1", "Hub"), ("2", "Eve")):
        await administrator.edit(number, firstName=first)
    renamed = "".join(student(str(number)).replace("Ada", "Sis" if number else "Ada") for number in range(3))
    put(administrator.folder / "exports", "Student", renamed)
    await do("run", "--feed", "elk")
    listed = [json.loads(line) for line in (await do("conflicts", "--feed", "elk", "--json")).splitlines()]
    assert [(each["sisKey"], each["pointer"], each["base"], each["sis"], each["hub"]) for each in listed] == [
        ("1", "/firstName", "Ada", "Sis", "Hub"),
        ("2", "/firstName", "Ada", "Sis", "Eve"),
    ]
    assert "entity manual" in await do("conflicts", "--feed", "elk")
    told = json.loads(await do("explain", "hub bear", "firstName", "--feed", "elk", "--json"))
    assert (told["sisKey"], told["layer"], told["nextRun"]) == (
        "1",
        "entity",
        "a conflict at /firstName: entity manual",
    )
    assert "where both sides changed it differently, a person decides" in await do(
        "explain", "1", "firstName", "--feed", "elk"
    )
    (ill,) = map(json.loads, (await do("health", "--feed", "elk", "--json")).splitlines())
    assert (ill["what"], ill["count"], ill["examples"]) == ("conflict", 2, ["1"])
    decide = ("decide", "--feed", "elk", "--by", "me")
    assert "decided" in await do(*decide, "1", "--take", "sis")
    assert '"Sis" by me' in await do("conflicts", "--feed", "elk")
    await do(*decide, "2", "firstName", "--value", '"Ida"')
    await do("run", "--feed", "elk")
    assert await do("conflicts", "--feed", "elk", "--json") == ""
    assert {number: (await administrator.read(number))["body"]["firstName"] for number in ("1", "2")} == {
        "1": "Sis",
        "2": "Ida",
    }
    await do("sticky", "1", "lastName", "--feed", "elk", "--by", "me")
    told = json.loads(await do("explain", "1", "lastName", "--feed", "elk", "--json"))
    assert told["layer"] == "sticky"
    await do("sticky", "1", "lastName", "--feed", "elk", "--by", "me", "--clear")
    await do("rule", "1", "lastName", "--feed", "elk", "--by", "me", "--method", "alwaysHub")
    assert json.loads(await do("explain", "1", "lastName", "--feed", "elk", "--json"))["layer"] == "record"
    assert "nothing fails" in await do("health", "--feed", "elk")


@pytest.mark.timeout(300)
async def test_what_cannot_be_decided_is_said_with_what_can(administrator: Administrator) -> None:
    do = administrator.do
    await do("settings", "push", "elk.toml")
    await do("run", "--feed", "elk", exit_code=HELD)
    await do("approve", "--feed", "elk", "--by", "me")
    decide = ("decide", "--feed", "elk", "--by", "me")
    assert "has no record '17'" in await do(*decide, "17", "--take", "hub", exit_code=1)
    assert "Student 1 has no conflict" in await do(*decide, "1", "--take", "hub", exit_code=1)
    assert "may be Student 0 Ada; Student 1 Ada" in await do("explain", "ada", "x", "--feed", "elk", exit_code=1)
    assert "has no frstName; there is" in await do("explain", "1", "frstName", "--feed", "elk", exit_code=1)
    assert "is not sticky" in await do(
        "sticky", "1", "firstName", "--feed", "elk", "--by", "me", "--clear", exit_code=1
    )
    assert "no write is unknown" in await do("lost", "1", "--feed", "elk", exit_code=1)
    for wrong in (("1",), ("--take", "hub"), ("1", "--value", "Ada")):
        await do(*decide, *wrong, exit_code=2)


async def test_runs_tell_what_failed_what_was_set_and_what_nobody_may_ask_for(administrator: Administrator) -> None:
    do = administrator.do
    await do("settings", "push", "elk.toml")
    assert "does not speak for S.92" in await do("run", "--feed", "elk", "--school", "S.92", exit_code=1)
    told = await do(
        "plan", "--feed", "elk", "--school", "S.91", "--set", "defaults.absences=3", "--json", exit_code=HELD
    )
    heads = {head["entity"]: head for head in map(json.loads, told.splitlines())}
    assert heads["School"]["settings"] == {
        "state": "default",
        "version": 1,
        "overrides": {"defaults.absences": 3, "schools": ["S.91"]},
    }
    assert heads["Student"]["summary"]["outcomes"] == {}, "none of them is of this school alone"
    (administrator.folder / "exports" / "EducationOrganization.xml").write_text("<cut")
    said = await do("run", "--feed", "elk", exit_code=FAILED)
    assert "SchoolAuthority: " in said
    listed = json.loads(await do("runs", "--feed", "elk", "--limit", "3", "--json"))
    assert {each["entity"]: each["status"] for each in listed} == {
        "SchoolAuthority": "failed",
        "School": "cancelled",
        "Student": "cancelled",
    }
    assert "there is no report of" in await do("report", "00000000-0000-0000-0000-000000000000", exit_code=1)
    assert "No such file" in await do("report", listed[0]["run"], "--csv", "nowhere/a.csv", exit_code=1)


@pytest.mark.timeout(300)
async def test_who_ends_it_in_the_middle_finds_it_cancelled(
    administrator: Administrator, database_of_test: str
) -> None:
    await administrator.do("settings", "push", "elk.toml")
    arguments = [COMMAND, "run", "--feed", "elk", "--json"]
    folder, environment = administrator.folder, administrator.environment
    own = await connect(database_of_test)
    try:
        locked = own.transaction()
        await locked.start()
        await own.execute("lock table planned in access exclusive mode")
        async with await anyio.open_process(arguments, cwd=folder, env=environment, stderr=None) as process:
            while not await own.fetchval("select count(*) from pg_locks where not granted"):
                await anyio.sleep(0.01)
            process.terminate()
            await locked.rollback()
            with anyio.fail_after(60):
                assert process.stdout is not None
                said = b"".join([chunk async for chunk in process.stdout])
                await process.wait()
        assert process.returncode == CANCELLED
        assert reports(said.decode()) == {"SchoolAuthority": "cancelled"}
        assert await own.fetchval("select count(*) from run where status = 'running'") == 0
    finally:
        await own.close()
