"""At every quiet point each organisation's replica is what a plain statement of protocol 8 yields.

Random students, enrolments, exits, grants, deletions, moves of schools and of the calendar; the statement below knows
nothing of associations, triggers, lineages or viewer rows.
"""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from homeroom import Client, MemoryStorage, Replica, version_hash
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.access import TYPES, YEAR, settled, turn_to, write_catalogue
from tests.conftest import Core, open_core
from tests.records import Json, record

SCHOOLS = ("S.0982", "S.0983", "S.0990")
AUTHORITIES = ("A.3020", "A.3030")
ORGANIZATIONS = (*SCHOOLS, *AUTHORITIES, "O.1")

ORACLE = """
with recursive day as (select access_day as today from core),
rows as (
    select t.name, n.school_year, r.id, r.version, r.source_version, r.deleted, r.created_at, r.body::jsonb as body,
           o.code as owner
    from record r join record_type t on t.number = r.record_type
    join notification_type n on n.number = r.notification_type join organization o on o.number = r.owner
), enrolled as (
    select body ->> 'studentId' as student, 'S.' || (body ->> 'school') as school,
           (body ->> 'start')::date as start, (body ->> 'exit')::date as exit
    from rows where name = 'Enrolment' and not deleted
), associated as (
    select student, school as code from enrolled, day
    where start <= today and (exit is null or exit + interval '12 months' >= today)
    union
    select id, owner from rows, day
    where name = 'Student' and not exists (select from enrolled e where e.student = rows.id)
      and (created_at at time zone 'America/Edmonton')::date + interval '24 months' >= today
    union
    select g.student, o.code from access_grant g join organization o on o.number = g.organization, day
    where g.ends_on is null or g.ends_on >= today
), seen_by as (
    select name, id, owner as code from rows where name in ('Enrolment', 'Document', 'Mark', 'Note')
    union
    select r.name, r.id, a.code from rows r join associated a on a.student = coalesce(r.body ->> 'studentId', r.id)
    where r.name in ('Student', 'Document') or (r.name = 'Mark' and r.body #> '{decision,approved}' = 'true')
    union
    select name, id, 'O.1' from rows where name !~ 'Status$'
), above as (
    select name, id, code from seen_by
    union
    select a.name, a.id, p.code from above a
    join organization o on o.code = a.code join organization p on p.number = o.parent
)
select distinct r.name || coalesce('.' || nullif(r.school_year, 0), '') as type, r.id, r.version
from rows r join above a on a.name in (r.name, regexp_replace(r.name, 'Status$', '')) and a.id = r.id
where not r.deleted and a.code = $1
  and (r.name !~ 'Status$' or a.name = regexp_replace(r.name, 'Status$', ''))
"""

WORDS = """
    student enrol enrol exit exit unenrol document mark approve change delete undelete grant revoke move day note
    sync quiet
"""
STEP = st.tuples(
    st.sampled_from(WORDS.split()),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 5),
)


class World:
    """A Core, clients of every organisation, and a replica of all that each of them may see."""

    def __init__(self, core: Core, connection: asyncpg.Connection, ministry: Client) -> None:
        self.core = core
        self.connection = connection
        self.ministry = ministry
        self.clients: dict[str, Client] = {}
        self.replicas: dict[str, tuple[Replica, MemoryStorage]] = {}
        self.day = date.today()

    async def stands(self, name: str, record_id: str) -> Json | None:
        (found,) = (await self.ministry.get(name, [{"id": record_id}])).records
        return dict(found) if found["availability"] == "Normal" else None

    async def put(self, name: str, record_id: str, body: dict[str, Any], school: str) -> None:
        """Make or change a record, for its owner; what the rules reject changes nothing."""
        stands = await self.stands(name, record_id)
        version = stands["coreVersion"] if stands else 0
        owner = {} if stands else {"organization": school}
        merged = (stands["body"] if stands else {}) | body
        await self.ministry.submit(name, [record(record_id, merged, version, **owner)])

    async def set_deleted(self, name: str, record_id: str, *, deleted: bool) -> None:
        stands = await self.stands(name, record_id)
        if stands is not None and stands["deleted"] != deleted:
            await self.ministry.submit(
                name, [record(record_id, stands["body"], stands["coreVersion"], deleted=deleted)]
            )

    async def step(self, what: str, a: int, b: int, c: int) -> None:  # noqa: C901 - one case a word of the script
        school, student = SCHOOLS[a], f"s{b}"
        enrolment, document, mark = f"e{b}.{a}", f"d{b}.{c % 3}", f"m{b}.{c % 3}"
        start = self.day - timedelta(days=30 * c) if c < 4 else self.day + timedelta(days=20)
        match what:
            case "student":
                await self.put("Student", student, {"n": random.random()}, school)
            case "enrol":
                dates = {"start": str(start), "exit": None}
                body: Json = {"studentId": student, "school": school[2:], **dates}
                await self.put(f"Enrolment.{YEAR}", enrolment, body, school)
            case "exit":
                if await self.stands(f"Enrolment.{YEAR}", enrolment):
                    day = self.day - timedelta(days=[0, 300, 340, 360, 400, 900][c])
                    await self.put(f"Enrolment.{YEAR}", enrolment, {"exit": str(day)}, school)
            case "unenrol":
                await self.set_deleted(f"Enrolment.{YEAR}", enrolment, deleted=c % 2 == 0)
            case "document":
                await self.put("Document", document, {"studentId": student, "n": random.random()}, school)
            case "mark":
                body = {"studentId": student, "decision": {"approved": c > 2}, "n": random.random()}
                await self.put("Mark", mark, body, school)
            case "approve":
                if await self.stands("Mark", mark):
                    await self.put("Mark", mark, {"decision": {"approved": c > 2}, "n": random.random()}, school)
            case "change":
                if await self.stands("Document", document):
                    await self.put("Document", document, {"studentId": f"s{c % 4}"}, school)
            case "delete" | "undelete":
                name, record_id = [("Document", document), ("Mark", mark), ("Student", student)][c % 3]
                await self.set_deleted(name, record_id, deleted=what == "delete")
            case "grant":
                until = None if c == 0 else self.day + timedelta(days=10 * (c - 1))
                code = (*SCHOOLS, "A.3030")[b]
                await operations.grant(self.connection, code, f"s{a}", until)
            case "revoke":
                try:
                    await operations.revoke(self.connection, (*SCHOOLS, "A.3030")[b], f"s{a}")
                except operations.OperationError:
                    return
            case "note":
                await self.put("Note", f"n{a}{b}", {"n": random.random()}, school)
            case "move":
                rows = "".join(f"{code},{code},O.1\n" for code in AUTHORITIES)
                text = f"code,name,parent\nO.1,Ministry,\n{rows}{school},{school},{AUTHORITIES[c % 2]}\n"
                await operations.load_organizations(self.connection, text)
                await self.core.services.directory.refresh()
            case "day":
                self.day += timedelta(days=[1, 10, 21, 40, 100, 400][c])
                await turn_to(self.core.services, self.day)
            case "sync":
                await self.replicas[ORGANIZATIONS[c]][0].sync()
            case "quiet":
                await self.check()

    async def check(self) -> None:
        await settled(self.core.services)
        for code, (replica, storage) in self.replicas.items():
            await replica.sync()
            rows = await self.connection.fetch(ORACLE, code)
            for name in TYPES:
                expected = {row["id"]: row["version"] for row in rows if row["type"] == name}
                assert dict(storage.live(name)) == expected, (code, name)
                assert storage.version_hash(name) == version_hash(expected.values())
                assert not storage.differences(1), "no repair was needed: every change came by itself"


@pytest.fixture
async def oracle_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with open_core(database_of_test, changed) as core:
        await settled(core.services)
        yield core


@pytest.mark.timeout(600)
async def test_every_replica_is_what_the_rules_say(oracle_core: Core) -> None:
    scripts: list[list[tuple[str, int, int, int]]] = []

    @hypothesis_settings(max_examples=12, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=10, max_size=60))
    def collect(script: list[tuple[str, int, int, int]]) -> None:
        scripts.append(script)

    collect()
    world = World(oracle_core, await oracle_core.connect(), await oracle_core.client("O.1"))
    async with AsyncExitStack() as stack:
        for code in ORGANIZATIONS:
            client, storage = await oracle_core.client(code), MemoryStorage()
            replica = await stack.enter_async_context(Replica(storage, client, TYPES, follow=False))
            world.replicas[code] = (replica, storage)
        for script in scripts:
            for step in script:
                await world.step(*step)
            await world.check()
