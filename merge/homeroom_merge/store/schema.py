"""Applying schema.sql."""

from importlib import resources

from homeroom_merge.refusal import RefusedError
from homeroom_merge.store.connection import Conn

SCHEMA_VERSION = 1
SCHEMA_LOCK = 47


class OtherSchemaError(RefusedError):
    """The state was made by another version of the pipeline."""


async def is_there(connection: Conn) -> bool:
    """Whether this database has a merge state."""
    return await connection.fetchval("select to_regclass('homeroom_merge.state')") is not None


async def apply(connection: Conn) -> None:
    """Make the state's tables if they are not there; OtherSchemaError."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        if not await is_there(connection):
            text = resources.files("homeroom_merge").joinpath("schema.sql").read_text(encoding="utf-8")
            await connection.execute(text)
            await connection.execute("insert into homeroom_merge.state (schema_version) values ($1)", SCHEMA_VERSION)
        found = await connection.fetchval("select schema_version from homeroom_merge.state")
        if found != SCHEMA_VERSION:
            raise OtherSchemaError(f"the merge state has schema {found}, this version works on {SCHEMA_VERSION}")
