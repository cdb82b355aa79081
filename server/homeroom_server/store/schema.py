"""Applying schema.sql."""

import secrets
from pathlib import Path

import asyncpg

from homeroom_server.store.history import read_server

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
            server = await read_server(connection)
            await connection.execute(
                """
                with begun as (
                    insert into history (reason, begun_above, kept) values ('made', 0, '{}') returning epoch
                )
                insert into core (schema_version, epoch, system_identifier, timeline, key_secret, erasure_secret)
                select $1, epoch, $2, $3, $4, $5 from begun
                """,
                SCHEMA_VERSION,
                server.system_identifier,
                server.timeline,
                secrets.token_bytes(32),
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
