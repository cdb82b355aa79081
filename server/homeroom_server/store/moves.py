"""Organisations that have moved in the tree, and how far their streams have been walked."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Move:
    """Records of one type that an organisation which has moved sees: up to `until`, above `after`."""

    organization: int
    notification_type: int
    record_type: int
    school_year: int
    after: int
    until: int | None


async def note_moves(connection: Conn, codes: Sequence[str]) -> None:
    """These organisations have another lineage: everything that they see is to be looked at."""
    await connection.execute(
        """
        insert into organization_move (organization, notification_type)
        select o.number, n.number from organization o cross join notification_type n where o.code = any($1::text[])
        on conflict (organization, notification_type) do update set after = 0, until = null
        """,
        codes,
    )


async def claim_move(connection: Conn) -> Move | None:
    """One that no other worker is at, kept to the end of the transaction."""
    row = await connection.fetchrow(
        """
        select m.organization, m.notification_type, n.record_type, n.school_year, m.after, m.until
        from organization_move m join notification_type n on n.number = m.notification_type
        order by m.organization, m.notification_type limit 1
        for update of m skip locked
        """
    )
    return None if row is None else Move(**row)


async def next_of_move(connection: Conn, move: Move, limit: int) -> tuple[int, list[tuple[int, str]]]:
    """(`until`, the next (version, id) of its stream); under the type's lock, so that none slips in below `until`."""
    until: int = move.until or await connection.fetchval(
        "select watermark from notification_type where number = $1", move.notification_type
    )
    rows = await connection.fetch(
        """
        select version, id from viewer
        where notification_type = $1 and organization = $2 and version > $3 and version <= $4 and state <> 'revoked'
        order by version limit $5
        """,
        move.notification_type,
        move.organization,
        move.after,
        until,
        limit,
    )
    return until, [(row["version"], row["id"]) for row in rows]


async def note_move(connection: Conn, move: Move, after: int | None, until: int) -> None:
    """How far it has come; `after` None: it is done."""
    if after is None:
        await connection.execute(
            "delete from organization_move where organization = $1 and notification_type = $2",
            move.organization,
            move.notification_type,
        )
    else:
        await connection.execute(
            "update organization_move set after = $3, until = $4 where organization = $1 and notification_type = $2",
            move.organization,
            move.notification_type,
            after,
            until,
        )
