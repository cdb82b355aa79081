"""A SIS's database from settings alone: `homeroom-merge` and a mapping file between a Core and a database."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
import pytest
import sqlalchemy as sa
from anyio.abc import SocketStream

from homeroom import Client
from homeroom_merge.formatters.mapping import MappingFaults, read_mapping
from homeroom_merge.values import Json
from tests.merge.test_merge_command import ORGANIZATIONS_OF_THE_CORE, Administrator, reports
from tests.processes import prepare_node, running_node

MAPPING = """\
[Staff]
table = "Teachers"
key = ["No"]
gives_keys = true
changed = "changed at"
complete = true
school = "S.91"

[Staff.fields]
firstName = "Given"
lastName = "Family"
middleName = {column = "Second", empty = "clear"}
birthDate = {column = "Born", type = "date", empty = "clear"}
yearsOfTeaching = {column = "Years", type = "number", empty = "clear"}
isHighlyQualified = {column = "Qualified", type = "boolean", empty = "clear"}
sex = {column = "Sex", codes = "Sex"}

[codes.Sex]
F = "female"
M = "male"
"""
TEACHERS = sa.Table(
    "Teachers",
    sa.MetaData(),
    sa.Column("No", sa.Integer, primary_key=True),
    sa.Column("Given", sa.String(40)),
    sa.Column("Family", sa.String(40)),
    sa.Column("Second", sa.String(40)),
    sa.Column("Born", sa.Date),
    sa.Column("Years", sa.Numeric(5, 2, asdecimal=False)),
    sa.Column("Qualified", sa.Boolean),
    sa.Column("Sex", sa.CHAR(3)),
    sa.Column("Locker", sa.String(10)),
    sa.Column("changed at", sa.DateTime, server_default=sa.text("current_timestamp")),
)
ADA = {"Given": "Ada", "Family": "Beär'; --", "Born": date(1980, 2, 29), "Years": 1.5, "Qualified": True, "Sex": "F"}
HELD = 3


@dataclass
class Sis:
    """The database of a SIS, as its own people use it."""

    url: str
    engine: sa.Engine

    def do(self, statement: sa.Executable) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)

    def edit(self, number: int, **cells: object) -> None:
        later = {"changed at": sa.func.current_timestamp()}
        self.do(sa.update(TEACHERS).where(TEACHERS.c["No"] == number).values({**cells, **later}))

    def rows(self) -> dict[int, dict[str, object]]:
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(TEACHERS)).mappings()
            return {row["No"]: {name: cell for name, cell in row.items() if name != "changed at"} for row in found}


@pytest.fixture(params=["sqlite", "postgresql"])
def sis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sis]:
    url = f"sqlite:///{tmp_path / 'sis.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("database_of_test").replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(url)
    TEACHERS.metadata.create_all(engine)
    yield Sis(url, engine)
    engine.dispose()


@dataclass
class Hub:
    client: Client

    async def bodies(self) -> dict[str, Json]:
        return {line["id"]: line["body"] async for line in self.client.snapshot("Staff") if "id" in line}

    async def say(self, key: str, **members: object) -> None:
        """Somebody edits a record on the hub, or makes one."""
        (found,) = (await self.client.get("Staff", [{"id": key}])).records
        body = {name: value for name, value in {**found.get("body", {}), **members}.items() if value is not None}
        record = {"id": key, "expectedVersion": found.get("coreVersion", 0), "deleted": False, "body": body}
        (result,) = (await self.client.submit("Staff", [record], uuid4())).results
        assert not result["rejections"], result


@dataclass
class Feed:
    """Its administrator, who has a Core, and a SIS that is known by settings and a mapping file."""

    administrator: Administrator
    hub: Hub
    mapping: Path
    toml: Path

    async def do(self, command: str, exit_code: int = 0) -> str:
        return await self.administrator.do(*command.split(), "--feed", "elk", exit_code=exit_code)

    async def set(self, old: str, new: str) -> None:
        text = self.toml.read_text()
        assert old in text
        self.toml.write_text(text.replace(old, new))
        await self.administrator.do("settings", "push", self.toml.name)

    async def merge(self) -> None:
        assert reports(await self.do("run --json")) == {"Staff": "success"}

    async def age(self) -> None:
        """The last complete fetch was yesterday."""
        place = self.administrator.environment["HOMEROOM_MERGE_DATABASE_URL"]
        connection = await asyncpg.connect(place)
        await connection.execute("update homeroom_merge.subject set sis_whole_at = sis_whole_at - interval '21 hours'")
        await connection.close()


@pytest.fixture
async def feed(folder: Path, state_of_test: str, sis: Sis) -> AsyncIterator[Feed]:
    node = prepare_node(folder, ORGANIZATIONS_OF_THE_CORE, "--catalogue", "roster")
    environment = {**os.environ, "HOMEROOM_KEY": node.key, "COLUMNS": "200", "SIS_PASSWORD": ""}
    administrator = Administrator(folder, {**environment, "HOMEROOM_MERGE_DATABASE_URL": state_of_test})
    mapping, toml = folder / "mapping.toml", folder / "elk.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    async with running_node(node) as running, Client(running.url, node.key, "A.9") as client:
        feed = Feed(administrator, Hub(client), mapping, toml)
        said = await administrator.do(
            *("settings", "start", "sql", "--name", "elk", "--authority", "A.9", "--school", "S.91"),
            *("--entity", "Staff"),
        )
        said = said.replace("https://core.example.org", running.url).replace("# organizations = []", ORGANIZATIONS)
        said = said.replace("postgresql+psycopg://reader@sis.example/sis", sis.url).replace("# absences = 2", ONCE)
        toml.write_text(said.replace('# on_delete = "ignore"', 'on_delete = "delete"'))
        yield feed


ORGANIZATIONS, ONCE = 'organizations = ["A.9"]', "absences = 1"


@pytest.fixture
async def state_of_test(postgres_url: str) -> AsyncIterator[str]:
    """A database for the pipeline's own state."""
    name = f"merge{uuid4().hex}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"create database {name}")
    head, _, query = postgres_url.partition("?")
    yield f"{head.rpartition('/')[0]}/{name}?{query}"
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.mark.timeout(240)
async def test_a_database_and_the_hub_are_kept_in_step_from_settings_alone(feed: Feed, sis: Sis) -> None:
    sis.do(sa.insert(TEACHERS).values([{**ADA, "Given": given, "Locker": "17"} for given in ("Ada", "Eve", "Ida")]))
    await feed.administrator.do("settings", "push", "elk.toml")
    assert reports(await feed.do("plan --json", HELD)) == {"Staff": "held"}
    assert reports(await feed.do("run --json", HELD)) == {"Staff": "held"}
    assert await feed.hub.bodies() == {}
    assert reports(await feed.do("approve --by me --json")) == {"Staff": "success"}
    ada = {"firstName": "Ada", "lastName": "Beär'; --", "birthDate": "1980-02-29", "yearsOfTeaching": 1.5}
    ada |= {"isHighlyQualified": True, "sex": "female"}
    assert await feed.hub.bodies() == {"1": ada, "2": {**ada, "firstName": "Eve"}, "3": {**ada, "firstName": "Ida"}}

    await feed.hub.say("1", birthDate="1981-01-01", yearsOfTeaching=2.25, isHighlyQualified=None, middleName="Ö")
    await feed.hub.say("new", firstName="Új", lastName="Teacher", birthDate="1990-12-31", sex="male")
    sis.edit(1, Family="Wolf")
    sis.edit(2, Years=None, Qualified=False)
    await feed.merge()
    rows, bodies = sis.rows(), await feed.hub.bodies()
    changed = {"Family": "Wolf", "Second": "Ö", "Born": date(1981, 1, 1), "Years": 2.25, "Qualified": None}
    assert {**rows[1], "Sex": "F"} == {"No": 1, **ADA, **changed, "Locker": "17"}
    eve = {name: value for name, value in ada.items() if name != "yearsOfTeaching"}
    assert bodies["2"] == {**eve, "firstName": "Eve", "isHighlyQualified": False}
    assert (rows[4]["Given"], rows[4]["Born"], str(rows[4]["Sex"]).strip()) == ("Új", date(1990, 12, 31), "M")
    await feed.merge()
    assert (sis.rows(), await feed.hub.bodies()) == (rows, bodies), "a run right after writes nothing"


@pytest.mark.timeout(240)
async def test_deltas_see_changes_and_a_complete_feed_once_a_day_sees_deletes(feed: Feed, sis: Sis) -> None:
    sis.do(sa.insert(TEACHERS).values([{**ADA, "Given": f"T{number}"} for number in range(20)]))
    await feed.administrator.do("settings", "push", "elk.toml")
    await feed.do("run", HELD)
    await feed.do("approve --by me")
    sis.do(sa.delete(TEACHERS).where(TEACHERS.c["No"] == 7))
    sis.edit(8, Given="Changed")
    await feed.merge()
    assert len(await feed.hub.bodies()) == 20, "a delta says nothing of deletes"
    assert (await feed.hub.bodies())["8"]["firstName"] == "Changed"
    await feed.age()
    await feed.merge()
    assert "7" not in await feed.hub.bodies()
    await feed.merge()
    assert len(await feed.hub.bodies()) == 19


@pytest.mark.timeout(240)
async def test_what_is_wrong_with_a_database_is_said_with_what_to_do(feed: Feed, sis: Sis) -> None:
    await feed.administrator.do("settings", "push", "elk.toml")

    async def mapped(old: str, new: str) -> str:
        """What the report of a run says with another mapping."""
        feed.mapping.write_text(MAPPING.replace(old, new), encoding="utf-8")
        return await feed.do("run", HELD if "held" in new else 0)

    assert "no table Teacher;" in await mapped('"Teachers"', '"Teacher"')
    assert "did you mean Teachers?" in await mapped('"Teachers"', '"Teacher"')
    assert "no column Nos; did you mean No?" in (await mapped('["No"]', '["Nos"]')).replace("\n", " ")
    feed.mapping.write_text(MAPPING.replace("table =", "file ="))
    assert "line 1, Staff: neither a table nor a query is named" in await feed.do("run", 1)
    feed.mapping.write_text(MAPPING)
    await feed.set(sis.url, "postgresql+nodriver://me@127.0.0.1/sis")
    assert "SQLAlchemy knows no postgresql+nodriver" in await feed.do("run", 1)
    await feed.set("postgresql+nodriver", "postgresql+asyncpgx")
    await feed.set("postgresql+asyncpgx://me", "mysql+pymysql://me")
    assert "pip install pymysql" in await feed.do("run", 1)


@pytest.mark.timeout(240)
async def test_the_password_is_a_secret_and_is_never_said(feed: Feed) -> None:
    """Of a server that says the password back."""
    given: list[str] = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, lambda stream: _ask_for_password(stream, given))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        url = f"postgresql+psycopg://me@127.0.0.1:{port}/sis?sslmode=disable"
        text = feed.toml.read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("url = ") and "core" not in line][-1:]
        feed.toml.write_text(text.replace(line, f'url = "{url}"'))
        await feed.administrator.do("settings", "push", "elk.toml")
        feed.administrator.environment["SIS_PASSWORD"] = "hunter2"
        said = await feed.do("run", 1)
        tasks.cancel_scope.cancel()
    assert given
    assert set(given) == {"hunter2"}
    assert "sis_password" in said
    assert "hunter2" not in said


async def _ask_for_password(stream: SocketStream, given: list[str]) -> None:
    async with stream:
        await stream.receive()
        await stream.send(b"R\0\0\0\x08\0\0\0\x03")
        given.append((await stream.receive())[5:].rstrip(b"\0").decode())
        fields = b"SFATAL\0VFATAL\0C28P01\0Mno " + given[-1].encode() + b" here\0\0"
        await stream.send(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)


def test_a_mapping_for_a_database_says_what_a_database_cannot_do() -> None:
    with pytest.raises(MappingFaults) as told:
        read_mapping(
            """\
[Staff]
query = "select 1 as a, 2 as b"
key = ["a", "b"]
gives_keys = true
[Staff.fields]
firstName = "a"
[Student]
key = ["Id"]
[Student.fields]
firstName = "First"
""",
            sql=True,
        )
    assert [(fault.line, fault.path) for fault in told.value.faults] == [
        (3, "Staff.key"),
        (4, "Staff.gives_keys"),
        (7, "Student"),
    ]
    assert all(fault.cure for fault in told.value.faults)
