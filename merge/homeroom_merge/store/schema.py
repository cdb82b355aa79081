"""Applying schema.sql."""

from importlib import resources

import asyncpg

from homeroom_merge.refusal import RefusedError

SCHEMA_VERSION = 1
SCHEMA_LOCK = 47


class OtherSchemaError(RefusedError):
    """The state was made by another version of the pipeline."""


async def apply(connection: asyncpg.Connection) -> None:
    """Make the state's tables if they are not there; OtherSchemaError."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        if await connection.fetchval("select to_regclass('homeroom_merge.state')") is None:
            text = resources.files("homeroom_merge").joinpath("schema.sql").read_text(encoding="utf-8")
            await connection.execute(text)
            await connection.execute("insert into homeroom_merge.state (schema_version) values ($1)", SCHEMA_VERSION)
        found = await connection.fetchval("select schema_version from homeroom_merge.state")
        if found != SCHEMA_VERSION:
            raise OtherSchemaError(f"the merge state has schema {found}, this version works on {SCHEMA_VERSION}")
