"""How soon is an edit on the hub in a school's own database, for one school at rest, one in a burst, and 200 at once?

Each school is a feed of its own with a SQLite database of staff, all merged by one worker. Measured is from the answer
of the Core to an edit until the school's row has it: debouncing, the queue, the sandbox and the write included. Core,
worker, their PostgreSQL and the schools' databases are on the same machine.
"""

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
from rich.console import Console
from rich.progress import track
from typer.testing import CliRunner

from bench.rig import Rig, report, running_node, spread
from homeroom import Client
from homeroom_merge.command import app
from homeroom_merge.store import place

_STAFF_PER_SCHOOL = 5
_PATIENCE_SECONDS = 600
_LOOK_SECONDS = 0.02
_PER_SUBMIT = 500
_MAPPING = """
[Staff]
table = "staff"
key = ["no"]
complete = true
school = "{school}"
[Staff.fields]
firstName = "given"
lastName = "family"
"""
_SETTINGS = """
[feed]
name = "{school}"
authority = "A.1"
schools = ["{school}"]
formatter = "mapping"
[hub]
url = "{hub}"
[connector]
kind = "sql"
url = "sqlite:///{folder}/{school}.sqlite"
mapping = "{folder}/{school}.toml"
[secrets]
hub_key = "HOMEROOM_KEY"
sis_password = "NO_PASSWORD"
[realtime]
enabled = true
[entity.Staff.guards]
updates = false
creates = false
"""
_WAITING = """
select count(*) filter (where status = 'doing') as doing, count(*) filter (where status = 'todo') as todo
from homeroom_merge_queue.procrastinate_jobs where queue_name = 'realtime' and args->>'feed' = $1
"""


@dataclass(slots=True)
class Schools:
    """So many schools, each in step with the hub; the last has `many` staff, the others a few."""

    rig: Rig
    folder: Path
    names: Sequence[str]
    database_url: str
    many: int
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        own = {"HOMEROOM_KEY": self.rig.key, "NO_PASSWORD": "", "HOMEROOM_MERGE_DATABASE_URL": self.database_url}
        self.environment = {**os.environ, **own, "HOMEROOM_MERGE_DATA_DIR": str(self.folder / "own")}

    @property
    def hub(self) -> str:
        return f"http://{self.rig.host}:{self.rig.port}"

    def prepare(self) -> None:
        """A first merge of each, approved."""
        for name in track(self.names, "schools", console=Console(stderr=True), transient=True):
            count = self.many if name == self.names[-1] else _STAFF_PER_SCHOOL
            file = self.folder / f"{name}.sqlite"
            with closing(sqlite3.connect(file)) as sis, sis:
                sis.execute("create table staff (no text primary key, given text, family text)")
                rows = [(f"{name}-{number}", "Ada", "Bear") for number in range(count)]
                sis.executemany("insert into staff values (?, ?, ?)", rows)
            file.chmod(0o666)  # for the users that runs have to themselves
            (self.folder / f"{name}.toml").write_text(_MAPPING.format(school=name))
            settings = self.folder / f"{name}-settings.toml"
            settings.write_text(_SETTINGS.format(school=name, folder=self.folder, hub=self.hub))
            self._do("settings", "push", str(settings))
            self._do("run", "--feed", name, code=3)
            self._do("approve", "--feed", name, "--by", "bench")

    def _do(self, *arguments: str, code: int = 0) -> None:
        done = CliRunner(env=self.environment).invoke(app, arguments)
        if done.exit_code != code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.exit_code}: {done.output}")

    def given(self, name: str) -> dict[str, str]:
        """What a school's database has."""
        with closing(sqlite3.connect(self.folder / f"{name}.sqlite", timeout=10)) as sis:
            return dict(sis.execute("select no, given from staff"))


class Hub:
    """Somebody who edits staff of any school on the hub."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._versions: dict[str, int] = {}

    async def edit(self, keys: Sequence[str], given: str) -> None:
        for start in range(0, len(keys), _PER_SUBMIT):
            page = keys[start : start + _PER_SUBMIT]
            if unknown := [key for key in page if key not in self._versions]:
                found = (await self._client.get("Staff", [{"id": key} for key in unknown])).records
                self._versions |= {each["id"]: each["coreVersion"] for each in found}
            records = [
                {
                    "id": key,
                    "expectedVersion": self._versions[key],
                    "deleted": False,
                    "body": {"firstName": given, "lastName": "Bear"},
                }
                for key in page
            ]
            for result in (await self._client.submit("Staff", records, uuid4())).results:
                if result["rejections"]:
                    raise RuntimeError(f"an edit was refused: {result}")
                self._versions[result["id"]] = result["coreVersion"]


@contextmanager
def _working(schools: Schools, concurrency: int) -> Iterator[None]:
    log = schools.folder / "worker.log"
    command = [str(Path(sys.executable).parent / "homeroom-merge"), "worker", "--concurrency", str(concurrency)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=schools.environment)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended: {log.read_text()[-2_000:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def _listening(own: asyncpg.Connection, schools: Schools) -> None:
    with anyio.fail_after(_PATIENCE_SECONDS):
        while await own.fetchval("select count(*) from homeroom_merge.heard") < len(schools.names):
            await anyio.sleep(_LOOK_SECONDS)


async def _until(schools: Schools, wanted: dict[str, Sequence[str]], given: str) -> dict[str, float]:
    """When each school had all of these staff as edited, by `time.monotonic`."""
    had: dict[str, float] = {}
    with anyio.fail_after(_PATIENCE_SECONDS):
        while len(had) < len(wanted):
            for name in wanted.keys() - had.keys():
                there = schools.given(name)
                if all(there[key] == given for key in wanted[name]):
                    had[name] = time.monotonic()
            await anyio.sleep(_LOOK_SECONDS)
    return had


async def _at_rest(own: asyncpg.Connection) -> None:
    jobs = "select count(*) from homeroom_merge_queue.procrastinate_jobs where status in ('todo', 'doing')"
    dirty = "select count(*) from homeroom_merge.trigger where not parked"
    with anyio.fail_after(_PATIENCE_SECONDS):
        while await own.fetchval(jobs) or await own.fetchval(dirty):
            await anyio.sleep(_LOOK_SECONDS)


async def _one_by_one(schools: Schools, hub: Hub, own: asyncpg.Connection, edits: int) -> list[float]:
    """Seconds from each edit until the school had it, one after the other."""
    name, taken = schools.names[0], []
    for number in track(range(edits), "edits", console=Console(stderr=True), transient=True):
        given, key = f"Ada {number}", f"{name}-{number % _STAFF_PER_SCHOOL}"
        await hub.edit([key], given)
        begun = time.monotonic()
        had = await _until(schools, {name: [key]}, given)
        taken.append(had[name] - begun)
        await _at_rest(own)
    return taken


async def _all_at_once(schools: Schools, hub: Hub, given: str) -> list[float]:
    """Seconds until each school had its edit, of one staff member each."""
    keys = {name: [f"{name}-0"] for name in schools.names}
    await hub.edit([key for each in keys.values() for key in each], given)
    begun = time.monotonic()
    return [at - begun for at in (await _until(schools, dict(keys), given)).values()]


async def _burst(schools: Schools, hub: Hub, own: asyncpg.Connection) -> tuple[float, int, int, int]:
    """Each record of the largest school edited: seconds from the last edit, jobs seen at once, runs that it took."""
    name = schools.names[-1]
    keys = [f"{name}-{number}" for number in range(schools.many)]
    before = await own.fetchval("select count(*) from homeroom_merge.run where runner = 'realtime'")
    most_doing = most_waiting = 0

    async def watch() -> None:
        nonlocal most_doing, most_waiting
        while True:
            (seen,) = await own.fetch(_WAITING, name)
            most_doing, most_waiting = max(most_doing, seen["doing"]), max(most_waiting, seen["todo"])
            await anyio.sleep(_LOOK_SECONDS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await hub.edit(keys, "Burst")
        begun = time.monotonic()
        had = await _until(schools, {name: keys}, "Burst")
        tasks.cancel_scope.cancel()
    runs = await own.fetchval("select count(*) from homeroom_merge.run where runner = 'realtime'") - before
    return had[name] - begun, most_doing, most_waiting, runs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schools", type=int, default=200)
    parser.add_argument("--edits", type=int, default=40, help="one by one, at rest")
    parser.add_argument("--burst", type=int, default=10_000, help="edits in the largest school")
    parser.add_argument("--concurrency", type=int, default=2, help="jobs that the worker does at once")
    parser.add_argument("--times", type=int, default=3, help="of all schools at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-") as made:
        folder = Path(made)
        folder.chmod(0o777)  # for the users that runs have to themselves
        anyio.run(_measure, arguments, folder)


async def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    names = [f"S.{number:04}" for number in range(arguments.schools)]
    province = "code,name,parent\nO.1,Ministry,\nA.1,District,O.1\n"
    province += "".join(f"{name},School {name},A.1\n" for name in names)
    with running_node("roster", province) as rig, place.database("", folder / "state", None) as url:
        schools = Schools(rig, folder, names, url, arguments.burst)
        await anyio.to_thread.run_sync(schools.prepare)
        own = await asyncpg.connect(url)
        async with Client(schools.hub, rig.key, "O.1") as client:
            with _working(schools, arguments.concurrency):
                await _listening(own, schools)
                hub = Hub(client)
                single = await _one_by_one(schools, hub, own, arguments.edits)
                every = []
                for number in range(arguments.times):
                    every.append(await _all_at_once(schools, hub, f"All {number}"))
                    await _at_rest(own)
                burst = await _burst(schools, hub, own)
        await own.close()
    _report(arguments, single, every, burst)


def _report(
    arguments: argparse.Namespace,
    single: Sequence[float],
    every: Sequence[Sequence[float]],
    burst: tuple[float, int, int, int],
) -> None:
    seconds, doing, waiting, runs = burst
    ordered = sorted(single)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    rows = [
        ("one edit, at rest: s", f"{spread(single, 2)}, p95 {p95:.2f}"),
        (f"{arguments.schools} schools at once: s until the last has it", spread([max(each) for each in every], 1)),
        (f"{arguments.burst:,} edits of one school: s after the last", f"{seconds:.1f}, {runs} runs"),
        ("jobs of that school seen at once", f"{doing} done, {waiting} waiting"),
    ]
    told = {
        "single": list(single),
        "schools": arguments.schools,
        "allAtOnce": [list(each) for each in every],
        "burst": {"edits": arguments.burst, "seconds": seconds, "doing": doing, "waiting": waiting, "runs": runs},
    }
    report("realtime", ("from the hub to a school's database", ""), rows, told)


if __name__ == "__main__":
    main()
