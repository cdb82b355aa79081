"""Records as merging knows them: who has changed is told by PostgreSQL, by comparing texts."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson

from homeroom_merge.codec import awaited_of, awaited_text, base_more, base_of, canonical
from homeroom_merge.records import PLAIN, Awaited, Base, Known, Own, Side, State
from homeroom_merge.store import own
from homeroom_merge.store.connection import Conn

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record and its number in the state."""

    number: int
    known: Known
    identifier: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a record is once its change is done: base and link, or what it awaits. None: as it was.

    A base that moves ends what was awaited.
    """

    number: int
    hub_id: str | None
    base: Base | None = None
    awaiting: Awaited | None = None
    unlinked: bool = False
    sis_key: str | None = None
    undone: tuple[str, ...] = ()
    """Fields of which a side that would have to change is not written: what was decided on them stands."""


class SisShown(NamedTuple):
    """What the SIS has since a write of ours, as a fetch would show it."""

    state: str
    body: str | None
    covered: Sequence[str] | None


async def changed(connection: Conn, subject: int) -> AsyncIterator[list[Numbered]]:
    """Every record of which a side is not as both last agreed, in blocks, within a transaction of the caller's."""
    cursor = await connection.cursor(
        """
        select * from record
        where subject = $1
          and (base_hub is null or hub_state <> 'live' or sis_state <> 'live' or hub_seen <> base_hub
               or sis_seen <> base_sis or awaiting is not null or base_deleted or unlinked)
          and not (base_hub is null and hub_state <> 'live' and sis_state <> 'live')
        order by number
        """,
        subject,
    )
    while rows := await cursor.fetch(_AT_ONCE):
        yield await _with_own(connection, rows)


async def read(connection: Conn, numbers: Sequence[int]) -> dict[int, Numbered]:
    """Just these records, locked until the end of the caller's transaction."""
    rows = await connection.fetch(
        "select * from record where number = any($1::bigint[]) order by number for update", numbers
    )
    return {each.number: each for each in await _with_own(connection, rows)}


async def look(connection: Conn, feed: str, number: int) -> tuple[str, Numbered] | None:
    """A record of a feed with its entity, locked for nobody."""
    rows = await connection.fetch(
        """
        select r.*, s.entity from record r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and r.number = $2
        """,
        feed,
        number,
    )
    return (rows[0]["entity"], (await _with_own(connection, rows))[0]) if rows else None


async def sis_keys(connection: Conn, numbers: Sequence[int]) -> list[str]:
    """The keys in the SIS of those of these records that have one."""
    query = "select sis_key from record where number = any($1::bigint[]) and sis_key is not null order by sis_key"
    return [row["sis_key"] for row in await connection.fetch(query, numbers)]


async def has_bases(connection: Conn, subject: int) -> bool:
    """Whether anything was ever agreed on."""
    found = "select exists (select from record where subject = $1 and base_hub is not null)"
    return bool(await connection.fetchval(found, subject))


async def live_bases(connection: Conn, subject: int) -> int:
    """Records on which both sides agree that they are there: what guards reckon with."""
    count = "select count(*) from record where subject = $1 and base_hub is not null and not base_deleted"
    return int(await connection.fetchval(count, subject))


async def links(connection: Conn, feed: str, entity: str) -> dict[str, str | None]:
    """The hub id of each SIS key of an entity that is there, or about to be; None where none is drawn: a re-key."""
    rows = connection.cursor(
        """
        select r.sis_key, nullif(r.hub_id, r.sis_key) as hub_id, r.hub_id is null as is_open from record r
        join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and s.entity = $2 and r.sis_key is not null
          and (r.sis_state = 'live' or r.hub_state in ('live', 'failed', 'outOfView'))
        """,
        feed,
        entity,
        prefetch=_AT_ONCE,
    )
    async with connection.transaction():
        return {key: None if is_open else hub_id or key async for key, hub_id, is_open in rows}


async def not_on_hub(connection: Conn, feed: str, references: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Of (entity, hub id), those that the hub does not have, as far as is known."""
    rows = await connection.fetch(
        """
        select u.entity, u.id from unnest($2::text[], $3::text[]) as u(entity, id)
        left join (subject s join feed f on f.number = s.feed and f.name = $1) on s.entity = u.entity
        left join lateral (
            select true as there from record r
            where r.subject = s.number and r.hub_id = u.id and r.hub_state in ('live', 'failed', 'outOfView')
            limit 1  -- a look by id each, whatever is thought of the size of a table that has just been filled
        ) as found on true
        where found.there is null
        """,
        feed,
        [entity for entity, _ in references],
        [hub_id for _, hub_id in references],
    )
    return {(row["entity"], row["id"]) for row in rows}


async def settle(connection: Conn, records: Sequence[Settled]) -> None:
    """Move bases and links: each where every side that had to change is known to have it."""
    bases = [_base_columns(each.base) for each in records]
    await own.forget_decisions(connection, [(each.number, each.undone) for each in records if each.base is not None])
    await connection.execute(
        """
        update record r
        set hub_id = coalesce(u.hub_id, r.hub_id), base_hub = coalesce(u.base_hub, r.base_hub),
            base_sis = coalesce(u.base_sis, r.base_sis), base_deleted = coalesce(u.base_deleted, r.base_deleted),
            base_more = case when u.base_hub is null then r.base_more else u.base_more end,
            awaiting = case when u.base_hub is null then coalesce(u.awaiting, r.awaiting) else u.awaiting end,
            awaiting_since = case when u.awaiting is not null then now()
                                  when u.base_hub is null then r.awaiting_since end,
            unlinked = u.unlinked, sis_key = coalesce(r.sis_key, u.sis_key)
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
                    $8::boolean[], $9::text[])
             as u(number, hub_id, base_hub, base_sis, base_deleted, base_more, awaiting, unlinked, sis_key)
        where r.number = u.number
        """,
        [each.number for each in records],
        [each.hub_id for each in records],
        *([base[place] for base in bases] for place in range(4)),
        [None if each.awaiting is None else awaited_text(each.awaiting) for each in records],
        [each.unlinked for each in records],
        [each.sis_key for each in records],
    )


async def show_written(connection: Conn, rows: Sequence[tuple[int, str, int]]) -> None:
    """(number, hub body, core version): what the hub has since a write of ours, as a fetch would show it."""
    await connection.execute(
        """
        update record r set hub_seen = u.body, hub_version = greatest(r.hub_version, u.version), hub_state = 'live'
        from unnest($1::bigint[], $2::text[], $3::bigint[]) as u(number, body, version) where r.number = u.number
        """,
        [number for number, _, _ in rows],
        [body for _, body, _ in rows],
        [version for _, _, version in rows],
    )


async def show_sis(connection: Conn, number: int, shown: SisShown) -> None:
    """What the SIS has since a write of ours: the next fetch may be a delta that does not tell."""
    await connection.execute(
        """
        update record
        set sis_state = $2, sis_seen = coalesce($3, sis_seen), sis_covered = coalesce($4, sis_covered), sis_absences = 0
        where number = $1
        """,
        number,
        *shown,
    )


async def unknown(connection: Conn, subject: int) -> list[int]:
    """Records of which nobody can tell whether the SIS has what was written last."""
    rows = await connection.fetch(
        """
        select r.number from record r
        where r.subject = $1 and r.awaiting is not null and (
            select j.result from journal j where j.record = r.number and j.side = 'sis' order by j.number desc limit 1
        ) = 'unknown'
        order by r.number
        """,
        subject,
    )
    return [row["number"] for row in rows]


async def await_no_longer(connection: Conn, numbers: Sequence[int]) -> None:
    """Somebody asks for it: what is awaited counts as not written, and the next run plans it again."""
    await connection.execute(
        "update record set awaiting = null, awaiting_since = null where number = any($1::bigint[])", numbers
    )


def _base_columns(base: Base | None) -> tuple[str | None, str | None, bool | None, str | None]:
    if base is None:
        return None, None, None, None
    return canonical(base.hub), canonical(base.sis), base.deleted, base_more(base)


async def _with_own(connection: Conn, rows: Sequence[asyncpg.Record]) -> list[Numbered]:
    said = await own.of_records(connection, [row["number"] for row in rows])
    return [_numbered(row, said.get(row["number"], PLAIN)) for row in rows]


def _numbered(row: asyncpg.Record, said: Own) -> Numbered:
    base = None
    if row["base_hub"] is not None:
        base = base_of(row["base_hub"], row["base_sis"], row["base_more"], deleted=row["base_deleted"])
    covered = None if row["sis_covered"] is None else frozenset(row["sis_covered"])
    known = Known(
        row["sis_key"],
        row["hub_id"],
        _side(row["hub_state"], row["hub_seen"], row["hub_changed_at"], version=row["hub_version"]),
        _side(row["sis_state"], row["sis_seen"], row["sis_changed_at"], covered=covered, token=row["sis_token"]),
        base,
        row["school"],
        row["school_year"],
        None if row["awaiting"] is None else awaited_of(row["awaiting"]),
        unlinked=row["unlinked"],
        own=said,
    )
    return Numbered(row["number"], known, row["identifier"])


def _side(
    state: str,
    body: str | None,
    changed_at: datetime | None,
    covered: frozenset[str] | None = None,
    version: int = 0,
    token: str | None = None,
) -> Side:
    found: dict[str, Any] | None = None if body is None else orjson.loads(body)
    return Side(State(state), found, covered, version, changed_at, token)
