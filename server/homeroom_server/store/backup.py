"""What a backup reads of the database, in one snapshot: whose rows are whose, table by table (decision 19)."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from homeroom_server.store.connection import Conn

SEALED = {
    "record": "select case when r.erased then '' else r.student end as student, r.* from record r order by 1",
    "viewer": """
        select case when r.id is null or r.erased then '' else r.student end as student, v.*
        from viewer v join notification_type n on n.number = v.notification_type
        left join record r on r.record_type = n.record_type and r.id = v.id order by 1
        """,
    "association": "select a.student, a.* from association a order by 1",
    "missing_organization": "select m.student, m.* from missing_organization m order by 1",
    "access_grant": "select g.student, g.* from access_grant g order by 1",
    "access_trigger": "select t.student, t.* from access_trigger t order by 1",
    "access_event": "select e.student, e.* from access_event e order by 1, e.happened_at",
    "status_trigger": """
        select case when r.id is null or r.erased then '' else r.student end as student, t.*
        from status_trigger t left join record r on r.record_type = t.record_type and r.id = t.id order by 1
        """,
    "missing_reference": """
        select case when r.id is null or r.erased then '' else r.student end as student, m.*
        from missing_reference m left join record r on r.record_type = m.record_type and r.id = m.id order by 1
        """,
    "idempotent_call": "select '', c.* from idempotent_call c",
    # One event that names records of several students becomes one for each of them. What people did is the student's
    # whom it names; of what names none, only what cannot hold a name is in the clear.
    "audit_event": """
        with word as (
            select e.ctid as event, w.word
            from audit_event e cross join regexp_split_to_table(e.detail, '[ =]') as w(word)
            where e.action = 'did' and e.ids is null
        ), meant as (
            select w.event, r.student from word w join record r on r.id = w.word where r.student is not null
            union select w.event, r.student from word w join record r on r.student = w.word
            union select w.event, a.student from word w join access_event a on a.student = w.word
            union select w.event, g.student from word w join access_grant g on g.student = w.word
        ), named as (
            select event, min(student) as student, count(*) as students from meant group by event
        )
        select case when e.action <> 'did' or e.detail in ('signed in', 'signed out', 'a sign-in failed') then null
                    when n.students = 1 then n.student
                    when n.students > 1 then ''
                    when e.actor_kind = 'operator' and not starts_with(e.detail, 'asked the audit') then null
                    else '' end as student, e.*
        from audit_event e left join named n on n.event = e.ctid where e.ids is null
        union all
        select x.student, e.happened_at, e.actor_kind, e.actor, e.organization, e.address, e.action,
               e.notification_type, x.ids, e.detail
        from audit_event e cross join lateral (
            select case when r.id is null or r.erased then '' else r.student end as student,
                   array_agg(u.id order by u.place) as ids
            from unnest(e.ids) with ordinality as u(id, place)
            left join record_type t on t.name = split_part(e.notification_type, '.', 1)
            left join record r on r.record_type = t.number and r.id = u.id
            group by 1
        ) x where e.ids is not null
        order by 1, happened_at
        """,
}
"""Tables that speak of students, each with whose a row is, in bytewise order: the student, null (of no student), or ''
(cannot be told). After the student a row has the columns of its table."""

LEFT_OUT = ("node", "node_sample", "client_stream", "client_traffic", "person_session", "sign_in_failure")
"""What is of the moment, or explains it."""

KEYRING = ("student_key", "erased_student")
"""In the Core and in merges: what must be newer than any backup."""

_CLEAR_IN_MERGES = ["state", "feed", "feed_secret", "settings", "settings_days"]
_MERGES = ["homeroom_merge", "homeroom_merge_queue"]

Take = Callable[[bytes], Coroutine[Any, Any, None]]


class Table(NamedTuple):
    """`query`: reads its rows with whose they are before them; empty: nobody can tell."""

    schema: str
    name: str
    query: str = ""


class Estimate(NamedTuple):
    """What a backup is about to hold, as the planner has it."""

    tables: list[Table]
    rows: int


@asynccontextmanager
async def snapshot(connection: Conn) -> AsyncIterator[tuple[str, datetime]]:
    """One moment of the database, which others may read by its name; and when it was, by the database's clock."""
    await connection.execute(
        """
        select set_config(name, '0', false) from pg_settings
        where name in ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')
        """
    )
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow("select pg_export_snapshot() as name, now() as at")
        assert row is not None, "a query without tables has one row"
        yield row["name"], row["at"]


async def read_tables(connection: Conn) -> Estimate:
    """The tables that pg_dump is not to read: those of the Core, then those of merges, if they are here."""
    merges = await connection.fetch(
        """
        select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any($1::text[]) and c.relkind = 'r' and c.relname <> all($2::text[]) order by 1, 2
        """,
        _MERGES,
        [*_CLEAR_IN_MERGES, *KEYRING],
    )
    tables = [*(Table("public", name, query) for name, query in SEALED.items()), *(Table(**row) for row in merges)]
    rows = await connection.fetchval(
        """
        select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
        from unnest($1::text[], $2::text[]) as t(schema, name)
        join pg_namespace n on n.nspname = t.schema join pg_class c on c.relnamespace = n.oid and c.relname = t.name
        """,
        [table.schema for table in tables],
        [table.name for table in tables],
    )
    return Estimate(tables, rows)


async def copy_out(connection: Conn, table: Table, take: Take) -> None:
    """All rows of a table as COPY's text, in pieces that end anywhere."""
    if table.query:
        await connection.copy_from_query(table.query, output=take)
    else:
        await connection.copy_from_table(table.name, schema_name=table.schema, output=take)


async def read_keyring_tables(connection: Conn) -> list[Table]:
    """Those of `KEYRING` that are there."""
    rows = await connection.fetch(
        """
        select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any($1::text[]) and c.relname = any($2::text[]) order by 1, 2
        """,
        ["public", *_MERGES],
        list(KEYRING),
    )
    return [Table(**row) for row in rows]


async def read_moment(connection: Conn) -> tuple[datetime, int]:
    """Now, by the database's clock, and the highest version that was ever given out."""
    row = await connection.fetchrow("select clock_timestamp() as at, last_value from core_version")
    assert row is not None, "a sequence has one row"
    return row["at"], row["last_value"]
