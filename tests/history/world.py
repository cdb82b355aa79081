"""A primary, a standby, nodes, fronts, writers, raw clients and replicas: all that a run is made of."""

import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import asyncpg
import orjson

from homeroom import version_hash
from homeroom_server import operations
from homeroom_server.auth import Role
from homeroom_server.store import schema
from tests.cluster import Cluster, Postgres
from tests.history.caller import Caller
from tests.history.events import Epochs, Event, Held, Kept, Past, Recorder, Row, Stored, StoredRow, digest_of
from tests.history.facts import PROVINCE, SIGHT, may_see
from tests.history.front import Front
from tests.history.lookers import Looker
from tests.history.nodes import Node
from tests.history.replicas import KeptReplica
from tests.history.writers import Beliefs, Gate, Writer
from tests.processes import homeroom

TYPES = ("Note", "NoteStatus", "Bulletin")
WRITERS = (
    ("S.0982", ("S.0982",)),
    ("S.0982", ("S.0982",)),
    ("S.0983", ("S.0983",)),
    ("S.0990", ("S.0990",)),
    ("A.3020", ("S.0982", "S.0983")),
)
REPLICAS = ("O.1", "S.0982")
SETTLED_SECONDS_MAX = 90.0
_CATALOGUE = """\
[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"
status = true

[types.Bulletin]
school_year = "none"
id_format = "code"
audience = "public"
"""


@dataclass
class World:
    """What the agent of chaos may touch."""

    folder: Path
    recorder: Recorder
    primary: Postgres
    standby: Postgres
    nodes: Sequence[Node] = ()
    fronts: Sequence[Front] = ()
    lookers: Sequence[Looker] = ()
    replicas: Sequence[KeptReplica] = ()
    gate: Gate = field(default_factory=Gate)
    checkpoints: int = 0
    settled_seconds: list[float] = field(default_factory=list)

    async def connect(self) -> asyncpg.Connection:
        """A connection of the agent's own to the primary."""
        connection: asyncpg.Connection = await asyncpg.connect(self.primary.url, timeout=5)
        return connection

    async def settle(self) -> None:
        """Halt the writers, wait until everybody holds what the database has, and record what each holds."""
        self.gate.close()
        with anyio.fail_after(SETTLED_SECONDS_MAX):
            while self.gate.writing:
                await anyio.sleep(0.02)
        began = time.monotonic()
        self.checkpoints += 1
        self._settling(True)
        stored = await self._stored()
        with anyio.move_on_after(SETTLED_SECONDS_MAX):
            # Read anew each time: a write whose caller was cut off may be committed yet, and its status follows.
            while await self._unfinished_statuses() or not self._agree(stored):
                await anyio.sleep(0.1)
                stored = await self._stored()
        self.settled_seconds.append(time.monotonic() - began)
        events: list[Event] = [*stored, *self._held(), await self._epochs()]
        for event in events:
            self.recorder.add(event)
        self._settling(False)
        self.gate.open()

    def _settling(self, settling: bool) -> None:
        for looker in self.lookers:
            looker.settling = settling
        for replica in self.replicas:
            replica.settling = settling

    def _agree(self, stored: Sequence[Stored]) -> bool:
        return all(held.hash_agreed and _equal(held, stored) for held in self._held())

    async def _unfinished_statuses(self) -> int:
        connection = await self.connect()
        try:
            return int(await connection.fetchval("select count(*) from status_trigger"))
        finally:
            await connection.close()

    async def _stored(self) -> Sequence[Stored]:
        began = time.monotonic()
        connection = await self.connect()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                epoch = str(await connection.fetchval("select epoch from core"))
                rows = await connection.fetch(
                    "select t.name, r.id, r.version, r.deleted, r.body::text as body"
                    " from record r join record_type t on t.number = r.record_type order by r.id"
                )
        finally:
            await connection.close()
        found: dict[str, list[StoredRow]] = {name: [] for name in TYPES}
        for row in rows:
            digest = digest_of(orjson.loads(row["body"]))
            found[row["name"]].append(StoredRow(row["id"], row["version"], row["deleted"], digest))
        return [
            Stored(at=began, checkpoint=self.checkpoints, epoch=epoch, type=name, rows=tuple(entries))
            for name, entries in found.items()
        ]

    def _held(self) -> Sequence[Held]:
        held = []
        for name in TYPES:
            for looker in self.lookers:
                stream = looker.streams[name]
                rows = tuple(Row(i, v) for i, v in sorted(stream.held.items()))
                agreed = stream.proved == version_hash(row.version for row in rows)
                held.append(self._holds(looker.caller.name, looker.caller.organization, name, rows, agreed))
            held += [self._holds(r.name, r.organization, name, r.rows(name), True) for r in self.replicas]
        return held

    def _holds(self, client: str, organization: str, name: str, rows: tuple[Row, ...], agreed: bool) -> Held:
        return Held(
            at=time.monotonic(),
            checkpoint=self.checkpoints,
            client=client,
            organization=organization,
            type=name,
            rows=rows,
            hash_agreed=agreed,
        )

    async def _epochs(self) -> Epochs:
        """Every history so far, as an operator is told of them."""
        said = await anyio.to_thread.run_sync(
            lambda: homeroom("epoch", "--json", "--database-url", self.primary.url).stdout
        )
        pasts = [
            Past(past["epoch"], past["begunAbove"], tuple(Kept(*kept) for kept in past["kept"].items()))
            for past in json.loads(said)["histories"]
        ]
        return Epochs(at=time.monotonic(), pasts=tuple(sorted(pasts, key=lambda past: past.begun_above)))


def _equal(held: Held, stored: Sequence[Stored]) -> bool:
    (there,) = (each for each in stored if each.type == held.type)
    live = {
        row.id: row.version for row in there.rows if not row.deleted and may_see(held.organization, held.type, row.id)
    }
    return live == {row.id: row.version for row in held.rows}


@asynccontextmanager
async def running_world(seed: int, recorder: Recorder) -> AsyncIterator[World]:
    """Everything runs; at the end everything that was started is ended."""
    with tempfile.TemporaryDirectory(prefix="homeroom-history-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cluster = Cluster(Postgres(folder / "one"), Postgres(folder / "two"))
        world = World(folder, recorder, cluster.primary, cluster.standby)
        try:
            await anyio.to_thread.run_sync(_start_postgres, world)
            keys = await _prepare(world)
            world.nodes = _nodes(world, cluster)
            async with anyio.create_task_group() as starts:
                for node in world.nodes:
                    node.start()
                    starts.start_soon(node.ready)
            while not await anyio.to_thread.run_sync(cluster.caught_up):
                await anyio.sleep(0.05)
            async with anyio.create_task_group() as tasks:
                await _populate(world, seed, keys, tasks)
                world.gate.open()
                yield world
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for node in world.nodes:
                    await node.end()
            for server in (cluster.standby, cluster.primary):
                if server.running:
                    server.unpause()
                    server.kill()


def _start_postgres(world: World) -> None:
    world.folder.chmod(0o755)  # PostgreSQL's account must get to its own folder in it
    world.primary.init()
    world.primary.start()
    world.standby.follow(world.primary)
    world.standby.start()


async def _prepare(world: World) -> dict[str, str]:
    """The schema, the province, and a key for each organisation."""
    (world.folder / "catalogue.toml").write_text(_CATALOGUE, encoding="utf-8")
    connection = await world.connect()
    try:
        await schema.apply(connection)
        await operations.load_organizations(connection, PROVINCE)
        return {
            code: await operations.create_client(connection, f"client of {code}", [code], Role.WRITER) for code in SIGHT
        }
    finally:
        await connection.close()


def _nodes(world: World, cluster: Cluster) -> list[Node]:
    """One that reads from the primary, one from the second server, one from either."""
    one, two = (("--read-database-url", server.url) for server in (cluster.primary, cluster.standby))
    flags = [("--database-url", cluster.url, *reads) for reads in ((), two, (*one, *two))]
    catalogue = ("--catalogue", str(world.folder / "catalogue.toml"))
    return [Node(f"node{n}", world.folder, (*each, *catalogue)) for n, each in enumerate(flags)]


async def _populate(world: World, seed: int, keys: dict[str, str], tasks: anyio.abc.TaskGroup) -> None:
    ports = [node.port for node in world.nodes]
    world.fronts = [Front(ports), *(Front([port]) for port in ports)]
    for front in world.fronts:
        await tasks.start(front.serve)

    def caller(name: str, organization: str) -> Caller:
        return Caller(name, organization, keys[organization], world.fronts, random.Random(f"{seed} {name}"))

    beliefs = Beliefs()
    for number, (organization, schools) in enumerate(WRITERS):
        writes = caller(f"writer{number}", organization)
        tasks.start_soon(Writer(writes, schools, beliefs, world.gate, world.recorder).run)
    world.lookers = [Looker(caller(f"looker of {code}", code), TYPES, world.recorder) for code in SIGHT]
    world.replicas = [_replica(world, seed, code, keys[code]) for code in REPLICAS]
    for looker in world.lookers:
        tasks.start_soon(looker.run)
    for replica in world.replicas:
        tasks.start_soon(replica.run, ("NoteStatus", "Bulletin"))


def _replica(world: World, seed: int, code: str, key: str) -> KeptReplica:
    name = f"replica of {code}"
    chance, path = random.Random(f"{seed} {name}"), world.folder / f"{code}.db"
    return KeptReplica(name, code, key, world.fronts[0].url, path, chance, world.recorder)
