"""Applying schema.sql."""

from importlib import resources

import asyncpg
from procrastinate.schema import SchemaManager

SCHEMA_VERSION = 1
QUEUE_SCHEMA = "homeroom_merge_queue"
_SCHEMA_LOCK = 47


class OtherSchemaError(Exception):
    """The state was made by another version of the pipeline."""


async def apply(connection: asyncpg.Connection) -> None:
    """Make the state's tables if they are not there; OtherSchemaError."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
        if await connection.fetchval("select to_regclass('homeroom_merge.state')") is None:
            text = resources.files("homeroom_merge").joinpath("schema.sql").read_text(encoding="utf-8")
            await connection.execute(text)
            await connection.execute("insert into homeroom_merge.state (schema_version) values ($1)", SCHEMA_VERSION)
        found = await connection.fetchval("select schema_version from homeroom_merge.state")
        if found != SCHEMA_VERSION:
            raise OtherSchemaError(f"the merge state has schema {found}, this version works on {SCHEMA_VERSION}")


async def apply_queue(connection: asyncpg.Connection) -> None:
    """Make the queue's tables, in a schema of their own beside the state, and bring them to procrastinate's version.

    The schema's comment names the last migration that they have.
    """
    folder = resources.files("procrastinate.sql").joinpath("migrations")
    migrations = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
        at = await connection.fetchval(
            "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1", QUEUE_SCHEMA
        )
        if at == migrations[-1]:
            return
        await connection.execute("create schema if not exists homeroom_merge_queue")
        await connection.execute("set local search_path = homeroom_merge_queue")
        if at is None:
            await connection.execute(SchemaManager.get_schema())
        else:
            for name in migrations:
                if name > at:
                    await connection.execute(folder.joinpath(name).read_text(encoding="utf-8"))
        # A comment takes no parameter.
        said = await connection.fetchval("select quote_literal($1::text)", migrations[-1])
        await connection.execute(f"comment on schema homeroom_merge_queue is {said}")
