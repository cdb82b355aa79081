"""kill -9 of a merge at any point: the next one ends as if nothing had happened, and nothing is written twice."""

import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.feeds import on_the_hub
from tests.merge.interchanges import ORGANIZATIONS, put, student

ORGANIZATIONS_OF_THE_CORE = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\n"
POINTS = int(os.environ.get("HOMEROOM_MERGE_KILLS", "8"))
"""How many points are tried; 0: all of them."""
NEVER = 10**9
TWICE = """
    select count(*) from homeroom_merge.journal j join homeroom_merge.run r on r.id = j.run
    join homeroom_merge.subject s on s.number = r.subject join homeroom_merge.feed f on f.number = s.feed
    where f.name = $1 and j.result = 'done' group by j.record having count(*) > 1
"""
UNFINISHED = "select count(*) from homeroom_merge.run where status = 'running'"


@dataclass(frozen=True)
class Merge:
    """How a merge is started as a process of its own."""

    core: Core
    key: str
    state_url: str

    async def run(self, folder: Path, point: int) -> tuple[int, str]:
        """(exit code, what it printed)."""
        arguments = [self.core.base_url, self.key, self.state_url, str(folder), str(point)]
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


def feed(folder: Path, name: str) -> Path:
    """A folder with an authority, a school and five students whose ids are those of this feed alone."""
    place = folder / name
    place.mkdir()
    put(place, "EducationOrganization", ORGANIZATIONS)
    put(place, "Student", "".join(student(f"{name}-{number}") for number in range(5)))
    return place


@pytest.mark.timeout(1200)
async def test_a_merge_that_is_killed_anywhere_is_finished_by_the_next(merge: Merge, tmp_path: Path) -> None:
    await merge.run(feed(tmp_path, "first"), NEVER)  # from here on the school is there
    _, said = await merge.run(feed(tmp_path, "undisturbed"), NEVER)
    count, chance = int(said), random.Random(7)
    assert count > 50
    points = range(1, count + 1) if not POINTS else sorted(chance.sample(range(1, count + 1), POINTS))
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
