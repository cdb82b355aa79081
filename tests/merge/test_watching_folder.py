"""Files that come into a folder: run once they are at rest and whole, and only those that are other than before."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom_merge.runners import watching_folder
from homeroom_merge.runners.watching_folder import Pace, watch_folder
from homeroom_merge.settings.model import Connector, Entity, Feed, Hub, Realtime, Settings
from homeroom_merge.store.connection import pooled
from tests.merge.feeds import opened_state

PATIENCE_SECONDS = 30
MANIFEST = (
    "propertyName,value\noneroster.version,1.2\nfile.users,bulk\nfile.roles,bulk\nfile.orgs,bulk\nfile.results,bulk\n"
)
ORGS = "sourcedId,name,type\no1,Elk,school\n"
ROLES = "sourcedId,userSourcedId,role,orgSourcedId\nr1,u1,student,o1\n"
USERS = "sourcedId,givenName,familyName\nu1,Ada,Bear\n"
SET = {"orgs.csv": ORGS, "roles.csv": ROLES, "users.csv": USERS, "manifest.csv": MANIFEST}
LOOKS_MIN = 4
"""So many looks without a run, and there will be none."""


@dataclass
class Drop:
    """A folder that is watched by a clock of the test's, and the runs that were asked for."""

    folder: Path
    settings: Settings
    pool: asyncpg.Pool
    own: asyncpg.Connection
    pace: Pace = field(default_factory=lambda: Pace(quiet_seconds=0.05, poll_seconds=0.05))
    now: float = 0.0
    moves: bool = True
    """Whether each look comes an hour after the one before."""
    looks: int = 0
    failures: int = 0
    runs: list[list[str]] = field(default_factory=list)

    def clock(self) -> float:
        self.looks += 1
        self.now += 3_600 if self.moves else 0
        return self.now

    async def defer_run(self, feed: str, entities: Sequence[str]) -> None:
        assert feed == "raven"
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the queue is away")
        self.runs.append(list(entities))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_folder, self.settings, self.pool, self.defer_run, self.pace, self.clock)
            yield
            tasks.cancel_scope.cancel()

    def put(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / f"{name}.csv").write_text(text, encoding="utf-8")

    async def until_run(self, times: int) -> list[str]:
        """The entities of the last of so many runs, once what was read is stored."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while len(self.runs) < times:
                await anyio.sleep(0.01)
        await self.looked_on()
        assert len(self.runs) == times
        return self.runs[-1]

    async def looked_on(self) -> None:
        """Until it was looked at several times more."""
        enough = self.looks + LOOKS_MIN
        with anyio.fail_after(PATIENCE_SECONDS):
            while self.looks < enough:
                await anyio.sleep(0.01)


@pytest.fixture
async def drop(database_of_test: str, tmp_path: Path) -> AsyncIterator[Drop]:
    """An empty folder of OneRoster files."""
    folder = tmp_path / "exports"
    folder.mkdir()
    settings = Settings(
        Feed("raven", "oneroster", "A.9", ("S.91",)),
        Hub("https://core.example.org"),
        Connector("csv", {"folder": str(folder)}),
        {},
        {"School": Entity("School"), "Student": Entity("Student"), "Course": Entity("Course"),
         "Staff": Entity("Staff", enabled=False)},
        realtime=Realtime(enabled=True),
    )  # fmt: skip
    async with opened_state(database_of_test) as own, pooled(database_of_test, 2) as pool:
        yield Drop(folder, settings, pool, own)


def fill(drop: Drop) -> None:
    for name, text in SET.items():
        (drop.folder / name).write_text(text, encoding="utf-8")


async def test_files_that_come_are_run_for_the_entities_that_are_read_from_them(drop: Drop) -> None:
    async with drop.watched():
        fill(drop)
        assert await drop.until_run(1) == ["School", "Student"]
        drop.put(roles=ROLES + "r2,u2,student,o1\n")
        assert await drop.until_run(2) == ["Student"]


async def test_files_that_come_again_as_they_were_are_not_run_and_have_come(drop: Drop) -> None:
    async with drop.watched():
        fill(drop)
        await drop.until_run(1)
        before = await drop.own.fetchval("select came_at from watched_file where name = 'users.csv'")
        drop.put(users=USERS)
        with anyio.fail_after(PATIENCE_SECONDS):
            while await drop.own.fetchval("select came_at from watched_file where name = 'users.csv'") == before:
                await anyio.sleep(0.01)
        await drop.looked_on()
    assert len(drop.runs) == 1


async def test_a_file_that_is_still_being_written_is_waited_for(drop: Drop) -> None:
    drop.moves = False
    drop.pace = Pace(quiet_seconds=0.2, poll_seconds=0.05)
    fill(drop)
    drop.put(users=USERS[:30])
    async with drop.watched():
        await drop.looked_on()
        drop.now = 0.12
        drop.put(users=USERS[:40])
        await drop.looked_on()
        drop.now = 0.31
        await drop.looked_on()
        assert drop.runs == []
        drop.put(users=USERS)
        await drop.looked_on()
        drop.now = 0.52
        assert await drop.until_run(1) == ["School", "Student"]


async def test_the_manifest_may_come_last_and_all_that_it_promises_is_waited_for(drop: Drop) -> None:
    async with drop.watched():
        drop.put(orgs=ORGS, users=USERS)
        await drop.looked_on()
        drop.put(manifest=MANIFEST[:40])
        await drop.looked_on()
        drop.put(manifest=MANIFEST)
        await drop.looked_on()
        assert drop.runs == []
        drop.put(roles=ROLES)
        assert await drop.until_run(1) == ["School", "Student"]


async def test_a_file_that_is_renamed_in_counts_under_its_own_name_alone(drop: Drop) -> None:
    fill(drop)
    async with drop.watched():
        await drop.until_run(1)
        new = drop.folder / "users.csv.part"
        new.write_text(USERS + "u2,Una,Elk\n", encoding="utf-8")
        await drop.looked_on()
        assert len(drop.runs) == 1
        new.rename(drop.folder / "users.csv")
        assert await drop.until_run(2) == ["Student"]


async def test_what_came_while_nobody_watched_is_run_and_what_did_not_is_not(drop: Drop) -> None:
    fill(drop)
    async with drop.watched():
        await drop.until_run(1)
    async with drop.watched():
        await drop.looked_on()
    assert len(drop.runs) == 1
    drop.put(orgs=ORGS + "o2,Heron,school\n")
    async with drop.watched():
        assert await drop.until_run(2) == ["School", "Student"]


async def test_a_run_that_cannot_be_asked_for_is_asked_for_again(drop: Drop) -> None:
    drop.failures = 2
    fill(drop)
    async with drop.watched():
        assert await drop.until_run(1) == ["School", "Student"]


async def test_a_folder_that_tells_of_nothing_is_polled(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there at first, then away for a while, and no watches to be had."""

    def awatch(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(watching_folder, "awatch", awatch)
    away = drop.folder.with_name("away")
    drop.folder.rename(away)
    async with drop.watched():
        away.rename(drop.folder)
        fill(drop)
        await drop.until_run(1)
        drop.folder.rename(away)
        drop.folder.mkdir()
        await drop.looked_on()
        shutil.rmtree(drop.folder)
        away.rename(drop.folder)
        drop.put(users=USERS + "u2,Una,Elk\n")
        assert await drop.until_run(2) == ["Student"]


async def test_the_system_tells_of_a_change_at_once(drop: Drop) -> None:
    """The folder would be polled in an hour."""
    drop.pace = Pace(quiet_seconds=0.05, poll_seconds=3_600)
    fill(drop)
    async with drop.watched():
        with anyio.fail_after(PATIENCE_SECONDS):
            while not drop.runs:
                await anyio.sleep(0.01)
            while not await drop.own.fetchval("select count(*) from watched_file"):
                await anyio.sleep(0.01)
            while len(drop.runs) < 2:
                drop.put(users=USERS + f"u2,Una,{drop.looks}\n")
                await anyio.sleep(2)
    assert drop.runs[1] == ["Student"]


async def test_a_folder_of_interchange_files_is_run_for_all_that_is_merged(drop: Drop) -> None:
    drop.settings = replace(
        drop.settings,
        feed=replace(drop.settings.feed, formatter="edfi"),
        connector=Connector("edfi", {"folder": str(drop.folder)}),
    )
    (drop.folder / "Students.XML").write_text("<InterchangeStudent/>", encoding="utf-8")
    async with drop.watched():
        assert await drop.until_run(1) == ["School", "Student", "Course"]


async def test_formatters_of_a_school_are_not_loaded_to_watch_its_files(drop: Drop) -> None:
    mapping = drop.folder.with_name("mapping.toml")
    mapping.write_text('[Student]\nfile = "pupils.csv"\nkey = ["Id"]\n', encoding="utf-8")
    drop.settings = replace(
        drop.settings,
        feed=replace(drop.settings.feed, formatter="not-installed-here"),
        connector=Connector("csv", {"folder": str(drop.folder), "mapping": str(mapping)}),
    )
    drop.put(pupils="Id,Given\n7,Ada\n")
    async with drop.watched():
        assert await drop.until_run(1) == ["Student"]


async def test_a_feed_without_a_folder_is_not_watched(drop: Drop) -> None:
    drop.settings = replace(drop.settings, connector=Connector("sql", {"url": "sqlite://"}))
    with anyio.fail_after(PATIENCE_SECONDS):
        await watch_folder(drop.settings, drop.pool, drop.defer_run)
