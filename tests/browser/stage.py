"""A small province on a real socket, with what the console's stories need: schools, people, clients, merges."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import anyio
import sqlalchemy as sa

from homeroom import Client
from homeroom_server import operations, people
from homeroom_server.people import PersonRole
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.test_merge_command import COMMAND, Prompt
from tests.records import available

PASSWORD = "otters swim at night"
ORGANIZATIONS = """\
code,name,parent
O.1,Ministry,
A.30,Foothills,O.1
S.301,Maple Ridge School,A.30
S.302,Elk Valley School,A.30
A.40,Prairie,O.1
S.401,Plainview School,A.40
"""
PEOPLE = {
    "olga": (PersonRole.OPERATOR, []),
    "amir": (PersonRole.ADMINISTRATOR, ["A.30"]),
    "vera": (PersonRole.VIEWER, ["S.301"]),
    "petra": (PersonRole.ADMINISTRATOR, ["A.40"]),
}
TEACHERS = ("Ada Bear", "Ben Crow", "Cleo Dove", "Dan Elk", "Eve Fox", "Finn Goose", "Gita Hare", "Hugo Ibis")
PUPILS = ("Ida Jay", "Jon Kite", "Kim Lark", "Leo Mole", "Mia Newt", "Noah Owl", "Oda Puma", "Pia Quail", "Rex Raven")
_TABLES = sa.MetaData()
TABLES = {
    entity: sa.Table(
        entity.lower(),
        _TABLES,
        sa.Column("no", sa.String(20), primary_key=True),
        sa.Column("given", sa.String(80)),
        sa.Column("family", sa.String(80)),
        sa.Column("called", sa.String(80), nullable=False, server_default=""),
    )
    for entity in ("Staff", "Student")
}
_MAPPING = """
[{entity}]
table = "{table}"
key = ["no"]
complete = true
school = "{school}"
[{entity}.fields]
firstName = "given"
lastName = "family"
preferredFirstName = "called"
"""
_SETTINGS = """
[feed]
name = "{feed}"
authority = "{authority}"
schools = ["{school}"]
formatter = "mapping"
nightly = "30 1 * * *"
[hub]
url = "{hub}"
[connector]
kind = "sql"
url = "sqlite:///{folder}/{feed}.sqlite"
mapping = "{folder}/{feed}-mapping.toml"
[secrets]
hub_key = "{key}"
sis_password = "NO_PASSWORD"
[entity.Staff]
[entity.Student]
"""


@dataclass
class School:
    """A feed of its own: a database of teachers and pupils, and the same on the hub."""

    feed: str
    code: str
    client: Client
    prompt: Prompt
    engine: sa.Engine

    def edit(self, entity: str, key: str, **cells: str) -> None:
        """Somebody at the school edits a row."""
        table = TABLES[entity]
        with self.engine.begin() as sis:
            sis.execute(sa.update(table).where(table.c.no == key).values(cells))

    async def say(self, entity: str, key: str, **members: str) -> None:
        """Somebody edits the record on the hub."""
        (found,) = (await self.client.get(entity, [{"id": key}])).records
        record = {"id": key, "expectedVersion": found["coreVersion"], "deleted": False}
        (result,) = (
            await self.client.submit(entity, [{**record, "body": {**found["body"], **members}}], uuid4())
        ).results
        assert not result["rejections"], result

    async def merge(self, exit_code: int = 0) -> None:
        """A run of all entities, at a prompt."""
        await self.prompt.do("run", "--feed", self.feed, exit_code=exit_code)

    def rows(self, entity: str) -> dict[str, str]:
        """What the school's own database has: given names by key."""
        with self.engine.connect() as sis:
            found = sis.execute(sa.select(TABLES[entity])).mappings()
            return {row["no"]: row["given"] for row in found}

    async def on_the_hub(self, entity: str, member: str = "firstName") -> dict[str, str]:
        """What the hub has: a member by id, the first name if no other is named."""
        lines = self.client.snapshot(entity)
        return {line["id"]: line["body"][member] async for line in lines if "id" in line}


@dataclass
class Stage:
    core: Core
    folder: Path
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return self.core.base_url

    async def school(self, feed: str, code: str, authority: str, *, agreed: bool = True) -> School:
        """A school with its feed; `agreed`: its first merge is done."""
        key = await self.core.key(code)
        variable = f"KEY_{code.replace('.', '_')}"
        self.environment[variable] = key
        engine = sa.create_engine(f"sqlite:///{self.folder / feed}.sqlite")
        _TABLES.create_all(engine)
        with engine.begin() as sis:
            for entity, names in (("Staff", TEACHERS), ("Student", PUPILS)):
                for number, name in enumerate(names, 1):
                    given, family = name.split()
                    row = {"no": f"{code[2:]}-{number}", "given": given, "family": family, "called": given}
                    sis.execute(sa.insert(TABLES[entity]).values(row))
        tables = [_MAPPING.format(entity=name, table=table.name, school=code) for name, table in TABLES.items()]
        (self.folder / f"{feed}-mapping.toml").write_text("".join(tables))
        settings = self.folder / f"{feed}.toml"
        told = {"feed": feed, "authority": authority, "school": code, "hub": self.url, "folder": self.folder}
        settings.write_text(_SETTINGS.format(key=variable, **told))
        prompt = Prompt(self.folder, self.environment)
        client = await self.core._stack.enter_async_context(self.core.client_with(key))
        school = School(feed, code, client, prompt, engine)
        await prompt.do("settings", "push", str(settings), "--comment", "the first ones")
        await school.merge(exit_code=3)
        if agreed:
            await prompt.do("approve", "--feed", feed, "--by", "amir")
        return school

    async def client(self, organization: str) -> Client:
        """A system of its own that follows the Core."""
        return await self.core.client(organization)

    async def forget_nothing(self) -> None:
        """What nodes write down every few seconds is there."""
        await self.core.services.client_streams.write()
        await self.core.services.client_traffic.write()
        await self.core.services.pulse.beat()

    async def lived_in(self) -> list[str]:
        """A day in the province: a plan held, conflicts, clients that need help; the pages that show all this."""
        maple = await self.school("maple-ridge", "S.301", "A.30")
        await self.school("elk-valley", "S.302", "A.30", agreed=False)
        for number in (2, 3):
            maple.edit("Staff", f"301-{number}", given=f"Other{number}")
            await maple.say("Staff", f"301-{number}", firstName=f"Another{number}")
        maple.edit("Student", "301-4", given="Leonie")
        await maple.merge()
        connection = await self.core.connect()
        behind, lost = await self.client("A.30"), await self.client("S.401")
        await available(behind, "Staff")
        await available(behind, "Student", 0, versionHash="0" * 32)
        await available(lost, "School")
        await maple.say("Staff", "301-1", firstName="Adele")
        await self.forget_nothing()
        await connection.execute(
            "update client_stream set asked_at = now() - interval '3 hours' where notification_type = 'School'"
        )
        name = await connection.fetchval("select name from client where name like 'A.30%'")
        run, held = [
            await connection.fetchval("select id from homeroom_merge.run where status = $1 limit 1", status)
            for status in ("finishedWithIssues", "held")
        ]
        record = await connection.fetchval("select record from homeroom_merge.conflict order by record limit 1")
        feed = "/console/merges/maple-ridge"
        return [
            *("/console/now", "/console/clients", f"/console/clients/{quote(name)}"),
            *("/console/records", "/console/records?q=301-1", "/console/records/Staff/301-1", "/console/records?q=x"),
            *("/console/merges", feed, f"{feed}/runs/{run}", f"/console/merges/elk-valley/runs/{held}", f"{feed}/run"),
            *(
                f"{feed}/jobs",
                f"{feed}/conflicts?by=field",
                f"{feed}/conflicts",
                f"{feed}/conflicts/{record}?field=/firstName",
            ),
            *(f"{feed}/health", f"{feed}/settings", f"{feed}/settings/edit"),
            *("/console/merges/compare?a=maple-ridge&b=elk-valley", "/console/nowhere"),
        ]

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """A process that does what people ask for."""
        with (self.folder / "worker.log").open("ab") as log:
            async with await anyio.open_process(
                [COMMAND, "worker"], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=log
            ) as process:
                try:
                    yield
                finally:
                    process.terminate()
                    with anyio.fail_after(30, shield=True):
                        await process.wait()


@asynccontextmanager
async def opened_stage(database_url: str, folder: Path) -> AsyncIterator[Stage]:
    """A node on a socket, and people who may sign in to its console."""
    async with AsyncExitStack() as stack:
        settings = Settings(read_connections_max=4, write_connections_max=3, catalogue="roster")
        core = await stack.enter_async_context(open_core(database_url, settings))
        connection = await core.connect()
        await operations.load_organizations(connection, ORGANIZATIONS)
        for name, (role, codes) in PEOPLE.items():
            await people.create(connection, name, role, codes, PASSWORD)
        await stack.enter_async_context(core.served())
        environment = {
            **os.environ,
            "HOMEROOM_MERGE_DATABASE_URL": database_url,
            "HOMEROOM_MERGE_DATA_DIR": str(folder / "merges"),
            "HOMEROOM_MERGE_SANDBOX_USERS": "none",  # folders of tests are closed to other users
            "NO_PASSWORD": "",
        }
        yield Stage(core, folder, environment)
