"""The conflict inbox: where both sides disagree and no rule decides, and which record somebody means."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from homeroom_merge.codec import value_of, value_text
from homeroom_merge.plan import APART, Conflict
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import Value

_CANDIDATES_MAX = 1_000
_VALUES = ("base", "sis", "hub", "outcome")


@dataclass(frozen=True, slots=True)
class Named:
    """A record by all that it is known by."""

    number: int
    subject: int
    entity: str
    sis_key: str | None
    hub_id: str | None
    identifier: str | None
    hub: Value
    sis: Value


@dataclass(frozen=True, slots=True)
class Entry:
    """A conflict of the inbox. `decided_by`: whose decision on just these values the next run carries out.

    `stands`: open | apart | decided. `own_rule`: what somebody has said of this field alone since it was found, a
    method or `sticky`.
    """

    record: int
    entity: str
    sis_key: str | None
    hub_id: str | None
    pointer: str
    base: Value
    sis: Value
    hub: Value
    rule: str
    since: datetime
    stands: str
    decided_by: str | None
    outcome: Value
    own_rule: str | None
    own_rule_by: str | None


async def note_conflicts(connection: Conn, found: Sequence[tuple[int, Sequence[Conflict]]]) -> None:
    """The conflicts of records, in place of those they had: what a merge agrees on vanishes from the inbox."""
    rows = [
        (number, each.pointer, *map(value_text, (each.base, each.sis, each.hub)), each.rule, _fresh(each))
        for number, conflicts in found
        for each in conflicts
    ]
    columns = [[row[place] for row in rows] for place in range(7)]
    await connection.execute(
        """
        delete from conflict where record = any($1::bigint[])
        and (record, pointer) not in (select * from unnest($2::bigint[], $3::text[]))
        """,
        [number for number, _ in found],
        *columns[:2],
    )
    await connection.execute(
        """
        insert into conflict (record, subject, pointer, base, sis, hub, rule, stands)
        select u.record, r.subject, u.pointer, u.base, u.sis, u.hub, u.rule,
               case when u.stands = 'open' and exists (
                   select from decision d where d.record = u.record and d.pointer = u.pointer
                   and (d.base, d.sis, d.hub) is not distinct from (u.base, u.sis, u.hub)
               ) then 'decided' else u.stands end::conflict_state
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
             as u(record, pointer, base, sis, hub, rule, stands)
        join record r on r.number = u.record
        on conflict (record, pointer) do update
        set base = excluded.base, sis = excluded.sis, hub = excluded.hub, rule = excluded.rule,
            stands = excluded.stands, found_at = now()
        """,
        *columns,
    )


async def forget_agreed(connection: Conn, subject: int, run: UUID, numbers: Sequence[int] | None = None) -> None:
    """A run has merged these records (None: all): on what is not in its plan, both sides agree."""
    await connection.execute(
        """
        delete from conflict c using record r
        where r.number = c.record and r.subject = $1 and ($3::bigint[] is null or r.number = any($3::bigint[]))
          and not exists (select from planned p where p.run = $2 and p.record = c.record)
        """,
        subject,
        run,
        numbers,
    )


async def forget(connection: Conn, record: int, pointer: str) -> None:
    await connection.execute("delete from conflict where record = $1 and pointer = $2", record, pointer)


async def entries(
    connection: Conn, feed: str, entity: str | None, record: int | None, limit: int | None
) -> list[Entry]:
    """Of a feed, of one of its entities or of one record, the oldest first."""
    rows = await connection.fetch(
        """
        select c.record, c.pointer
        from conflict c join subject s on s.number = c.subject join feed f on f.number = s.feed
        where f.name = $1 and ($2::text is null or s.entity = $2) and ($3::bigint is null or c.record = $3)
        order by c.since, c.record, c.pointer limit $4
        """,
        feed,
        entity,
        record,
        limit,
    )
    return await at(connection, feed, [(row["record"], row["pointer"]) for row in rows])


async def at(connection: Conn, feed: str, places: Sequence[tuple[int, str]]) -> list[Entry]:
    """Those of these records and fields that are conflicts of the feed, the oldest first."""
    rows = await connection.fetch(
        """
        select c.record, s.entity, r.sis_key, r.hub_id, c.pointer, c.base, c.sis, c.hub, c.rule, c.since,
               c.stands::text, d.made_by as decided_by, d.outcome,
               case when k.record is not null then 'sticky' else o.method end as own_rule,
               coalesce(k.made_by, o.made_by) as own_rule_by
        from unnest($2::bigint[], $3::text[]) as p(record, pointer)
        join conflict c on c.record = p.record and c.pointer = p.pointer
        join record r on r.number = c.record join subject s on s.number = c.subject join feed f on f.number = s.feed
        left join decision d on d.record = c.record and d.pointer = c.pointer
             and (d.base, d.sis, d.hub) is not distinct from (c.base, c.sis, c.hub)
        left join own_rule o on o.record = c.record and o.pointer = c.pointer and o.made_at > c.found_at
        left join sticky k on k.record = c.record and k.pointer = c.pointer and k.made_at > c.found_at
        where f.name = $1 order by c.since, c.record, c.pointer
        """,
        feed,
        [record for record, _ in places],
        [pointer for _, pointer in places],
    )
    return [Entry(**{**row, **{name: value_of(row[name]) for name in _VALUES}}) for row in rows]


def _fresh(conflict: Conflict) -> str:
    return "apart" if conflict.rule in APART else "open"


async def by_key(connection: Conn, feed: str, entity: str | None, said: str) -> list[Named]:
    """Records with this key in the SIS, id on the hub, or identifier."""
    return await _named(
        connection,
        """
        select r.*, s.entity from record r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and ($2::text is null or s.entity = $2) and $3 in (r.sis_key, r.hub_id, r.identifier)
        order by r.number limit $4
        """,
        feed,
        entity,
        said,
    )


async def by_number(connection: Conn, feed: str, numbers: Sequence[int]) -> list[Named]:
    """Those of these records that are the feed's."""
    return await _named(
        connection,
        """
        select r.*, s.entity from record r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and ($2::text is null or s.entity = $2) and r.number = any($3::bigint[])
        order by r.number limit $4
        """,
        feed,
        None,
        numbers,
    )


async def by_words(connection: Conn, feed: str, entity: str | None, words: Sequence[str]) -> list[Named]:
    """Records whose bodies hold all of these words somewhere, in letters of any case; at most a thousand."""
    return await _named(
        connection,
        """
        select r.*, s.entity from record r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and ($2::text is null or s.entity = $2)
          and (select bool_and(strpos(lower(concat(r.hub_seen, ' ', r.sis_seen)), lower(word)) > 0)
               from unnest($3::text[]) as word)
        order by r.number limit $4
        """,
        feed,
        entity,
        words,
    )


async def _named(
    connection: Conn, query: str, feed: str, entity: str | None, said: str | Sequence[str] | Sequence[int]
) -> list[Named]:
    return [
        Named(
            *(row[name] for name in ("number", "subject", "entity", "sis_key", "hub_id", "identifier")),
            *(value_of(row[name]) for name in ("hub_seen", "sis_seen")),
        )
        for row in await connection.fetch(query, feed, entity, said, _CANDIDATES_MAX)
    ]


async def subject_of(connection: Conn, record: int) -> int:
    return int(await connection.fetchval("select subject from record where number = $1", record))


async def keep_apart(connection: Conn, record: int, sis_key: str, by: str) -> None:
    """A new record is not the one with this key: it becomes one of its own."""
    await connection.execute(
        "insert into re_key (record, sis_key, is_same, made_by) values ($1, $2, false, $3) on conflict do nothing",
        record,
        sis_key,
        by,
    )


async def re_key(connection: Conn, record: int, old_key: str, by: str) -> None:
    """The record that had a key has that of this new one from now on, and is seen in the SIS as this one was.

    It keeps its id on the hub, its base and its journal; the new one is gone.
    """
    await connection.execute(
        """
        with new as (
            delete from record where number = $1 returning *
        ), moved as (
            update record o
            set sis_key = n.sis_key, sis_state = n.sis_state, sis_seen = n.sis_seen, sis_covered = n.sis_covered,
                sis_token = n.sis_token, sis_changed_at = n.sis_changed_at, sis_faults = n.sis_faults,
                sis_absences = 0, school = coalesce(n.school, o.school),
                school_year = coalesce(n.school_year, o.school_year)
            from new n where o.subject = n.subject and o.sis_key = $2
            returning o.number
        )
        insert into re_key (record, sis_key, is_same, made_by) select number, $2, true, $3 from moved
        on conflict (record, sis_key) do update set is_same = true, made_by = excluded.made_by, made_at = now()
        """,
        record,
        old_key,
        by,
    )
