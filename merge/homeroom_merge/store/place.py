"""Where the state is: a PostgreSQL by URL, or one embedded in a directory."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg

from homeroom_merge.embedded import server_in
from homeroom_merge.store import queue_schema, schema
from homeroom_merge.store.connection import Conn, connect
from homeroom_merge.store.migrations import Migrated, Tell

_OTHERS = """
copy (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) to stdout
"""


@contextmanager
def database(database_url: str, data_dir: Path, tell: Tell | None) -> Iterator[str]:
    """The URL of a running PostgreSQL: the one that was named, or the directory's own, stopped by the last to leave.

    The state in the directory's own is brought to this version, of which `tell` is told; None: it is left alone.
    MigrationError.
    """
    if database_url:
        yield database_url
        return
    server = server_in(data_dir.expanduser().resolve() / "postgres")
    server.ensure_pgdata_inited()
    server.start()
    try:
        if tell is not None:
            asyncio.run(migrated(server.get_uri(), tell))
        yield server.get_uri()
    finally:
        with suppress(subprocess.CalledProcessError):  # it is gone already
            if server.psql(_OTHERS).strip() == "0":
                server.stop()


async def migrated(database_url: str, tell: Tell) -> Migrated | None:
    """The state brought to this version, if there is one. MigrationError."""
    connection = await connect(database_url)
    try:
        return await schema.migrate(connection, tell)
    finally:
        await connection.close(timeout=5)


async def completed(connection: Conn) -> bool:
    """Whether the state's tables are there, beside which the queue's are made if need be. OtherSchemaError."""
    if not await schema.is_there(connection):
        return False
    await schema.apply(connection)
    await queue_schema.apply(connection)
    return True


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the state, made if need be."""
    connection = await connect(database_url)
    try:
        await schema.apply(connection)
        yield connection
    finally:
        await connection.close()
