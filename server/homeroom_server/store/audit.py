"""Who read and wrote which records, and what people and operators did."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.rule_set import id_or_none
from homeroom_server.store import erasure
from homeroom_server.store.connection import Conn

_MAY_BE_AN_ID = re.compile(r"[A-Za-z0-9._-]+")

_COLUMNS = (
    *("happened_at", "actor_kind", "actor", "organization", "address", "action", "notification_type", "ids", "detail"),
)


class Event(NamedTuple):
    """One thing that happened. `organization`: its number, for which the actor acted."""

    happened_at: datetime
    actor_kind: str
    actor: str
    organization: int | None
    address: str | None
    action: str
    notification_type: str | None
    ids: Sequence[str] | None
    detail: str | None


class Deed(NamedTuple):
    """What a client has written in one call. `ids`: with spaces between."""

    client: str
    organization: int
    ids: str


class Question(NamedTuple):
    """What of the audit is looked for; None: any."""

    record: str | None = None
    actor: str | None = None
    organization: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def keep(connection: Conn, events: Sequence[Event]) -> None:
    """Add what has happened."""
    await connection.copy_records_to_table("audit_event", columns=_COLUMNS, records=events)


async def note(
    connection: Conn, actor_kind: str, actor: str, address: str | None, detail: str, ids: Sequence[str] | None = None
) -> None:
    """Somebody did something, now. Ids of erased students in `detail` are kept as hashes alone."""
    async with connection.transaction():
        await erasure.keep_from_erasing(connection)
        await connection.execute(
            """
            insert into audit_event (actor_kind, actor, address, action, detail, ids)
            values ($1, $2, $3, 'did', $4, $5)
            """,
            actor_kind,
            actor,
            address,
            await _without_erased(connection, detail),
            ids,
        )


async def _without_erased(connection: Conn, text: str) -> str:
    found = {each for token in _MAY_BE_AN_ID.findall(text) for each in (token, token.lower(), token.rstrip("."))}
    words = await erasure.words_instead(connection, found)

    def instead(match: re.Match[str]) -> str:
        token = match[0]
        bare = token.rstrip(".")
        return words.get(token) or words.get(token.lower()) or words.get(bare, bare) + token[len(bare) :]

    return _MAY_BE_AN_ID.sub(instead, text) if words else text


async def find(connection: Conn, asked: Question, limit: int) -> list[tuple[Event, str | None]]:
    """The newest first, each with the code of the organization for which it was done.

    A record is found by its id, and by what is written in its place where its student was erased.
    """
    word = None
    if asked.record is not None:
        word = erasure.word_of(await erasure.read_secret(connection), id_or_none(asked.record) or asked.record)
    rows = await connection.fetch(
        """
        select e.happened_at, e.actor_kind, e.actor, e.organization, e.address, e.action, e.notification_type, e.ids,
               e.detail, o.code
        from audit_event e left join organization o on o.number = e.organization
        where ($1::text is null or e.ids && array[$1::text, $8::text]) and ($2::text is null or e.actor = $2)
          and ($3::text is null or o.code = $3) and ($4::text is null or e.action = $4)
          and ($5::timestamptz is null or e.happened_at >= $5) and ($6::timestamptz is null or e.happened_at < $6)
        order by e.happened_at desc limit $7
        """,
        *asked,
        limit,
        word,
    )
    return [(Event(*values), code) for *values, code in (row.values() for row in rows)]


async def hide_ids(connection: Conn, words: Mapping[str, str]) -> None:
    """Write words in place of ids, within the caller's transaction: who read and wrote what stays, its id does not."""
    await _allow_changes(connection)
    await connection.execute(
        """
        update audit_event e set ids = (
            select array_agg(coalesce(w.word, x.id) order by x.place)
            from unnest(e.ids) with ordinality as x(id, place)
            left join unnest($1::text[], $2::text[]) as w(id, word) on w.id = x.id
        )
        where e.ids && $1::text[]
        """,
        list(words),
        list(words.values()),
    )


async def hide_in_details(connection: Conn, words: Mapping[str, str]) -> None:
    """The same in what people and operators did, wherever such an id stands by itself or before a full stop."""
    await _allow_changes(connection)
    await connection.execute(
        """
        with word as materialized (
            select lower(id) as id, word from unnest($1::text[], $2::text[]) as w(id, word)
        ), told as (
            select e.ctid as place, bool_or(w.id is not null or b.id is not null) as has_some,
                   string_agg(coalesce(w.word, b.word || substr(t.token, length(t.bare) + 1), t.token), ''
                              order by t.number) as detail
            from audit_event e
            cross join lateral (
                select m.found[1] as token, rtrim(m.found[1], '.') as bare, m.number
                from regexp_matches(e.detail, '[A-Za-z0-9._-]+|[^A-Za-z0-9._-]+', 'g') with ordinality m(found, number)
            ) t
            left join word w on w.id = lower(t.token)
            left join word b on b.id = lower(t.bare) and w.id is null
            where e.action = 'did'
            group by e.ctid
        )
        update audit_event e set detail = t.detail from told t where e.ctid = t.place and t.has_some
        """,
        list(words),
        list(words.values()),
    )


async def _allow_changes(connection: Conn) -> None:
    await connection.execute("set local homeroom.collects_audit = 'yes'")


async def collect(connection: Conn, days: int, limit: int) -> int:
    """Forget events that are older than so many days, so many at once; how many."""
    async with connection.transaction():
        await _allow_changes(connection)
        done = await connection.execute(
            """
            delete from audit_event where ctid = any(array(
                select ctid from audit_event where happened_at < now() - make_interval(days => $1) limit $2))
            """,
            days,
            limit,
        )
    return int(done.rpartition(" ")[2])
