"""What a restore does to a database: from empty, through half restored, to one that a node may start on."""

from collections.abc import AsyncIterator

from homeroom_server.store.backup import Table
from homeroom_server.store.connection import Conn

_MARK = "homeroom_restoring"
"""A schema that is there while a restore has not ended. Nobody who looks for a Core uses such a database."""


async def is_half_restored(connection: Conn) -> bool:
    return bool(await connection.fetchval("select to_regnamespace($1) is not null", _MARK))


async def count_relations(connection: Conn) -> int:
    """Tables, views and sequences that somebody made here."""
    return int(
        await connection.fetchval(
            """
            select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and c.relkind <> 'i'
              and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
            """
        )
    )


async def read_nodes(connection: Conn) -> list[str]:
    """Names of the nodes that run on this database."""
    if await connection.fetchval("select to_regclass('node') is null"):
        return []
    rows = await connection.fetch("select name from node where heard_at > now() - interval '15 seconds' order by 1")
    return [row["name"] for row in rows]


async def begin(connection: Conn) -> None:
    """From now on this database is half restored; what an earlier restore left in it is gone."""
    async with connection.transaction():
        if await is_half_restored(connection):
            await connection.execute(
                """
                do $$ declare leftover text; begin
                    for leftover in select nspname from pg_namespace
                                    where nspname not like 'pg\\_%' and nspname <> 'information_schema'
                    loop execute format('drop schema %I cascade', leftover); end loop;
                end $$
                """
            )
            await connection.execute("create schema public")
        await connection.execute("create schema homeroom_restoring")


async def heed_erasures(connection: Conn) -> None:
    """Students who were erased after the backup are looked for by writers, too."""
    await connection.execute(
        "update core set erasures = greatest(erasures, 1) where exists (select from erased_student)"
    )


async def end(connection: Conn) -> None:
    """The last act of a restore, in the transaction that begins the new history."""
    await connection.execute("drop schema homeroom_restoring")


async def has_table(connection: Conn, table: Table) -> bool:
    return bool(
        await connection.fetchval("select to_regclass(format('%I.%I', $1::text, $2::text)) is not null", *table[:2])
    )


async def read_feeds(connection: Conn) -> set[int]:
    """Numbers of the feeds of merges, if they keep their state here."""
    if await connection.fetchval("select to_regclass('homeroom_merge.feed') is null"):
        return set()
    return {row["number"] for row in await connection.fetch("select number from homeroom_merge.feed")}


async def copy_in(connection: Conn, table: Table, pieces: AsyncIterator[bytes]) -> int:
    """Rows as COPY's text, in pieces that end anywhere; how many there were."""
    done = await connection.copy_to_table(table.name, schema_name=table.schema, source=pieces)
    return int(done.rpartition(" ")[2])


async def analyze(connection: Conn) -> None:
    """So that the first questions are planned for what is there."""
    await connection.execute("analyze")
