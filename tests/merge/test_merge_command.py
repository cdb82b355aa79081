"""`homeroom-merge` as an administrator uses it: from the settings of a new feed to an approved merge and its report."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.merge.interchanges import ORGANIZATIONS, put, student
from tests.processes import prepare_node, running_node

COMMAND = str(Path(sys.executable).parent / "homeroom-merge")
ORGANIZATIONS_OF_THE_CORE = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\n"
HELD = 3


@dataclass
class Administrator:
    """Somebody at a prompt, in a folder of theirs."""

    folder: Path
    environment: dict[str, str]

    async def do(self, *arguments: str, exit_code: int = 0) -> str:
        """What a command prints."""
        done = await anyio.run_process(
            [COMMAND, *arguments], check=False, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE
        )
        assert done.returncode == exit_code, done.stderr.decode() + done.stdout.decode()
        return done.stdout.decode() + (done.stderr.decode() if exit_code == 1 else "")


@pytest.fixture
async def administrator(folder: Path) -> AsyncIterator[Administrator]:
    """With a Core that runs, and a folder of interchange files."""
    node = prepare_node(folder, ORGANIZATIONS_OF_THE_CORE, "--catalogue", "roster")
    async with running_node(node) as running:
        exports = folder / "exports"
        exports.mkdir()
        put(exports, "EducationOrganization", ORGANIZATIONS)
        put(exports, "Student", "".join(student(str(number)) for number in range(3)))
        environment = {**os.environ, "HOMEROOM_KEY": node.key, "COLUMNS": "200"}
        administrator = Administrator(folder, environment)
        said = await administrator.do(
            *("settings", "start", "edfi", "--name", "elk", "--authority", "A.9", "--school", "S.91"),
            *("--entity", "SchoolAuthority", "--entity", "School", "--entity", "Student"),
        )
        said = said.replace("https://core.example.org", running.url).replace("/srv/sis-exports", str(exports))
        (folder / "elk.toml").write_text(said.replace("# organizations = []", 'organizations = ["A.9"]'))
        yield administrator


def reports(said: str) -> dict[str, str]:
    return {each["entity"]: each["status"] for each in map(json.loads, said.splitlines())}


@pytest.mark.timeout(180)
async def test_a_new_feed_is_set_up_merged_approved_and_taken_back(administrator: Administrator) -> None:
    do = administrator.do
    assert "has no settings" in await do("run", "--feed", "elk", exit_code=1)
    assert "version 1" in await do("settings", "push", "elk.toml", "--comment", "first")
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
