"""Erased students: whom a feed may not bring back, and all that is kept of one, taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.erased import Erased
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.runs import SUBJECT_LOCK


class Mine(NamedTuple):
    """A record of a student. `is_own`: it is the student."""

    number: int
    entity: str
    is_own: bool
    hub_id: str | None
    sis_key: str | None
    identifier: str | None


@dataclass(frozen=True, slots=True)
class Whose:
    """What of a feed is a student's: records by number, and the names of the student and of these records."""

    feed: int
    records: Sequence[int]
    names: Sequence[str]


async def erased(connection: Conn, feed: str, entity: str, member: str | None) -> Erased:
    """Those of a feed, for records of one entity."""
    secret = await secret_of(connection)
    rows = await connection.fetch(
        "select e.hash from erased_student e join feed f on f.number = e.feed where f.name = $1", feed
    )
    return Erased(entity, member, secret, frozenset(row["hash"] for row in rows))


async def secret_of(connection: Conn) -> bytes:
    """Under which names are hashed."""
    return bytes(await connection.fetchval("select erasure_secret from state"))


async def list_(connection: Conn, feed: int, hashes: Sequence[bytes], by: str, reason: str) -> int:
    """Put names on a feed's list; how many were not there."""
    done = await connection.execute(
        """
        insert into erased_student (feed, hash, erased_by, reason)
        select $1, hash, $3, $4 from unnest($2::bytea[]) as hash
        on conflict do nothing
        """,
        feed,
        hashes,
        by,
        reason,
    )
    return int(done.rpartition(" ")[2])


async def know(connection: Conn, feed: str, hashes: Sequence[bytes]) -> None:
    """Other names by which records came that were refused."""
    await connection.execute(
        """
        insert into erased_student (feed, hash, erased_by, reason)
        select f.number, hash, 'verification', 'another name of an erased record'
        from feed f, unnest($2::bytea[]) as hash where f.name = $1
        on conflict do nothing
        """,
        feed,
        hashes,
    )


async def feeds(connection: Conn, names: Sequence[str] | None) -> dict[str, int]:
    """The number of each of these feeds, or (None) of all."""
    rows = await connection.fetch(
        "select name, number from feed where $1::text[] is null or name = any($1) order by name", names
    )
    return {row["name"]: row["number"] for row in rows}


async def hold(connection: Conn, feed: int, seconds: float) -> None:
    """Be the only one who works on a feed until the caller's transaction ends. asyncpg.LockNotAvailableError."""
    await connection.execute("select set_config('lock_timeout', $1, true)", f"{int(seconds * 1_000)}ms")
    numbers = await connection.fetch("select number from subject where feed = $1 order by number", feed)
    for row in numbers:
        await connection.execute("select pg_advisory_xact_lock($1, $2)", SUBJECT_LOCK, row["number"])


async def own(connection: Conn, feed: int, hub_ids: Sequence[str], sis_keys: Sequence[str]) -> list[Mine]:
    """The records that are students with one of these names."""
    rows = await connection.fetch(
        """
        select r.number, s.entity, true, r.hub_id, r.sis_key, r.identifier
        from record r join subject s on s.number = r.subject
        where s.feed = $1 and s.student = '@id' and (r.hub_id = any($2::text[]) or r.sis_key = any($3::text[]))
        order by r.number
        """,
        feed,
        hub_ids,
        sis_keys,
    )
    return [Mine(*row.values()) for row in rows]


async def former_keys(connection: Conn, numbers: Sequence[int]) -> list[str]:
    """Under which the SIS had these records once, as somebody has said."""
    rows = await connection.fetch("select sis_key from re_key where is_same and record = any($1::bigint[])", numbers)
    return [row["sis_key"] for row in rows]


async def shares_number(connection: Conn, feed: int, numbers: Sequence[int], identifiers: Sequence[str]) -> set[str]:
    """Of these identifiers, those that other students have too."""
    rows = await connection.fetch(
        """
        select distinct r.identifier from record r join subject s on s.number = r.subject
        where s.feed = $1 and s.student = '@id' and r.identifier = any($3::text[]) and r.number <> all($2::bigint[])
        """,
        feed,
        numbers,
        identifiers,
    )
    return {row["identifier"] for row in rows}


async def naming(connection: Conn, feed: int, hub_ids: Sequence[str], sis_keys: Sequence[str]) -> list[Mine]:
    """The other records that name a student, or did when both sides last agreed."""
    rows = await connection.fetch(
        """
        select r.number, s.entity, false, r.hub_id, r.sis_key, r.identifier
        from record r join subject s on s.number = r.subject
        where s.feed = $1 and s.student <> '@id'
          and (r.hub_seen::json ->> s.student = any($2::text[]) or r.base_hub::json ->> s.student = any($2::text[])
               or r.sis_seen::json ->> s.student = any($3::text[]) or r.base_sis::json ->> s.student = any($3::text[]))
        order by r.number
        """,
        feed,
        hub_ids,
        sis_keys,
    )
    return [Mine(*row.values()) for row in rows]


async def erase(connection: Conn, whose: Whose) -> Mapping[str, int]:
    """Take away all rows that are a student's, also those of records that became others by a link; how many of what.

    Conflicts, decisions, rules and failures go with their records.
    """
    row = await connection.fetchrow(_ERASE, whose.feed, whose.records, whose.names)
    assert row is not None, "one row"
    return dict(row)


async def destroy_keys(connection: Conn, feed: int, hub_ids: Sequence[str], sis_keys: Sequence[str]) -> int:
    """What backups hold of a student cannot be opened any more; how many keys there were.

    A Core that keeps its records beside seals this state under one key, in the backups of its own: that goes too.
    """
    if await connection.fetchval("select to_regclass('public.student_key') is not null"):
        await connection.execute("delete from public.student_key where student = ''")
    done = await connection.execute(
        "delete from student_key where feed = $1 and student = any($2::text[])",
        feed,
        [*(f"hub {hub_id}" for hub_id in hub_ids), *(f"sis {key}" for key in sis_keys)],
    )
    return int(done.rpartition(" ")[2])


async def drop_typed(connection: Conn, feed: int, records: Sequence[int]) -> int:
    """Values that people typed for these records, in jobs; how many."""
    if not await _has_queue(connection):
        return 0
    done = await connection.execute(
        """
        update homeroom_merge_queue.procrastinate_jobs j set args = jsonb_set(j.args, '{value}', 'null')
        from feed f
        where f.number = $1 and j.args ->> 'feed' = f.name and j.task_name = 'value'
          and (j.args ->> 'record')::bigint = any($2::bigint[]) and j.args -> 'value' <> 'null'
        """,
        feed,
        records,
    )
    return int(done.rpartition(" ")[2])


async def unsay(connection: Conn, feed: int, names: Sequence[str]) -> None:
    """What jobs of a feed came to, where that holds one of these names."""
    if await _has_queue(connection):
        await connection.execute(
            """
            update work w set said = 'what was said here named an erased student'
            from homeroom_merge_queue.procrastinate_jobs j, feed f
            where j.id = w.job and f.number = $1 and j.args ->> 'feed' = f.name
              and exists (select from unnest($2::text[]) as name where strpos(w.said, name) > 0)
            """,
            feed,
            names,
        )


async def texts(connection: Conn, feed: int, holding: Sequence[str]) -> list[tuple[UUID, str, str | None]]:
    """(run, log, report) of a feed's runs where either holds one of these."""
    rows = await connection.fetch(
        """
        select u.id, u.log, u.report from run u join subject s on s.number = u.subject
        where s.feed = $1
          and exists (select from unnest($2::text[]) as said where strpos(concat(u.log, ' ', u.report), said) > 0)
        """,
        feed,
        holding,
    )
    return [tuple(row.values()) for row in rows]


async def replace_texts(connection: Conn, rows: Sequence[tuple[UUID, str, str | None]]) -> None:
    """What is written down of these runs, in other words."""
    await connection.executemany("update run set log = $2, report = $3 where id = $1", rows)


async def vacuum(connection: Conn) -> None:
    """Let nothing of rows that are gone stand in the tables any longer. Not within a transaction."""
    await connection.execute(
        """
        vacuum record, run, planned, left_out, journal, conflict, decision, own_rule, sticky, re_key, writing, failing,
               trigger, restoring, student_key, work
        """
    )
    if await _has_queue(connection):
        await connection.execute("vacuum homeroom_merge_queue.procrastinate_jobs")


async def _has_queue(connection: Conn) -> bool:
    found = "select to_regclass('homeroom_merge_queue.procrastinate_jobs') is not null"
    return bool(await connection.fetchval(found))


_ERASE = """
    with mine as (
        select number from subject where feed = $1
    ), runs as (
        select id from run where subject in (select number from mine)
    ), quoted as (
        select to_json(name)::text as name from unnest($3::text[]) as name
    ), plans as (
        delete from planned p where p.run in (select id from runs) and (p.record = any($2::bigint[])
            or not exists (select from record r where r.number = p.record)
               and exists (select from quoted q where strpos(p.change, q.name) > 0))
        returning 1
    ), writes as (
        delete from journal j where j.run in (select id from runs) and (j.record = any($2::bigint[])
            or not exists (select from record r where r.number = j.record) and (j.hub_id = any($3::text[])
               or exists (select from quoted q where strpos(concat(j.body, ' ', j.before), q.name) > 0)))
        returning 1
    ), faults as (
        delete from left_out l where l.run in (select id from runs) and (l.record = any($2::bigint[])
            or exists (select from unnest($3::text[]) as name where right(l.place, length(name) + 1) = ' ' || name))
        returning 1
    ), restores as (
        delete from restoring g where g.run in (select id from runs) and (g.record = any($2::bigint[])
            or not exists (select from record r where r.number = g.record))  -- of no use, and nobody's by name
        returning 1
    ), triggers as (
        delete from trigger t using subject s
        where s.number = t.subject and s.feed = $1 and t.key = any($3::text[]) and (s.student = '@id' or exists (
            select from record r where r.number = any($2::bigint[]) and r.subject = t.subject
            and t.key = case t.side when 'hub' then r.hub_id else r.sis_key end))
        returning 1
    ), proposals as (
        delete from re_key k using record r, subject s
        where r.number = k.record and s.number = r.subject and s.feed = $1 and s.student = '@id'
          and k.sis_key = any($3::text[])
        returning 1
    ), conflicts as (
        select from conflict where record = any($2::bigint[])
    ), records as (
        delete from record where number = any($2::bigint[]) returning 1
    )
    select (select count(*) from records) as records, (select count(*) from plans) as "planned changes",
           (select count(*) from writes) as "journalled writes", (select count(*) from conflicts) as conflicts,
           (select count(*) from faults) as "faults told", (select count(*) from restores) as "restored bodies",
           (select count(*) from triggers) as triggers, (select count(*) from proposals) as "re-keys"
"""
