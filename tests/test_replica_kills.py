"""`kill -9` at any moment of a first load and of a delta: nothing is lost, nothing is applied twice."""

import multiprocessing
import os
import random
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable
from contextlib import closing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import anyio
import pytest

from homeroom import Client, Replica, version_hash
from homeroom.replica import SqliteStorage
from tests.killed import CONSUMER, keep
from tests.processes import Node, running_node
from tests.records import accepted, note
from tests.test_replica_weather import here, there

RECORDS = 5_000
FILES = 20 if "HOMEROOM_EVERYTHING" in os.environ else 4
KILLS_A_PHASE = 5


async def killed_after(come: Awaitable[None], context: ForkServerContext, *arguments: str) -> None:
    """A process that keeps a replica until this has come, and is then killed."""
    process = context.Process(target=keep, args=arguments)
    process.start()
    await come
    process.kill()
    await anyio.to_thread.run_sync(process.join)
    assert process.exitcode == -9, "it had not failed by itself before"


def loaded_records(path: Path) -> int:
    """How many records a file holds, if there is one."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as file:
        if not file.execute("select 1 from sqlite_master where name = 'records_Bulletin'").fetchone():
            return 0
        return int(file.execute("select count(*) from records_Bulletin").fetchone()[0])


async def until_loaded(path: Path, records: float) -> None:
    """Return once a first load has brought a file so far."""
    with anyio.fail_after(20):
        while loaded_records(path) < records:
            await anyio.sleep(0.001)


def some_of_a_load(chance: random.Random, path: Path, records: int) -> Awaitable[None]:
    """A moment of its beginning, or one at which some of what is missing of so many records has come."""
    if chance.random() < 0.2:
        return anyio.sleep(chance.uniform(0, 0.2))
    held = loaded_records(path)
    return until_loaded(path, held + chance.uniform(0, 0.5) * (records - held))


def check_load(path: Path, versions: list[int]) -> bool:
    """What a crash left is whole; whether the first load has come to its end."""
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("pragma quick_check").fetchone() == ("ok",)
        if not file.execute("select 1 from sqlite_master where name = 'records_Bulletin'").fetchone():
            return False
        cursor, loaded = file.execute("select cursor, loaded from replica_type where name = 'Bulletin'").fetchone()
        held = [v for (v,) in file.execute("select version from records_Bulletin order by version")]
    if not loaded:
        assert held == versions[: bisect_right(versions, cursor)], "just what the cursor says, each once"
    return bool(loaded)


def check_log(log: Path, kills: int) -> None:
    """A change is seen twice only if the kill came between it and the question for the next."""
    lines = log.read_text(encoding="utf-8").splitlines()
    again = [line for line, times in Counter(lines).items() if times > 1]
    assert len(lines) - len(set(lines)) <= kills, again
    newest: dict[str, int] = {}
    for line in dict.fromkeys(lines):
        record_id, version = line.split()
        assert int(version) > newest.get(record_id, 0)
        newest[record_id] = int(version)


async def write(client: Client, chance: random.Random, held: dict[str, int]) -> None:
    """A batch of changes, some of them deletions and new records."""
    ids = chance.sample(sorted(held), 100)
    records = [note(i, f"{chance.random()}", held[i], deleted=chance.random() < 0.2) for i in ids]
    records += [note(f"new{chance.random()}", "new") for _ in range(20)]
    versions = await accepted(client, "Bulletin", *records)
    for record, version in zip(records, versions, strict=True):
        held[record["id"]] = version


@pytest.mark.timeout(600)
async def test_kills_lose_nothing_and_apply_nothing_twice(node_files: Node, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed"])
    chance = random.Random()
    killed_loading = 0
    async with running_node(node_files) as node, node.client() as client:
        held: dict[str, int] = {}
        for start in range(0, RECORDS, 1_000):
            records = [note(f"b{n}", "x" * 250) for n in range(start, start + 1_000)]
            versions = await accepted(client, "Bulletin", *records)
            held |= {record["id"]: version for record, version in zip(records, versions, strict=True)}
        for number in range(FILES):
            path, log = tmp_path / f"{number}.db", tmp_path / f"{number}.log"
            versions = sorted(version for version, _ in (await there(client, "Bulletin")).values())
            arguments = (node.url, node.key, str(path), str(log))
            for _ in range(KILLS_A_PHASE):
                await killed_after(some_of_a_load(chance, path, len(versions)), context, *arguments)
                killed_loading += not check_load(path, versions)
            async with anyio.create_task_group() as tasks:
                for _ in range(KILLS_A_PHASE):
                    tasks.start_soon(write, client, chance, held)
                    await killed_after(anyio.sleep(chance.uniform(0.1, 0.6)), context, *arguments)
            async with Replica(path, client, ["Bulletin"], follow=False) as replica:
                await replica.sync()
                assert here(path, "Bulletin") == await there(client, "Bulletin")
            storage = SqliteStorage(path)
            with log.open("a") as file:
                while left := storage.changes(CONSUMER, 1):
                    file.write(f"{left[0].id} {left[0].version}\n")
                    storage.acknowledge(CONSUMER, left[0])
            assert not storage.damage("Bulletin")
            live = [version for version, _ in (await there(client, "Bulletin")).values()]
            assert storage.version_hash("Bulletin") == version_hash(live)
            storage.close()
            check_log(log, 2 * KILLS_A_PHASE + 1)
    assert killed_loading >= FILES, "most first loads were cut at least once"
