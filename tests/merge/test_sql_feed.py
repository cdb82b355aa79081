"""A SIS's database from settings alone: `homeroom-merge` and a mapping file between a Core and a database."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
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
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.sources.choosing import source_of
from homeroom_merge.sources.source import SourceError
from homeroom_merge.values import Json
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import open_core
from tests.merge.test_formatter_command import install
from tests.merge.test_merge_command import ORGANIZATIONS_OF_THE_CORE, Prompt, reports

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
preferredFirstName = "Called"
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
    sa.Column("Called", sa.String(40), nullable=False, server_default=""),
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
def sis(request: pytest.FixtureRequest, folder: Path) -> Iterator[Sis]:
    url = f"sqlite:///{folder / 'sis.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("database_of_test").replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(url)
    TEACHERS.metadata.create_all(engine)
    folder.chmod(0o777)  # for the users that runs have to themselves
    if engine.dialect.name == "sqlite":
        (folder / "sis.sqlite").chmod(0o666)
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

    administrator: Prompt
    hub: Hub
    mapping: Path
    toml: Path
    apart: bool = False

    async def do(self, command: str, exit_code: int = 0) -> str:
        do = self.administrator.do_apart if self.apart else self.administrator.do
        return await do(*command.split(), "--feed", "elk", exit_code=exit_code)

    async def merge(self) -> None:
        """A run, of which every change was carried out."""
        said = reports(await self.do("run --json"))
        left = await self.ask("select detail from homeroom_merge.planned where outcome not in ('done', 'planned')")
        assert (said, left) == ({"Staff": "success"}, [])

    async def ask(self, statement: str) -> list[str]:
        """Of the pipeline's own state."""
        connection = await asyncpg.connect(self.administrator.environment["HOMEROOM_MERGE_DATABASE_URL"])
        found = await connection.fetch(statement)
        await connection.close()
        return [row[0] for row in found]

    async def age(self) -> None:
        """The last complete fetch was yesterday."""
        await self.ask("update homeroom_merge.subject set sis_whole_at = sis_whole_at - interval '21 hours'")


@pytest.fixture
async def feed(folder: Path, database_of_test: str, settings: Settings, sis: Sis) -> AsyncIterator[Feed]:
    mapping, toml = folder / "mapping.toml", folder / "elk.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        key = await core.key("O.1")
        environment = {**os.environ, "HOMEROOM_KEY": key, "COLUMNS": "400", "SIS_PASSWORD": ""}
        if sis.engine.dialect.name == "postgresql":  # its socket is closed to users that runs have to themselves
            environment["HOMEROOM_MERGE_SANDBOX_USERS"] = "none"
        administrator = Prompt(folder, {**environment, "HOMEROOM_MERGE_DATABASE_URL": database_of_test})
        said = as_toml("sql", "elk", "A.9", ["S.91"], ["Staff"])
        async with core.served(), Client(core.base_url, key, "A.9") as client:
            said = said.replace("https://core.example.org", core.base_url)
            said = said.replace("# organizations = []", 'organizations = ["A.9"]').replace(
                "# absences = 2", "absences = 1"
            )
            said = said.replace("postgresql+psycopg://reader@sis.example/sis", sis.url)
            toml.write_text(said.replace('# on_delete = "ignore"', 'on_delete = "delete"'))
            yield Feed(administrator, Hub(client), mapping, toml)


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
    changed = {
        "Called": "",
        "Family": "Wolf",
        "Second": "Ö",
        "Born": date(1981, 1, 1),
        "Years": 2.25,
        "Qualified": None,
    }
    assert {**rows[1], "Sex": "F"} == {"No": 1, **ADA, **changed, "Locker": "17"}
    eve = {name: value for name, value in ada.items() if name != "yearsOfTeaching"}
    assert bodies["2"] == {**eve, "firstName": "Eve", "isHighlyQualified": False}
    assert (rows[4]["Given"], rows[4]["Born"], str(rows[4]["Sex"]).strip()) == ("Új", date(1990, 12, 31), "M")
    await feed.merge()
    assert (sis.rows(), await feed.hub.bodies()) == (rows, bodies), "a run right after writes nothing"

    sis.do(sa.delete(TEACHERS).where(TEACHERS.c["No"] == 3))
    sis.edit(4, Given="Changed")
    await feed.merge()
    assert "3" in await feed.hub.bodies(), "a delta says nothing of deletes"
    assert (await feed.hub.bodies())["new"]["firstName"] == "Changed"
    await feed.age()
    await feed.merge()
    assert set(await feed.hub.bodies()) == {"1", "2", "new"}


OWN = """\
from homeroom_merge.formatters import Reading

COLUMNS = {"firstName": "Given", "lastName": "Family", "preferredFirstName": "Called", "middleName": "Second"}


class Teachers:
    entity, fields = "Staff", frozenset(COLUMNS)

    def read(self, row):
        body = {name: str(row[title]).strip() for name, title in COLUMNS.items() if row.get(title)}
        return Reading(str(row["No"]), body, self.fields, school="S.91")

    def write(self, key, body, row):
        kept = {title: cell for title, cell in (row or {}).items() if title not in COLUMNS.values()}
        return {**kept, **{title: body[name] for name, title in COLUMNS.items() if name in body}}


def formatters():
    return {"Staff": Teachers()}
"""


@pytest.mark.parametrize("formatter", ["mapping", "elk"])
@pytest.mark.timeout(240)
async def test_what_the_hub_clears_is_cleared_in_the_database(feed: Feed, sis: Sis, formatter: str) -> None:
    if formatter == "elk":
        install(feed.mapping.parent, "elk_sis", OWN)
        path = os.pathsep.join((str(feed.mapping.parent), os.environ.get("PYTHONPATH", "")))
        feed.administrator.environment["PYTHONPATH"] = path
        feed.apart = True
    feed.toml.write_text(feed.toml.read_text().replace('formatter = "mapping"', f'formatter = "{formatter}"'))
    sis.do(sa.insert(TEACHERS).values([{**ADA, "Second": "Ö", "Called": "Addie", "Locker": "17"}]))
    await feed.administrator.do("settings", "push", "elk.toml")
    await feed.do("run --json", HELD)
    await feed.do("approve --by me --json")
    assert (await feed.hub.bodies())["1"]["preferredFirstName"] == "Addie"
    await feed.hub.say("1", middleName=None, preferredFirstName=None)
    await feed.merge()
    row = sis.rows()[1]
    assert (row["Second"], row["Called"], row["Born"], row["Locker"]) == (None, "", date(1980, 2, 29), "17")
    await feed.merge()
    assert sis.rows()[1] == row


@pytest.mark.timeout(240)
async def test_what_is_wrong_with_a_database_is_said_with_what_to_do(feed: Feed, sis: Sis) -> None:
    feed.mapping.write_text(MAPPING.replace('"Teachers"', '"Teacher"'), encoding="utf-8")
    await feed.administrator.do("settings", "push", "elk.toml")
    assert "the database has no table Teacher; did you mean Teachers?" in await feed.do("run", 1)
    feed.mapping.write_text(MAPPING.replace("table =", "file ="))
    assert "line 1, Staff: neither a table nor a query is named" in await feed.do("run", 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+nodriver://me@127.0.0.1/sis", "knows no postgresql+nodriver to reach a database by; install"),
        ("mysql+pymysql://me@127.0.0.1/sis", "not installed, pymysql; install the package that brings it"),
        ("sis", "is none that SQLAlchemy knows; write url ="),
    ],
)
def test_a_url_that_leads_nowhere_is_said_with_what_to_do(url: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    toml = as_toml("sql", "elk", "A.9", ["S.91"], ["Staff"]).replace("mapping.toml", str(tmp_path / "mapping.toml"))
    settings = read_settings(toml)
    connector = replace(settings.connector, options={**settings.connector.options, "url": url})
    with pytest.raises(SourceError, match=re.escape(said)):
        source_of(replace(settings, connector=connector), {"sis_password": "hunter2"})


@pytest.mark.parametrize("sis", ["sqlite"], indirect=True)
@pytest.mark.timeout(240)
async def test_the_password_is_a_secret_and_is_never_said(feed: Feed, sis: Sis) -> None:
    """Of a server that says the password back."""
    given: list[str] = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, lambda stream: _ask_for_password(stream, given))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        url = f"postgresql+psycopg://me@127.0.0.1:{port}/sis?sslmode=disable"
        feed.toml.write_text(feed.toml.read_text().replace(sis.url, url))
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
