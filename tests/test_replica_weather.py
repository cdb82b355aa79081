"""A replica behind a network that cuts, stalls, truncates, repeats and delays, on a real node."""

import os
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homeroom import Client, Replica, pacing
from homeroom import client as client_module
from homeroom.replica import Progress
from homeroom.replica.machine import What
from tests.processes import Node, running_node
from tests.records import Json, note
from tests.weather import Fault, Proxy, bad_weather

FAULT = st.builds(
    Fault,
    st.sampled_from(["cut", "cut", "late cut", "stall", "truncate", "repeat", "delay", "fair"]),
    st.one_of(st.integers(0, 400), st.integers(0, 20_000)),
)
SCRIPT = st.tuples(st.lists(FAULT, max_size=12), st.lists(FAULT, max_size=12), st.integers(0, 2**32))
TYPES = ("Bulletin", "NoteStatus")
EXAMPLES = int(os.environ.get("HOMEROOM_WEATHER_EXAMPLES", "20"))


@dataclass
class World:
    """What was ever written, and every state in which a replica was seen."""

    direct: Client
    direct_key: str
    bodies: dict[tuple[str, str, int], Json] = field(default_factory=dict)
    seen: list[tuple[str, int, bool, list[tuple[str, int, str]]]] = field(default_factory=list)
    between_pages: set[tuple[Path, str, int]] = field(default_factory=set)

    async def write(self, chance: random.Random, times: int) -> None:
        """Changes of some records, made straight at the Core."""
        for _ in range(times):
            name = chance.choice(["Bulletin", "Note"])
            ids = chance.sample([f"{name.lower()}{n}" for n in range(30)], 5)
            records = [
                note(i, f"{chance.random()}" + "x" * chance.randrange(300), await self._version(name, i)) for i in ids
            ]
            answer = await self.direct.submit(name, records)
            for record, result in zip(records, answer.results, strict=True):
                if not result["rejections"]:
                    self.bodies[name, record["id"], result["coreVersion"]] = record["body"]

    async def _version(self, name: str, record_id: str) -> int:
        return max((v for kind, i, v in self.bodies if (kind, i) == (name, record_id)), default=0)

    def look(self, path: Path, name: str, what: What) -> None:
        """Keep what any tool would read out of the file at this moment, in one snapshot."""
        with closing(sqlite3.connect(path)) as file:
            file.execute("begin")
            (cursor, loaded) = file.execute(
                "select cursor, loaded from replica_type where name = ?", (name,)
            ).fetchone()
            if what in (What.STOPPED, What.PAGE):
                self.between_pages.add((path, name, cursor))
            if loaded:
                between = (path, name, cursor) in self.between_pages
                rows = file.execute(f"select id, version, body from {name}").fetchall()
                self.seen.append((name, cursor, between, rows))

    def check_states(self) -> None:
        """Every state seen was one that the Core once showed: right bodies, nothing older than the cursor knows of.

        A delta lists each record once, at its newest version. So between its pages a record may be older than the
        cursor if that version stands on a later page: above the cursor, where the next delta finds it.
        """
        written: dict[tuple[str, str], list[int]] = {}
        for name, record_id, version in self.bodies:
            written.setdefault((name, record_id), []).append(version)
        for name, cursor, between_pages, rows in self.seen:
            for record_id, version, body in rows:
                if (name, record_id, version) in self.bodies:
                    assert orjson.loads(body) == self.bodies[name, record_id, version]
                if name == "Bulletin":
                    newer = [v for v in written.get((name, record_id), ()) if version < v]
                    passed = [v for v in newer if v <= cursor]
                    on_a_later_page = between_pages and newer[-1:] > [cursor]
                    assert passed == [] or on_a_later_page, f"{record_id}: {version} shown, {cursor} is past {passed}"


async def there(client: Client, name: str) -> dict[str, tuple[int, Json]]:
    """What the Core has, straight from it."""
    lines = [line async for line in client.snapshot(name)]
    return {line["id"]: (line["coreVersion"], line["body"]) for line in lines[1:-1]}


def here(path: Path, name: str) -> dict[str, tuple[int, Json]]:
    with closing(sqlite3.connect(path)) as file:
        return {i: (v, orjson.loads(body)) for i, v, body in file.execute(f"select id, version, body from {name}")}


async def converge(proxy: Proxy, world: World, path: Path, script: tuple[list[Fault], list[Fault], int]) -> None:
    """A first load and a delta, each through its faults, with writes on both sides; then all must agree."""
    load_faults, delta_faults, seed = script
    chance = random.Random(seed)
    proxy.play(load_faults)

    def look(progress: Progress) -> None:
        world.look(path, progress.type, progress.what)

    async with (
        Client(f"http://127.0.0.1:{proxy.port}", world.direct_key) as client,
        Replica(path, client, TYPES, wait_seconds=2, progress=look) as replica,
    ):
        await world.write(chance, 2)
        with anyio.fail_after(30):
            await replica.in_step()
        proxy.play(delta_faults)
        own = [f"own{seed}-{n}" for n in range(4)]
        for number, record_id in enumerate(own * 2):
            await replica.submit("Bulletin", record_id, {"text": f"mine {number}"})
        await world.write(chance, 3)
        with anyio.fail_after(30):
            while await replica.waiting() or not await _agree(world.direct, path):
                await anyio.sleep(0.02)
        assert await replica.rejected() == [], "nothing was sent twice, nor out of order"
        stands = await there(world.direct, "Bulletin")
        assert [stands[i][1] for i in own] == [{"text": f"mine {n}"} for n in range(4, 8)]


async def _agree(direct: Client, path: Path) -> bool:
    return all([here(path, name) == await there(direct, name) for name in ("Bulletin", "NoteStatus", "Note")])


@pytest.mark.timeout(1200)
async def test_a_replica_converges_in_any_weather_and_never_shows_an_impossible_state(
    node_files: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_PAUSE_SECONDS_FIRST", 0.01)
    # Bytes that were repeated within a head may promise more than ever comes: only a time-out ends that.
    monkeypatch.setattr(client_module, "_ANSWER_SECONDS", 1.0)
    scripts: list[tuple[list[Fault], list[Fault], int]] = []

    @settings(max_examples=EXAMPLES, database=None)
    @example(([], [Fault("repeat", 333), Fault("cut", 122)], 1045345))
    @given(SCRIPT)
    def collect(script: tuple[list[Fault], list[Fault], int]) -> None:
        scripts.append(script)

    collect()
    async with running_node(node_files) as node, node.client() as direct, bad_weather(node.url) as proxy:
        world = World(direct, node.key)
        for number, script in enumerate(scripts):
            try:
                await converge(proxy, world, tmp_path / f"{number}.db", script)
            except TimeoutError:
                pytest.fail(f"no convergence after {script}")
        assert proxy.connections > len(scripts)
    world.check_states()
    assert len(world.seen) > len(scripts)
