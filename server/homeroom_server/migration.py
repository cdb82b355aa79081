"""A database brought to this version's schema: the Core's, and that of merges where they keep their state beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from homeroom_merge.store import schema as merge_schema
from homeroom_merge.store.connection import connect
from homeroom_merge.store.migrations import Migrated, MigrationError, Step, Tell
from homeroom_server.database import DatabaseError, connect_to_primary
from homeroom_server.primary import Primary
from homeroom_server.store import schema
from homeroom_server.store.connection import FAILURES


class Brought(NamedTuple):
    """What became of each; `merges` None: there are none."""

    core: Migrated
    merges: Migrated | None

    @property
    def steps(self) -> list[str]:
        return [*self.core.steps, *(self.merges.steps if self.merges else ())]


async def migrate(database_url: str, tell: Tell) -> Brought:
    """Bring the primary's database up, whether or not nodes run. DatabaseError; what was done by then stays."""
    return await bring_up(await _checked(database_url), tell)


async def pending(database_url: str) -> list[Step] | None:
    """What `migrate` would do; None: there is no schema yet. DatabaseError, also where this version is too old."""
    url = await _checked(database_url)
    async with _speaking(url) as connection:
        if not await schema.is_there(connection):
            return None
        steps = await schema.pending(connection)
        if not steps:
            await schema.check(connection)
    async with _speaking(url, merges=True) as connection:
        if await merge_schema.is_there(connection):
            steps += await merge_schema.pending(connection)
    return steps


async def bring_up(url: str, tell: Tell) -> Brought:
    """The same of one server's database, whatever else is true of it. DatabaseError."""
    async with _speaking(url) as connection:
        core = await schema.migrate(connection, tell)
    async with _speaking(url, merges=True) as connection:
        return Brought(core, await merge_schema.migrate(connection, tell))


async def _checked(database_url: str) -> str:
    """The URL of the primary alone, on which a node might start but for the schema. DatabaseError."""
    await (await connect_to_primary(database_url)).close()
    try:
        return await Primary(database_url).find()
    except OSError as failure:
        raise DatabaseError(f"the database cannot be reached: {failure}") from failure


@asynccontextmanager
async def _speaking(url: str, *, merges: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """For one piece of work; `merges`: its tables are theirs."""
    try:
        if merges:
            connection = await connect(url)
        else:
            connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "homeroom"})
        try:
            yield connection
        finally:
            await connection.close(timeout=5)
    except (MigrationError, schema.OtherSchemaError) as refused:
        raise DatabaseError(str(refused)) from refused
    except FAILURES as failure:
        raise DatabaseError(f"the database cannot be used: {failure}") from failure
