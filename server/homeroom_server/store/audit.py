"""Who read and wrote which records, and what people and operators did."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn

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


async def note(connection: Conn, actor_kind: str, actor: str, address: str | None, detail: str) -> None:
    """Somebody did something, now."""
    await connection.execute(
        "insert into audit_event (actor_kind, actor, address, action, detail) values ($1, $2, $3, 'did', $4)",
        actor_kind,
        actor,
        address,
        detail,
    )


async def find(connection: Conn, asked: Question, limit: int) -> list[tuple[Event, str | None]]:
    """The newest first, each with the code of the organization for which it was done."""
    rows = await connection.fetch(
        """
        select e.happened_at, e.actor_kind, e.actor, e.organization, e.address, e.action, e.notification_type, e.ids,
               e.detail, o.code
        from audit_event e left join organization o on o.number = e.organization
        where ($1::text is null or e.ids @> array[$1::text]) and ($2::text is null or e.actor = $2)
          and ($3::text is null or o.code = $3) and ($4::text is null or e.action = $4)
          and ($5::timestamptz is null or e.happened_at >= $5) and ($6::timestamptz is null or e.happened_at < $6)
        order by e.happened_at desc limit $7
        """,
        *asked,
        limit,
    )
    return [(Event(*values), code) for *values, code in (row.values() for row in rows)]


async def collect(connection: Conn, days: int, limit: int) -> int:
    """Forget events that are older than so many days, so many at once; how many."""
    async with connection.transaction():
        await connection.execute("set local homeroom.collects_audit = 'yes'")
        done = await connection.execute(
            """
            delete from audit_event where ctid = any(array(
                select ctid from audit_event where happened_at < now() - make_interval(days => $1) limit $2))
            """,
            days,
            limit,
        )
    return int(done.rpartition(" ")[2])
