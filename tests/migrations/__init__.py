"""Schemas as they were released, with rows of each table, and databases that have them."""

import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg

from homeroom_merge.store import connection as merge_connection
from tests.conftest import database_url
from tests.processes import homeroom

_HERE = Path(__file__).parent
CORES = (1, 2, 3, 4)
"""Released before today's."""
MERGES = (1, 2)
KEYS = {"maple-key": 1, "elk-key": 2}
EPOCH = "44444444-4444-4444-4444-444444444444"
_SECRET = b"secret"
_SHAPE = """
select format('column %s.%s %s %s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
              a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation) as said
from pg_attribute a join pg_class c on c.oid = a.attrelid join ours n on n.oid = c.relnamespace
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped
union all
select format('constraint %s %s %s %s', conrelid::regclass, conname, convalidated, pg_get_constraintdef(c.oid))
from pg_constraint c join ours n on n.oid = c.connamespace
union all
select format('index %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid)
from pg_index i join pg_class c on c.oid = i.indexrelid join ours n on n.oid = c.relnamespace
union all
select format('relation %s %s %s %s', c.oid::regclass, c.relkind, c.reloptions,
              case when c.relkind = 'v' then pg_get_viewdef(c.oid) end)
from pg_class c join ours n on n.oid = c.relnamespace
union all
select format('sequence %s %s %s %s', seqrelid::regclass, seqtypid::regtype, seqmin, seqmax)
from pg_sequence join pg_class c on c.oid = seqrelid join ours n on n.oid = c.relnamespace
union all
select pg_get_triggerdef(t.oid) from pg_trigger t where not tgisinternal
union all
select pg_get_functiondef(p.oid) from pg_proc p join ours n on n.oid = p.pronamespace
union all
select format('enum %s %s', enumtypid::regtype, string_agg(enumlabel, ' ' order by enumsortorder))
from pg_enum group by enumtypid
"""


async def make_core(connection: asyncpg.Connection, version: int, *, rows: bool = True) -> None:
    """Make an empty database a Core's of a released schema; it says 1, as all of them did."""
    await connection.execute((_HERE / f"core-{version}.sql").read_text(encoding="utf-8"))
    names, values = ["epoch", "key_secret"], [EPOCH, _SECRET]
    if version > 3:
        names, values = [*names, "erasure_secret"], [*values, b"erased"]
    places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
    await connection.execute(f"insert into core (schema_version, {', '.join(names)}) values (1, {places})", *values)
    for each in CORES[: version if rows else 0]:
        await connection.execute((_HERE / f"core-rows-{each}.sql").read_text(encoding="utf-8"))
    if rows:
        hashed = [(hmac.digest(_SECRET, key.encode(), hashlib.sha256), client) for key, client in KEYS.items()]
        await connection.executemany("insert into api_key (hash, client) values ($1, $2)", hashed)


async def make_merges(connection: asyncpg.Connection, version: int) -> None:
    """Make a released state of merges in a database, in which it says 1."""
    async with connection.transaction():
        await connection.execute((_HERE / f"merge-{version}.sql").read_text(encoding="utf-8"))
        await connection.execute("insert into state (schema_version) values (1)")
        for each in MERGES[:version]:
            await connection.execute((_HERE / f"merge-rows-{each}.sql").read_text(encoding="utf-8"))


async def shape_of(connection: asyncpg.Connection, schema: str) -> set[str]:
    """All that a schema consists of, but for the order of columns."""
    ours = "with ours as (select oid from pg_namespace where nspname = $1) "
    return {row["said"] for row in await connection.fetch(f"{ours} select said from ({_SHAPE}) s", schema)}


async def rows_of(connection: asyncpg.Connection, schema: str) -> Mapping[str, list[str]]:
    """Every row of every table, as JSON."""
    tables = await connection.fetch(
        """
        select oid::regclass::text as name from pg_class
        where relkind = 'r' and relnamespace = $1::text::regnamespace
        """,
        schema,
    )
    return {
        row["name"]: [each[0] for each in await connection.fetch(f"select to_jsonb(t) from {row['name']} t order by 1")]
        for row in tables
    }


@asynccontextmanager
async def made(postgres_url: str, name: str) -> AsyncIterator[str]:
    """An empty database, which is dropped again."""
    name = f"{name}_{os.getpid()}"  # others may use the same server
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"create database {name}")
    try:
        yield database_url(postgres_url, name)
    finally:
        await connection.execute(f"drop database {name} with (force)")
        await connection.close()


@asynccontextmanager
async def connected(url: str, *, merges: bool = False) -> AsyncIterator[asyncpg.Connection]:
    connection = await (merge_connection.connect(url) if merges else asyncpg.connect(url))
    try:
        yield connection
    finally:
        await connection.close()


async def command(*arguments: str, code: int = 0) -> str:
    """Run `homeroom` beside whatever the test runs; what it says."""
    done = await anyio.to_thread.run_sync(lambda: homeroom(*arguments, check=False))
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr
