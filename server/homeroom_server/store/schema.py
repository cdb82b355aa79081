"""Applying schema.sql, and the migrations that lead to it."""

import secrets
from pathlib import Path

import asyncpg

from homeroom_merge.store import migrations
from homeroom_merge.store.migrations import Migrated, MigrationError, Step, Tell
from homeroom_server.store.connection import Conn
from homeroom_server.store.history import read_server

SCHEMA_VERSION = 5
WORKS_FROM = 4
"""Nodes of this version and up can work on the schema."""
_SCHEMA_FILE = Path(__file__).parent.parent / "schema.sql"
_SCHEMA_LOCK = 3
_PACKAGE = "homeroom_server"


class OtherSchemaError(Exception):
    """The database holds the schema of another version, on which this one cannot work."""


async def apply(connection: asyncpg.Connection) -> bool:
    """Create the schema if there is none; whether it was created. Raises OtherSchemaError."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1, 0)", _SCHEMA_LOCK)
        if await is_there(connection):
            await check(connection)
            return False
        await connection.execute(_SCHEMA_FILE.read_text(encoding="utf-8"))
        server = await read_server(connection)
        await connection.execute(
            """
            with begun as (
                insert into history (reason, begun_above, kept) values ('made', 0, '{}') returning epoch
            )
            insert into core (schema_version, works_from, epoch, system_identifier, timeline, key_secret,
                              erasure_secret)
            select $1, $2, epoch, $3, $4, $5, $6 from begun
            """,
            SCHEMA_VERSION,
            WORKS_FROM,
            server.system_identifier,
            server.timeline,
            secrets.token_bytes(32),
            secrets.token_bytes(32),
        )
        return True


async def is_there(connection: Conn) -> bool:
    """Whether this database is a Core's."""
    return await connection.fetchval("select to_regclass('core')") is not None


async def check(connection: Conn) -> None:
    """Raises OtherSchemaError if this version cannot work on the schema that is there."""
    found = await read_version(connection)
    if found < SCHEMA_VERSION:
        raise OtherSchemaError(
            f"the database has schema {found}, and this version of homeroom works on {SCHEMA_VERSION}:"
            " run 'homeroom migrate'"
        )
    if found > SCHEMA_VERSION and (needed := await read_works_from(connection)) > SCHEMA_VERSION:
        raise OtherSchemaError(
            f"the database has schema {found}, which needs a homeroom of schema {needed} or newer, and this one is of"
            f" {SCHEMA_VERSION}: use a newer homeroom"
        )


async def pending(connection: Conn) -> list[Step]:
    """What a migration of a schema that is there would do."""
    return migrations.steps_from(_PACKAGE, await read_version(connection))


async def migrate(connection: asyncpg.Connection, tell: Tell) -> Migrated:
    """Bring the database to this version's schema; what is newer is left alone. MigrationError, OtherSchemaError."""
    async with migrations.alone(connection, tell):
        if not await is_there(connection) and await apply(connection):
            return Migrated(None, SCHEMA_VERSION, [])
        before = await read_version(connection)
        steps = await pending(connection)
        if steps and (nodes := await _nodes_that_cannot_go_on(connection, before)):
            raise MigrationError(
                f"nodes run on this database that cannot work on schema {SCHEMA_VERSION} ({nodes}): end them first; one"
                " that died counts for 15 seconds"
            )
        await migrations.run(connection, steps, tell)
        await check(connection)
        return Migrated(before, await read_version(connection), [step.name for step in steps])


async def read_version(connection: Conn) -> int:
    """Of a schema that is there. Before 5 all said 1, whatever they were: then the newest that it has all of."""
    return int(
        await connection.fetchval(
            """
            select case when schema_version > 1 then schema_version
                        when to_regclass('student_key') is not null then 4
                        when to_regclass('audit_event') is not null then 3
                        when to_regclass('history') is not null then 2
                        else 1 end
            from core
            """
        )
    )


async def read_works_from(connection: Conn) -> int:
    """The lowest version of nodes that can work on a schema that is there, which has a number."""
    return int(await connection.fetchval("select works_from from core"))


async def _nodes_that_cannot_go_on(connection: Conn, version: int) -> str | None:
    """Their names. Nodes that do not say of which schema they are, are of the one that is there."""
    if await connection.fetchval("select to_regclass('node') is null"):
        return None  # and none of them says that it runs
    found = await connection.fetchval(
        """
        select string_agg(name, ', ' order by name) from node n
        where heard_at > now() - interval '15 seconds'
          and coalesce((to_jsonb(n) ->> 'schema_version')::int, $1) < $2
        """,
        version,
        WORKS_FROM,
    )
    return None if found is None else str(found)
