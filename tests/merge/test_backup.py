"""Backups: what is kept before a run writes, what is kept of them, and a run that cannot have one writes nothing."""

import hashlib
import json
import os
import stat
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import fsspec  # type: ignore[import-untyped]
import pytest
import zstandard

from homeroom_merge.backup import back_up, find
from homeroom_merge.backup_file import BackupError, Header, Reader, Writer
from homeroom_merge.backup_line import unsealed
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.report.model import StepName
from homeroom_merge.run import Course
from homeroom_merge.store import runs
from homeroom_merge.terms import Backups, Terms
from homeroom_server.settings import Settings
from tests.merge.pupils import NOW, TABLE, File, School, opened_school, pupil

UNWRITTEN = "select count(*) from homeroom_merge.journal"
KEPT = "select run from homeroom_merge.backup where collected_at is null and made_at is not null order by made_at"


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    """Two pupils on whom both sides agree; backups are local files."""
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        keep_at(school, f"file://{file.path.parent}/backups")
        for key in ("r1", "r2"):
            file.put(key, first="Ada", last="Bear")
        await school.merge()
        yield school
    await sis.close()


def keep_at(school: School, place: str, **rule: int) -> None:
    def change(terms: Terms) -> Terms:
        return replace(terms, backups=Backups(place, **rule))

    school.change = change


def lines(place: str) -> list[Any]:
    with fsspec.open(place, "rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed).read()
    return [json.loads(line) for line in text.splitlines()]


async def opened_lines(school: School, place: str) -> list[Any]:
    """With those of students opened, by the keys that there are."""
    keys = {str(id_): key for id_, key in await school.own.fetch("select id, key from homeroom_merge.student_key")}
    header, *records, seal = lines(place)
    return [header, *(unsealed(each, keys, header["run"]) for each in records), seal]


async def edited(school: School, first: str) -> Course:
    """A run that writes an edit of the hub to the SIS."""
    await school.say("r1", pupil(first))
    return await school.merge()


async def test_a_backup_holds_both_sides_as_they_were_before_the_run(school: School, file: File) -> None:
    file.put("r2", last="Wolf")
    course = await edited(school, "Eve")
    assert course.status == "success"
    assert course.backup is not None
    header, *records, seal = await opened_lines(school, course.backup.place)
    named = {"feed": "raven", "entity": "Student", "run": str(course.run)}
    assert header == {"format": "homeroom-merge-backup", "version": 2, **named}
    sides = {each["sisKey"]: (each["hub"]["body"], each["sis"]["body"]) for each in records}
    assert sides == {"r1": (pupil("Eve"), pupil()), "r2": (pupil(), pupil(last="Wolf"))}
    assert {each["hub"]["state"] for each in records} == {each["sis"]["state"] for each in records} == {"live"}
    assert all(each["hub"]["version"] > 0 for each in records)
    assert (seal["records"], course.backup.records) == (2, 2)
    noted = (await find(school.own, course.run)).checksum
    assert noted == seal["sha256"]
    path = Path(course.backup.place.removeprefix("file://"))
    about = os.stat(path)
    assert (course.backup.bytes, stat.S_IMODE(about.st_mode)) == (about.st_size, 0o600)
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert [name for name in os.listdir(path.parent) if name.endswith(".part")] == []


async def test_a_run_that_writes_nothing_makes_no_backup(school: School) -> None:
    course = await school.merge()
    assert (course.status, course.backup) == ("success", None)
    (held,) = await (await school.group()).run(NOW, dry=True)
    assert held.backup is None


async def test_a_realtime_run_keeps_the_records_of_its_plan_alone(school: School) -> None:
    await school.say("r1", pupil("Eve"))
    (course,) = await (await school.group()).run(NOW, runner="realtime")
    assert course.backup is not None
    assert [each["sisKey"] for each in (await opened_lines(school, course.backup.place))[1:-1]] == ["r1"]


async def test_undos_make_backups_of_their_own(school: School) -> None:
    done = await edited(school, "Eve")
    (course,) = await (await school.group()).undo([done.run], NOW)
    assert course.backup is not None
    assert lines(course.backup.place)[0]["run"] == str(course.run)


async def test_any_place_of_fsspec_will_do(school: School) -> None:
    keep_at(school, "memory://merge/nightly")
    course = await edited(school, "Eve")
    assert course.backup is not None
    assert len(lines(course.backup.place)) == 1 + 2 + 1
    assert not [name for name in fsspec.filesystem("memory").find("/merge") if name.endswith(".part")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file:///proc/none/backups", "cannot write the backup"),
        ("file:///dev/full/backups", "Not a directory"),
        ("gopher://backups", "Protocol not known: gopher"),
    ],
)
async def test_without_a_backup_nothing_is_written(school: School, file: File, place: str, said: str) -> None:
    await school.say("r1", pupil("Eve"))
    before = await school.own.fetchval(UNWRITTEN), await school.hub(), file.rows()
    rule = school.change
    keep_at(school, place)
    course = await school.merge()
    (step,) = (step for step in course.log.steps if step.name is StepName.BACKUP)
    assert (course.status, said in step.message) == ("failed", True)
    assert "[backup] in the settings" in step.message
    assert (await school.own.fetchval(UNWRITTEN), await school.hub(), file.rows()) == before
    assert await school.own.fetchval("select status from homeroom_merge.run where id = $1", course.run) == "failed"
    school.change = rule
    assert (await school.merge()).status == "success"
    assert file.bodies()["r1"] == pupil("Eve"), "the next run makes up for it"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the file size limit")
def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path) -> None:
    """In a process of its own, with a limit on the size of files."""
    program = (
        "import os, resource, signal, sys; from homeroom_merge.backup_file import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "writer = Writer(sys.argv[1], Header('f', 'e', 'r'))\n"
        "try:\n"
        "    writer.add([os.urandom(32).hex().encode() for _ in range(20000)]); writer.seal()\n"
        "except BackupError as fault:\n"
        "    writer.abandon(); print(fault)\n"
    )
    done = anyio.run(anyio.run_process, [sys.executable, "-c", program, f"file://{tmp_path}/full"])
    assert b"File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []


async def test_old_backups_are_removed_but_never_the_last(school: School) -> None:
    keep_at(school, "memory://kept", keep=2)
    done = [await edited(school, first) for first in ("Eve", "Ida", "Ann")]
    kept = [row["run"] for row in await school.own.fetch(KEPT)]
    places = [course.backup.place for course in done if course.backup]
    assert kept[-2:] == [done[1].run, done[2].run], "those of runs that have ended count, and the one just made"
    assert not fsspec.filesystem("memory").exists(places[0])
    await school.own.execute("update homeroom_merge.backup set made_at = made_at - interval '91 days'")
    last = await edited(school, "Una")
    assert [row["run"] for row in await school.own.fetch(KEPT)] == [last.run]
    with pytest.raises(BackupError, match=r"was removed on \d{4}-\d\d-\d\d"):
        await find(school.own, done[2].run)
    await school.own.execute("update homeroom_merge.backup set made_at = made_at - interval '91 days'")
    await school.merge()
    assert [row["run"] for row in await school.own.fetch(KEPT)] == [last.run], "the last one stays"


async def test_a_backup_that_cannot_be_removed_is_an_issue_and_tried_again(school: School, file: File) -> None:
    keep_at(school, f"file://{file.path.parent}/backups", keep=1)
    first = await edited(school, "Eve")
    assert first.backup is not None
    path = Path(first.backup.place.removeprefix("file://"))
    os.remove(path)
    os.mkdir(path)  # it cannot be removed as a file
    course = await edited(school, "Ida")
    assert course.backup is not None
    assert (course.status, "cannot remove the backup" in course.backup.issue) == ("finishedWithIssues", True)
    os.rmdir(path)
    assert (await edited(school, "Ann")).status == "success"


async def test_a_run_cut_between_backup_and_persist_goes_on_with_the_backup_it_has(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    (course,) = await (await school.group()).run(NOW, dry=True)
    await school.own.execute(APPROVED, course.run)
    made = await back_up(school.own, course.run, course.terms)
    assert made is not None
    assert await back_up(school.own, course.run, course.terms) is None, "once is enough"
    await school.merge()
    assert file.bodies()["r1"] == pupil("Eve")
    assert (await find(school.own, course.run)).place == made.place


async def test_a_run_cut_while_its_backup_is_made_makes_it_anew(school: School, file: File) -> None:
    await school.say("r1", pupil("Eve"))
    (course,) = await (await school.group()).run(NOW, dry=True)
    await school.own.execute(APPROVED, course.run)
    await school.own.execute(BEGUN, course.run, f"file://{file.path.parent}/backups/cut")
    with pytest.raises(BackupError, match="there is no backup of the run"):
        await find(school.own, course.run)
    await school.merge()
    found = await find(school.own, course.run)
    assert lines(found.place)[-1]["records"] == 2
    assert file.bodies()["r1"] == pupil("Eve")


BEGUN = """
    insert into homeroom_merge.backup (run, place) values ($1, $2)
    on conflict (run) do update set place = $2, made_at = null
"""
APPROVED = "update homeroom_merge.run set status = 'running', decided_by = 'tests', ended_at = null where id = $1"


async def test_what_was_begun_and_never_completed_is_removed(school: School, file: File) -> None:
    course = await edited(school, "Eve")
    part = file.path.parent / "backups" / "cut.part"
    part.write_bytes(b"the beginning")
    await school.own.execute(BEGUN, course.run, f"file://{file.path.parent}/backups/cut")
    await edited(school, "Ida")
    assert "cut.part" not in os.listdir(file.path.parent / "backups")


def sealed(place: str, count: int = 3) -> str:
    writer = Writer(place, Header("raven", "Student", "a run"))
    writer.add([json.dumps({"sisKey": str(number)}).encode() for number in range(count)])
    return writer.seal().checksum


def read(place: str, checksum: str | None = None) -> list[Any]:
    reader, found = Reader(place, checksum), []
    while page := reader.page(2):
        found += page
    reader.close()
    return found


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_backup_is_refused(tmp_path: Path, kept: float) -> None:
    place, path = f"file://{tmp_path}/whole", tmp_path / "whole"
    sealed(place, 500)
    assert len(read(place)) == 500
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(BackupError, match="nothing was changed"):
        read(place)


def test_every_flipped_byte_of_a_backup_is_noticed(tmp_path: Path) -> None:
    place, path = f"file://{tmp_path}/whole", tmp_path / "whole"
    sealed(place)
    whole, right = path.read_bytes(), read(place)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with suppress(BackupError):
            assert read(place) == right, f"byte {at}"


def repacked(path: Path, *changes: tuple[bytes, bytes], seal: bool = False) -> None:
    """Edited as somebody with zstd and an editor might; `seal`: with a checksum that fits."""
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    if seal:
        body = text[: text.rindex(b"\n", 0, -1) + 1]
        told = {"records": body.count(b"\n") - 1, "sha256": hashlib.sha256(body).hexdigest()}
        text = body + json.dumps(told).encode() + b"\n"
    path.write_bytes(zstandard.compress(text))


def test_an_edited_backup_is_refused(tmp_path: Path) -> None:
    place, path = f"file://{tmp_path}/whole", tmp_path / "whole"
    checksum = sealed(place)
    repacked(path, (b'"sisKey": "1"', b'"sisKey": "9"'))
    with pytest.raises(BackupError, match="checksum does not match"):
        read(place)
    repacked(path, seal=True)
    assert read(place)[1] == {"sisKey": "9"}
    with pytest.raises(BackupError, match="not the one that was noted"):
        read(place, checksum)
    repacked(path, (b'"version":2', b'"version":3'), seal=True)
    with pytest.raises(BackupError, match="it has format 3, and this version reads 1 and 2"):
        read(place)
    repacked(path, (b"homeroom-merge-backup", b"somebody-elses-backup"), seal=True)
    with pytest.raises(BackupError, match="this is no backup of a merge"):
        read(place)


async def test_a_backup_of_many_records_is_not_held_in_memory(school: School) -> None:
    await school.own.execute(MANY, 50_000)
    await school.say("r1", pupil("Eve"))
    (course,) = await (await school.group()).run(NOW, dry=True)
    tracemalloc.start()
    made = await back_up(school.own, course.run, course.terms)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made is not None
    assert made.records == 50_002
    assert peak < 8 << 20, "some thousand records at a time; all of them take 60 MB"
    await runs.end(school.own, course.run, "cancelled")


MANY = """
    insert into homeroom_merge.record
        (subject, sis_key, hub_id, hub_state, sis_state, hub_seen, sis_seen, base_hub, base_sis)
    select 1, 'many-' || n, 'many-' || n, 'live', 'live', body, body, body, body
    from generate_series(1, $1::int) as n, lateral (select '{"firstName":"' || repeat('x', 400) || n || '"}') as b(body)
"""
