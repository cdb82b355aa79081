"""Applying schema.sql."""

import secrets
from pathlib import Path

import asyncpg

SCHEMA_VERSION = 1
_SCHEMA_FILE = Path(__file__).parent.parent / "schema.sql"
_SCHEMA_LOCK = 3


class OtherSchemaError(Exception):
    """The database holds the schema of another version."""


async def apply(connection: asyncpg.Connection) -> bool:
    """Create the schema if there is none; whether it was created. Raises OtherSchemaError."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1, 0)", _SCHEMA_LOCK)
        if await connection.fetchval("select to_regclass('core')") is None:
            await connection.execute(_SCHEMA_FILE.read_text(encoding="utf-8"))
            await connection.execute(
                "insert into core (schema_version, key_secret) values ($1, $2)",
                SCHEMA_VERSION,
                secrets.token_bytes(32),
            )
            return True
        found = await connection.fetchval("select schema_version from core")
        if found != SCHEMA_VERSION:
            raise OtherSchemaError(
                f"the database has schema {found}, this version of homeroom works on {SCHEMA_VERSION}: "
                + ("run 'homeroom migrate'" if found < SCHEMA_VERSION else "use a newer homeroom")
            )
        return False
