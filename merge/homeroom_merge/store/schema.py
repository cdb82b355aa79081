"""Applying schema.sql, and the migrations that lead to it."""

from importlib import resources

from homeroom_merge.refusal import RefusedError
from homeroom_merge.store import migrations
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.migrations import Migrated, Step, Tell

SCHEMA_VERSION = 3
WORKS_FROM = 3
"""Pipelines of this version and up can work on the schema."""
SCHEMA_LOCK = 47
_PACKAGE = "homeroom_merge"


class OtherSchemaError(RefusedError):
    """The state was made by another version of the pipeline."""


async def is_there(connection: Conn) -> bool:
    """Whether this database has a merge state."""
    return await connection.fetchval("select to_regclass('homeroom_merge.state')") is not None


async def apply(connection: Conn) -> None:
    """Make the state's tables if they are not there; OtherSchemaError if others are."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        if await is_there(connection):
            await _check(connection)
        else:
            text = resources.files(_PACKAGE).joinpath("schema.sql").read_text(encoding="utf-8")
            await connection.execute(text)
            await connection.execute(
                "insert into homeroom_merge.state (schema_version, works_from) values ($1, $2)",
                SCHEMA_VERSION,
                WORKS_FROM,
            )


async def pending(connection: Conn) -> list[Step]:
    """What a migration of a state that is there would do. The connection's tables are the state's."""
    return migrations.steps_from(_PACKAGE, await read_version(connection))


async def migrate(connection: Conn, tell: Tell) -> Migrated | None:
    """Bring a state to this version, if there is one. The connection's tables are the state's. MigrationError."""
    async with migrations.alone(connection, tell):
        if not await is_there(connection):
            return None
        before = await read_version(connection)
        steps = await pending(connection)
        await migrations.run(connection, steps, tell)
        return Migrated(before, max(before, SCHEMA_VERSION), [step.name for step in steps])


async def read_version(connection: Conn) -> int:
    """Of a state that is there. Before 2 none had a number: then the newest that it has all of."""
    return int(
        await connection.fetchval(
            """
            select case when schema_version > 1 then schema_version
                        when to_regclass('homeroom_merge.work') is not null then 2
                        else 1 end
            from homeroom_merge.state
            """
        )
    )


async def _check(connection: Conn) -> None:
    """OtherSchemaError if this version cannot work on the state."""
    found = await read_version(connection)
    if found < SCHEMA_VERSION:
        raise OtherSchemaError(
            f"the merge state has schema {found}, and this version works on {SCHEMA_VERSION}:"
            " run 'homeroom-merge migrate'"
        )
    if found > SCHEMA_VERSION:
        works_from = await connection.fetchval("select works_from from homeroom_merge.state")
        if works_from > SCHEMA_VERSION:
            raise OtherSchemaError(
                f"the merge state has schema {found}, which needs a homeroom-merge of schema {works_from} or newer, and"
                f" this one is of {SCHEMA_VERSION}: install a newer one"
            )
