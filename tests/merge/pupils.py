"""A small SIS of pupils: rows of a few columns, their formatter, and a Core to keep in step with them."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from homeroom import Client
from homeroom_merge.connectors.connector import Connector
from homeroom_merge.connectors.hub import Hub
from homeroom_merge.connectors.sql_tables import SqlTable
from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.group import Group
from homeroom_merge.pacing import Pacing
from homeroom_merge.records import Fault
from homeroom_merge.rules import Rules
from homeroom_merge.run import Course
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.terms import Terms
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.feeds import IN_MEMORY, opened_state

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORGANIZATIONS = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\nS.92,Heron,A.9\n"
COLUMNS = {"first": "firstName", "middle": "middleName", "last": "lastName", "user": "username"}
NAME_MAX = 12
"""Longer names are cut by this SIS."""
AT_ONCE = Pacing(first_seconds=0.001, pause_seconds_max=0.002)
MAKE = f"""
    create table "pupil" ("id" text primary key, "first" text, "middle" text, "last" text, "user" text, "phones" text,
                          "school" text, "locker" text, "changed" integer not null default 0);
    create table writes (id text not null);
    create trigger made after insert on pupil begin insert into writes values (new.id); end;
    create trigger moved after update on pupil begin insert into writes values (new.id); end;
    create trigger gone after delete on pupil begin insert into writes values (old.id); end;
    -- {NAME_MAX} characters: what the formatter knows
"""
TABLE = SqlTable("pupil", "id")


class Pupils:
    """Between rows of pupils and students (or staff); `locker` is the SIS's own."""

    def __init__(self, entity: str = "Student", prefix: str = "") -> None:
        self.entity = entity
        self.prefix = prefix
        self.fields = frozenset({*COLUMNS.values(), "phones"})

    def read(self, row: Row) -> Reading:
        """Empty cells clear."""
        body: Json = {name: row[column] for column, name in COLUMNS.items() if row.get(column) is not None}
        faults: tuple[Fault, ...] = ()
        try:
            phones = json.loads(str(row.get("phones") or "null"))
        except ValueError:
            phones, faults = None, (Fault("/phones", "it is no list"),)
        body |= {} if phones is None else {"phones": phones}
        school = row.get("school")
        at = row.get("at")
        return Reading(
            str(row.get("id") or ""),
            body,
            self.fields,
            str(school) if school else None,
            faults=faults,
            changed_at=at if isinstance(at, datetime) else None,
        )

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        """The row with what the hub says; pupils with the prefix are of Raven, others of Heron."""
        cells = {column: _cut(body.get(name)) for column, name in COLUMNS.items()}
        phones = json.dumps(body["phones"]) if "phones" in body else None
        stood = {"id": key, "school": "S.91" if key.startswith(self.prefix) else "S.92"} if row is None else row
        return {**stood, **cells, "phones": phones}


def _cut(value: object) -> object:
    return value[:NAME_MAX] if isinstance(value, str) else value


def pupil(first: str = "Ada", last: str = "Bear", **more: object) -> Json:
    return {"firstName": first, "lastName": last, **more}


async def feed_of(
    client: Client,
    own: asyncpg.Connection,
    sis: Connector,
    formatter: Pupils,
    rules: Rules | None = None,
    change: Callable[[Terms], Terms] = lambda terms: terms,
    feed: str = "raven",
) -> Group:
    """A feed of one entity that speaks for one school."""
    entity = formatter.entity
    catalogue = (await client.notification_types()).notification_types
    (said,) = [each for each in catalogue if each["name"] == entity]
    schema = said["schema"]
    types: dict[int | None, str] = {None: entity}
    told = (rules or Rules(entity),)
    of_hub = types, frozenset({"S.91"}), ("A.9",), Shape.of(schema)
    terms = Terms(feed, entity, *of_hub, *told, backups=IN_MEMORY, student=said.get("student"), feeds_before_delete=1)
    verifiers = Verifier(schema), Verifier(schema, formatter.fields)
    sides = Sides({"A.9": Hub(client)}, LocalSis(sis, formatter), *verifiers, pacing=AT_ONCE)
    return Group(own, {entity: change(terms)}, {entity: sides})


@dataclass
class School:
    """A Core and a SIS, and what people do in either."""

    core: Core
    client: Client
    own: asyncpg.Connection
    sis: Connector
    entity: str = "Student"
    change: Callable[[Terms], Terms] = lambda terms: terms
    prefix: str = ""

    async def group(self, rules: Rules | None = None) -> Group:
        """The feed, with rules of the test's."""
        formatter = Pupils(self.entity, self.prefix)
        return await feed_of(self.client, self.own, self.sis, formatter, rules, self.change)

    async def merge(self, rules: Rules | None = None) -> Course:
        """One run; what is held is approved."""
        group = await self.group(rules)
        (course,) = await group.run(NOW)
        if course.status == "held":
            (course,) = await group.approve([course.run], NOW, "tests")
        return course

    async def outcomes(self, course: Course) -> dict[str, tuple[str, str]]:
        """What became of each change of a run, by hub id."""
        rows = await self.own.fetch(
            "select r.hub_id, p.outcome, p.detail from planned p join record r on r.number = p.record where p.run = $1",
            course.run,
        )
        return {row["hub_id"]: (row["outcome"], row["detail"]) for row in rows}

    async def say(self, key: str, body: Json | None, version: int | None = None) -> None:
        """Somebody edits a record on the hub, makes one, or deletes one (None)."""
        if version is None:
            (found,) = (await self.client.get(self.entity, [{"id": key}])).records
            version = found.get("coreVersion", 0)
        said = {"deleted": True} if body is None else {"body": body}
        record = {"id": key, "expectedVersion": version, "deleted": False, **said}
        (result,) = (await self.client.submit(self.entity, [record], uuid4())).results
        assert not result["rejections"], result

    async def hub(self) -> dict[str, Json]:
        """The bodies that the hub has."""
        return {line["id"]: line["body"] async for line in self.client.snapshot(self.entity) if "id" in line}


@asynccontextmanager
async def opened_school(url: str, settings: Settings, sis: Connector, entity: str = "Student") -> AsyncIterator[School]:
    """A Core with the roster catalogue, and this SIS."""
    connection = await asyncpg.connect(url)
    await operations.load_organizations(connection, ORGANIZATIONS)
    await connection.close()
    async with open_core(url, replace(settings, catalogue="roster")) as core:
        key = await core.key("A.9")
        async with opened_state(url) as own, core.client_with(key, "A.9") as client:
            yield School(core, client, own, sis, entity)


class File:
    """The SQLite file of a SIS, as its own people use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as file:
            file.executescript(MAKE)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def put(self, key: str, **cells: object) -> None:
        """Somebody edits a row, or makes one."""
        with closing(sqlite3.connect(self.path)) as file, file:
            file.execute("insert into pupil (id, school) values (?, 'S.91') on conflict do nothing", (key,))
            for column, value in cells.items():
                file.execute(f'update pupil set "{column}" = ? where id = ?', (value, key))
            file.execute("update pupil set changed = (select max(changed) + 1 from pupil) where id = ?", (key,))

    def remove(self, key: str) -> None:
        with closing(sqlite3.connect(self.path)) as file, file:
            file.execute("delete from pupil where id = ?", (key,))

    def rows(self) -> Mapping[str, Row]:
        """All of them, by key."""
        with closing(sqlite3.connect(self.path)) as file:
            file.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in file.execute("select * from pupil")}

    def bodies(self) -> dict[str, Json]:
        """All of them, as the formatter reads them."""
        return {key: Pupils().read(row).body for key, row in self.rows().items()}

    def writes(self) -> list[str]:
        """The keys of the rows written since the last time."""
        with closing(sqlite3.connect(self.path)) as file, file:
            found = [key for (key,) in file.execute("select id from writes order by rowid")]
            file.execute("delete from writes")
            return found
