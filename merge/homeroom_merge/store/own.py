"""What is in force for one record alone: overrides, sticky fields, decisions, and what was written of late."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import asyncpg

from homeroom_merge.codec import value_of, value_text
from homeroom_merge.plan import Change
from homeroom_merge.records import Decision, Method, Own, Writing
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


async def of_records(connection: Conn, numbers: Sequence[int]) -> dict[int, Own]:
    """Of those of these records for which anything is said: few, so that a block of them costs one look."""
    rows = await connection.fetch(
        """
        select record, 'override' as what, pointer, method as outcome, null as base, null as sis, null as hub,
               null::timestamptz as at from own_rule where record = any($1::bigint[])
        union all
        select record, 'sticky', pointer, null, null, null, null, null from sticky where record = any($1::bigint[])
        union all
        select record, 'decision', pointer, outcome, base, sis, hub, null from decision where record = any($1::bigint[])
        union all
        select record, 'writing', pointer, after, before, null, null, written_at
        from writing where record = any($1::bigint[])
        order by record
        """,
        numbers,
    )
    return {number: _own(list(said)) for number, said in groupby(rows, itemgetter("record"))}


async def decide(connection: Conn, record: int, pointer: str, outcome: str | None, by: str) -> bool:
    """Keep a decision on the conflict as it stands; whether there is one."""
    async with connection.transaction():
        done = await connection.execute(
            """
            insert into decision (record, pointer, outcome, base, sis, hub, made_by)
            select c.record, c.pointer, $3, c.base, c.sis, c.hub, $4
            from conflict c where c.record = $1 and c.pointer = $2 for update
            on conflict (record, pointer) do update
            set outcome = excluded.outcome, base = excluded.base, sis = excluded.sis, hub = excluded.hub,
                made_by = excluded.made_by, made_at = now()
            """,
            record,
            pointer,
            outcome,
            by,
        )
        await _note_standing(connection, record, pointer)
    return not done.endswith(" 0")


async def take_back(connection: Conn, record: int, pointer: str) -> bool:
    """A decision that no run has carried out counts no longer; whether there was one."""
    async with connection.transaction():
        done = await connection.execute("delete from decision where record = $1 and pointer = $2", record, pointer)
        await _note_standing(connection, record, pointer)
    return not done.endswith(" 0")


async def forget_decisions(connection: Conn, moved: Sequence[tuple[int, Sequence[str]]]) -> None:
    """The bases of these records have moved, but for what these pointers name."""
    undone = [(number, pointer) for number, pointers in moved for pointer in pointers]
    await connection.execute(
        """
        delete from decision where record = any($1::bigint[])
        and (record, pointer) not in (select * from unnest($2::bigint[], $3::text[]))
        """,
        [number for number, _ in moved],
        [number for number, _ in undone],
        [pointer for _, pointer in undone],
    )


async def override(connection: Conn, record: int, pointer: str, method: Method, by: str) -> None:
    """A rule of this record's own; what was decided or written there counts no longer."""
    async with connection.transaction():
        await _forget(connection, record, pointer)
        await connection.execute(
            """
            insert into own_rule (record, pointer, method, made_by) values ($1, $2, $3, $4)
            on conflict (record, pointer) do update
            set method = excluded.method, made_by = excluded.made_by, made_at = now()
            """,
            record,
            pointer,
            method,
            by,
        )
        await _note_standing(connection, record, pointer)


async def clear_override(connection: Conn, record: int, pointer: str) -> bool:
    """Whether there was one."""
    async with connection.transaction():
        done = await connection.execute("delete from own_rule where record = $1 and pointer = $2", record, pointer)
        await _note_standing(connection, record, pointer)
    return not done.endswith(" 0")


async def stick(connection: Conn, record: int, pointer: str, by: str) -> None:
    """What the hub has there stays until cleared; what was decided or written there counts no longer."""
    async with connection.transaction():
        await _forget(connection, record, pointer)
        await connection.execute(
            "insert into sticky (record, pointer, made_by) values ($1, $2, $3) on conflict do nothing",
            record,
            pointer,
            by,
        )
        await _note_standing(connection, record, pointer)


async def clear_sticky(connection: Conn, record: int, pointer: str) -> bool:
    """Whether it was sticky."""
    async with connection.transaction():
        done = await connection.execute("delete from sticky where record = $1 and pointer = $2", record, pointer)
        await _note_standing(connection, record, pointer)
    return not done.endswith(" 0")


async def note_writings(connection: Conn, side: SideName, written: Sequence[tuple[int, Change]]) -> None:
    """The fields that a side is known to have got."""
    rows = [
        (number, field.pointer, value_text(field.hub if side == "hub" else field.sis), value_text(field.outcome))
        for number, change in written
        for field in change.fields
        if side in field.to
    ]
    if rows:
        await connection.execute(
            """
            insert into writing (record, pointer, before, after)
            select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
            """,
            *([row[place] for row in rows] for place in range(4)),
        )


async def forget_old_writings(connection: Conn) -> None:
    await connection.execute("delete from writing where written_at < now() - interval '24 hours'")


async def _forget(connection: Conn, record: int, pointer: str) -> None:
    await connection.execute("delete from decision where record = $1 and pointer = $2", record, pointer)
    await connection.execute("delete from writing where record = $1 and pointer = $2", record, pointer)


async def _note_standing(connection: Conn, record: int, pointer: str) -> None:
    """Whether somebody has said how the conflict there ends, if there is one, since a merge last found it."""
    await connection.execute(
        """
        update conflict c
        set stands = case when exists (
            select from decision d where d.record = c.record and d.pointer = c.pointer
            and (d.base, d.sis, d.hub) is not distinct from (c.base, c.sis, c.hub)
        ) or exists (
            select from own_rule o where o.record = c.record and o.pointer = c.pointer and o.made_at > c.found_at
        ) or exists (
            select from sticky k where k.record = c.record and k.pointer = c.pointer and k.made_at > c.found_at
        ) then 'decided' else 'open' end::conflict_state
        where c.record = $1 and c.pointer = $2 and c.stands <> 'apart'
        """,
        record,
        pointer,
    )


def _own(rows: Sequence[asyncpg.Record]) -> Own:
    said: dict[str, list[asyncpg.Record]] = {"override": [], "sticky": [], "decision": [], "writing": []}
    for row in rows:
        said[row["what"]].append(row)
    writings: dict[str, tuple[Writing, ...]] = {}
    for row in said["writing"]:
        writing = Writing(row["at"], value_of(row["base"]), value_of(row["outcome"]))
        writings[row["pointer"]] = (*writings.get(row["pointer"], ()), writing)
    return Own(
        {row["pointer"]: Method(row["outcome"]) for row in said["override"]},
        frozenset(row["pointer"] for row in said["sticky"]),
        {
            row["pointer"]: Decision(*(value_of(row[name]) for name in ("outcome", "base", "sis", "hub")))
            for row in said["decision"]
        },
        writings,
    )
