"""Protocol 9, Converging: a client that keeps polling holds exactly what a plain SELECT on the Core yields.

Random writes of several organisations, with stalled transactions and cut listeners between them; each replica is a
dictionary that follows Is Data Available alone.
"""

import random
from dataclasses import dataclass, field, replace
from uuid import uuid4

import anyio
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom import Client, NotificationType, version_hash
from homeroom.answers import Listed
from homeroom_server.settings import Settings
from homeroom_server.store import records, types
from homeroom_server.store.records import RecordWrite, Showing
from tests.conftest import Core, open_core
from tests.records import available, note, record

TYPES = ("Note", "Bulletin")
ORGANIZATIONS = ("S.0982", "S.0983", "S.0990", "A.3020", "O.1")
WRITERS = ("S.0982", "S.0983", "S.0990")

STEP = st.tuples(
    st.sampled_from(["write", "write", "write", "delete", "stall", "cut", "tamper"]),
    st.sampled_from(WRITERS),
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True),
)


@dataclass
class Replica:
    """What one organisation holds of one type."""

    client: Client
    type_name: str
    cursor: int = 0
    held: dict[str, int] = field(default_factory=dict)

    async def step(self) -> str:
        """One question, its answer applied; the reason given. Checks what protocol 9 promises of every answer."""
        digest = version_hash(self.held.values())
        found = await available(self.client, self.type_name, self.cursor, versionHash=digest)
        versions = [listed["coreVersion"] for listed in found["records"]]
        assert versions == sorted(set(versions)), "Ordered"
        assert len({listed["id"] for listed in found["records"]}) == len(versions), "Bounded"
        if found["reason"] == "newer":
            assert versions[0] > self.cursor, "Ordered"
        if found["reason"] == "mismatch":
            self.held = {listed["id"]: listed["coreVersion"] for listed in found["records"]}
        elif found["records"]:
            await self._apply(found["records"])
        self.cursor = found["maxCoreVersion"]
        return str(found["reason"])

    async def _apply(self, listed: list[Listed]) -> None:
        answer = await self.client.get(self.type_name, [{"id": entry["id"]} for entry in listed])
        for entry in answer.records:
            assert entry["availability"] == "Normal"
            if entry["deleted"]:
                self.held.pop(entry["id"], None)
            else:
                self.held[entry["id"]] = entry["coreVersion"]


async def oracle(connection: asyncpg.Connection, organization: str, type_name: str) -> dict[str, int]:
    """Who sees what, written anew from protocol 8: public, or owned by it or by what is below it, or the ministry."""
    rows = await connection.fetch(
        """
        select r.id, r.version from record r join record_type t on t.number = r.record_type
        join organization o on o.number = r.owner left join organization p on p.number = o.parent
        where t.name = $1 and not r.deleted and ($1 = 'Bulletin' or $2 = 'O.1' or $2 in (o.code, p.code))
        """,
        type_name,
        organization,
    )
    return {row["id"]: row["version"] for row in rows}


class World:
    """A Core, its writers, and a replica of every organisation and type."""

    def __init__(self, core: Core, connection: asyncpg.Connection, clients: dict[str, Client]) -> None:
        self.core = core
        self.connection = connection
        self.clients = clients
        self.replicas = {(o, t): Replica(clients[o], t) for o in ORGANIZATIONS for t in TYPES}

    async def write(self, organization: str, type_name: str, numbers: list[int], *, delete: bool) -> None:
        stands = await oracle(self.connection, organization, type_name)
        ids = [f"{organization}.{number}" for number in numbers]
        if delete:
            calls = [record(i, None, stands[i], deleted=True) for i in ids if i in stands]
        else:
            calls = [note(i, str(random.random()), stands.get(i, 0)) for i in ids]
        if calls:
            await self.clients[organization].submit(type_name, calls)

    async def stall_and_write(self, organization: str, type_name: str, numbers: list[int]) -> None:
        """A writer with a lower version stalls; another waits behind it; readers poll meanwhile."""
        stalled = await asyncpg.connect(self.core.database_url)
        try:
            row = await types.ensure_type(stalled, NotificationType(type_name))
            async with anyio.create_task_group() as tasks, stalled.transaction():
                await records.lock_type(stalled, row.number)
                owner = await stalled.fetchval("select number from organization where code = $1", organization)
                new = RecordWrite(f"stalled.{uuid4()}", True, False, owner, None, "{}", body_changed=True)
                showing = Showing(to_lineage=type_name != "Bulletin")
                await records.write_records(stalled, row, [new], showing, raise_triggers=False)
                tasks.start_soon(self._write_again, organization, type_name, numbers)
                await self.step_all()
        finally:
            await stalled.close()

    async def _write_again(self, organization: str, type_name: str, numbers: list[int]) -> None:
        await self.write(organization, type_name, numbers, delete=False)

    async def cut(self) -> None:
        await self.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'homeroom feed' and datname = current_database()"
        )

    async def step_all(self) -> None:
        for replica in self.replicas.values():
            await replica.step()

    def tamper(self) -> None:
        for replica in self.replicas.values():
            if replica.held:
                replica.held.popitem()

    async def check(self) -> None:
        """After one more round every replica is what the Core has."""
        await self.step_all()
        await self.step_all()
        for (organization, type_name), replica in self.replicas.items():
            assert replica.held == await oracle(self.connection, organization, type_name), (organization, type_name)
            assert await replica.step() == "none"


@pytest.mark.timeout(300)
async def test_every_replica_converges_to_what_select_yields(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    scripts: list[list[tuple[str, str, str, list[int]]]] = []

    @settings_of_the_search
    @given(st.lists(STEP, min_size=1, max_size=12))
    def collect(script: list[tuple[str, str, str, list[int]]]) -> None:
        scripts.append(script)

    collect()
    async with open_core(database_of_test, replace(settings, catalogue=any_catalogue)) as core:
        world = World(core, await core.connect(), {o: await core.client(o) for o in ORGANIZATIONS})
        for script in scripts:
            for kind, organization, type_name, numbers in script:
                match kind:
                    case "write" | "delete":
                        await world.write(organization, type_name, numbers, delete=kind == "delete")
                    case "stall":
                        await world.stall_and_write(organization, type_name, numbers)
                    case "cut":
                        await world.cut()
                    case "tamper":
                        world.tamper()
                if random.random() < 0.5:
                    await world.step_all()
            await world.check()


settings_of_the_search = settings(max_examples=40, database=None, suppress_health_check=list(HealthCheck))
