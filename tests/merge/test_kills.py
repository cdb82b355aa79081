"""kill -9 of a merge at any point: the next one ends as if nothing had happened, and nothing is written twice."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
import pytest

from homeroom_merge.store import seen, triggers
from homeroom_merge.values import Json
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.feeds import on_the_hub, opened_state
from tests.merge.interchanges import ORGANIZATIONS, put, student
from tests.merge.pupils import File, pupil

ORGANIZATIONS_OF_THE_CORE = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\n"
POINTS = int(os.environ.get("HOMEROOM_MERGE_KILLS", "1"))
"""How many points are tried; 0: all of them, however long it takes."""
NEVER = 10**9
TWICE = """
    select count(*) from homeroom_merge.journal j join homeroom_merge.run r on r.id = j.run
    join homeroom_merge.subject s on s.number = r.subject join homeroom_merge.feed f on f.number = s.feed
    where f.name = $1 and j.result = 'done' group by j.record, j.side, j.kind, r.undoes having count(*) > 1
"""
UNFINISHED = "select count(*) from homeroom_merge.run where status = 'running'"


@dataclass(frozen=True)
class Merge:
    """How a merge is started as a process of its own."""

    core: Core
    key: str
    state_url: str

    async def run(self, source: Path, point: int, what: str = "run") -> tuple[int, str]:
        """(exit code, what it printed)."""
        arguments = [self.core.base_url, self.key, self.state_url, str(source), str(point), what]
        command = [sys.executable, "-m", "tests.merge.killed", *arguments]
        done = await anyio.run_process(command, check=False, cwd=Path(__file__).parent.parent.parent)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        return done.returncode, done.stdout.decode()


@pytest.fixture
async def merge(database_of_test: str, settings: Settings) -> AsyncIterator[Merge]:
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        key = await core.key("A.9")
        async with core.served():
            yield Merge(core, key, database_of_test)


def some(count: int) -> Sequence[int]:
    """The points of so many that are tried: a sample, or all."""
    every = range(1, count + 1)
    return sorted(random.Random(count).sample(every, POINTS)) if POINTS else every


def feed(folder: Path, name: str) -> Path:
    """A folder with an authority, a school and five students whose ids are those of this feed alone."""
    place = folder / name
    place.mkdir()
    put(place, "EducationOrganization", ORGANIZATIONS)
    put(place, "Student", "".join(student(f"{name}-{number}") for number in range(5)))
    return place


@pytest.mark.timeout(1200 if POINTS else 0)
async def test_a_merge_that_is_killed_anywhere_is_finished_by_the_next(merge: Merge, tmp_path: Path) -> None:
    await merge.run(feed(tmp_path, "first"), NEVER)  # from here on the school is there
    _, said = await merge.run(feed(tmp_path, "undisturbed"), NEVER)
    count = int(said)
    assert count > 50
    points = some(count)
    own: asyncpg.Connection = await merge.core.connect()
    for point in points:
        name = f"killed{point}"
        folder = feed(tmp_path, name)
        assert (await merge.run(folder, point))[0] == -signal.SIGKILL
        assert (await merge.run(folder, NEVER))[0] == 0
        students = {each: body for each, body in (await on_the_hub(merge.core, "Student")).items() if name in each}
        assert len(students) == 5, f"killed at point {point} of {count}"
        assert await own.fetch(TWICE, name) == [], f"killed at point {point} of {count}"
    assert await own.fetchval(UNFINISHED) == 0


async def edited(merge: Merge, folder: Path, name: str, *, first: bool) -> File:
    """A SIS that had agreed with the hub on three pupils, before both sides were edited. `first`: it never had."""
    file = File(folder / f"{name}.sqlite")
    for number in range(1, 4):
        file.put(f"{name}-{number}", first="Ada", last="Bear")
    if not first:
        await merge.run(file.path, NEVER)
    async with merge.core.client_with(merge.key, "A.9") as client:
        asked = [{"id": f"{name}-{number}"} for number in (1, 3, 4)]
        said = {each["id"]: each.get("coreVersion", 0) for each in (await client.get("Student", asked)).records}
        records = [
            {"id": each, "expectedVersion": version, "deleted": False, "body": pupil("Hub")}
            for each, version in said.items()
        ]
        results = (await client.submit("Student", records, uuid4())).results
        assert not any(result["rejections"] for result in results)
    for number in (2, 3, 5) if not first else (5,):
        file.put(f"{name}-{number}", last="Sis", **({"first": "New"} if number == 5 else {}))
    file.writes()
    return file


def wanted(name: str, *, first: bool) -> dict[str, Json]:
    names = [("Hub", "Bear"), ("Ada", "Sis"), ("Hub", "Sis"), ("Hub", "Bear"), ("New", "Sis")]
    names = [("Hub", "Bear"), ("Ada", "Bear"), ("Hub", "Bear"), ("Hub", "Bear"), ("New", "Sis")] if first else names
    return {f"{name}-{number}": pupil(*each) for number, each in enumerate(names, 1)}


@pytest.mark.timeout(1200 if POINTS else 0)
@pytest.mark.parametrize("first", [False, True])
async def test_a_merge_of_both_sides_that_is_killed_anywhere_writes_nothing_twice(
    merge: Merge, tmp_path: Path, first: bool
) -> None:
    undisturbed = await edited(merge, tmp_path, "undisturbed", first=first)
    _, said = await merge.run(undisturbed.path, NEVER)
    count = int(said)
    assert count > 50
    points = some(count)
    own: asyncpg.Connection = await merge.core.connect()
    killed = 0
    for point in points:
        name, told = f"killed{point}at", f"killed at point {point} of {count}"
        file = await edited(merge, tmp_path, name, first=first)
        killed += (await merge.run(file.path, point))[0] == -signal.SIGKILL
        assert (await merge.run(file.path, NEVER))[0] == 0
        hub = {each: body for each, body in (await on_the_hub(merge.core, "Student")).items() if name in each}
        assert hub == file.bodies() == wanted(name, first=first), told
        assert Counter(file.writes()) == {f"{name}-{number}": 1 for number in (1, 3, 4)}, told
        assert await own.fetch(TWICE, name) == [], told
    assert await own.fetchval(UNFINISHED) == 0
    assert killed > len(points) / 2, "the last points are not in every run"


@pytest.mark.timeout(1200 if POINTS else 0)
async def test_an_undo_that_is_killed_anywhere_is_finished_by_the_next(merge: Merge, tmp_path: Path) -> None:
    async def done(name: str) -> tuple[File, dict[str, Json], dict[str, Json]]:
        file = await edited(merge, tmp_path, name, first=False)
        before = await hub_of(merge, name), file.bodies()
        await merge.run(file.path, NEVER)
        assert file.bodies() == await hub_of(merge, name) == wanted(name, first=False)
        file.writes()
        return file, *before

    async def is_back(file: File, hub: dict[str, Json], sis: dict[str, Json], told: str) -> None:
        assert (await hub_of(merge, file.path.stem), file.bodies()) == (hub, sis), told
        assert Counter(file.writes()) == {f"{file.path.stem}-{number}": 1 for number in (1, 3, 4)}, told
        assert await own.fetch(TWICE, file.path.stem) == [], told

    own: asyncpg.Connection = await merge.core.connect()
    undisturbed, hub, sis = await done("undisturbed")
    count = int((await merge.run(undisturbed.path, NEVER, "undo"))[1])
    await is_back(undisturbed, hub, sis, "undisturbed")
    for point in some(count):
        file, hub, sis = await done(f"undone{point}at")
        await merge.run(file.path, point, "undo")
        assert (await merge.run(file.path, NEVER, "undo"))[0] == 0
        await is_back(file, hub, sis, f"killed at point {point} of {count}")
    assert await own.fetchval(UNFINISHED) == 0


async def hub_of(merge: Merge, name: str) -> dict[str, Json]:
    """What the hub has of a feed."""
    return {each: body for each, body in (await on_the_hub(merge.core, "Student")).items() if name in each}


async def noticed(merge: Merge, name: str) -> None:
    """Whatever was edited on either side of a feed is dirty, and what is as it was besides."""
    async with opened_state(merge.state_url) as own:
        subject = (await seen.find_subject(own, name, "Student")).number
        await triggers.raise_(own, subject, "hub", [f"{name}-{number}" for number in (1, 3, 4)])
        await triggers.raise_(own, subject, "sis", [f"{name}-{number}" for number in (1, 2, 3, 5)])


@pytest.mark.timeout(1200)
async def test_a_drain_that_is_killed_anywhere_forgets_nothing_and_writes_nothing_twice(
    merge: Merge, tmp_path: Path
) -> None:
    undisturbed = await edited(merge, tmp_path, "undisturbed", first=False)
    await noticed(merge, "undisturbed")
    _, said = await merge.run(undisturbed.path, NEVER, "drain")
    count = int(said)
    assert count > 40
    own: asyncpg.Connection = await merge.core.connect()
    killed, points = 0, some(count)
    for point in points:
        name, told = f"killed{point}at", f"killed at point {point} of {count}"
        file = await edited(merge, tmp_path, name, first=False)
        await noticed(merge, name)
        killed += (await merge.run(file.path, point, "drain"))[0] == -signal.SIGKILL
        assert (await merge.run(file.path, NEVER, "drain"))[0] == 0
        hub = {each: body for each, body in (await on_the_hub(merge.core, "Student")).items() if name in each}
        assert hub == file.bodies() == wanted(name, first=False), told
        assert Counter(file.writes()) == {f"{name}-{number}": 1 for number in (1, 3, 4)}, told
        assert await own.fetch(TWICE, name) == [], told
        assert await own.fetchval("select count(*) from homeroom_merge.trigger") == 0, told
    assert await own.fetchval(UNFINISHED) == 0
    assert killed > len(points) / 2, "the last points are not in every run"
