"""The tables of the queue, which are procrastinate's, beside those of the state."""

from importlib import resources

from procrastinate.schema import SchemaManager

from homeroom_merge.store.connection import Conn
from homeroom_merge.store.schema import SCHEMA_LOCK

QUEUE_SCHEMA = "homeroom_merge_queue"


async def apply(connection: Conn) -> None:
    """Make the queue's tables, in a schema of their own beside the state, and bring them to procrastinate's version.

    The schema's comment names the last migration that they have.
    """
    folder = resources.files("procrastinate.sql").joinpath("migrations")
    migrations = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", SCHEMA_LOCK)
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
