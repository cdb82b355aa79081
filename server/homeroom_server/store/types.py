"""Numbers of types, their watermarks, and the history that the database is in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from homeroom.protocol import NotificationType
from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class TypeRow:
    """A notification type as the database knows it; versions as of the snapshot it was read in."""

    notification_type: NotificationType
    number: int
    record_type: int
    watermark: int
    horizon: int


class Standing(NamedTuple):
    """What numbers of types, and what is known of erased students, hold for: one history, and so many erasures."""

    epoch: str
    erasures: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where the database stands: everything that the slow poll compares."""

    epoch: str
    directory_version: int
    types: tuple[TypeRow, ...]


def _type_row(number: int, record_type: int, name: str, school_year: int, watermark: int, horizon: int) -> TypeRow:
    return TypeRow(NotificationType(name, school_year or None), number, record_type, watermark, horizon)


async def read_position(connection: Conn) -> Position:
    """Epoch, directory version and every type's watermark, from one snapshot."""
    row = await connection.fetchrow(
        """
        select c.epoch::text, c.directory_version,
               coalesce((select array_agg((n.number, n.record_type, r.name, n.school_year, n.watermark, n.horizon))
                         from notification_type n join record_type r on r.number = n.record_type), '{}') as types
        from core c
        """
    )
    assert row is not None, "the schema has been applied"
    return Position(row["epoch"], row["directory_version"], tuple(_type_row(*t) for t in row["types"]))


async def read_epoch(connection: Conn) -> str:
    return str(await connection.fetchval("select epoch from core"))


async def read_standing(connection: Conn) -> Standing:
    row = await connection.fetchrow("select epoch::text, erasures from core")
    assert row is not None, "core has one row"
    return Standing(**row)


async def read_counter(connection: Conn) -> int:
    """The highest version that was ever given out, or close above it on a standby."""
    return int(await connection.fetchval("select last_value from core_version"))


async def find_type(connection: Conn, wanted: NotificationType) -> TypeRow | None:
    """The row of a type, or None as long as no record of it was ever accepted."""
    row = await connection.fetchrow(
        """
        select n.number, n.record_type, r.name, n.school_year, n.watermark, n.horizon
        from notification_type n join record_type r on r.number = n.record_type
        where r.name = $1 and n.school_year = $2
        """,
        wanted.name,
        wanted.school_year or 0,
    )
    return None if row is None else _type_row(*row.values())


async def read_types(connection: Conn, numbers: Sequence[int]) -> dict[int, TypeRow]:
    """The rows of types, by number."""
    rows = await connection.fetch(
        """
        select n.number, n.record_type, r.name, n.school_year, n.watermark, n.horizon
        from notification_type n join record_type r on r.number = n.record_type where n.number = any($1::int[])
        """,
        numbers,
    )
    return {row["number"]: _type_row(*row.values()) for row in rows}


async def ensure_type(connection: Conn, wanted: NotificationType) -> TypeRow:
    """The row of a type, made if need be. Two nodes may race: both get the same."""
    await connection.execute("insert into record_type (name) values ($1) on conflict do nothing", wanted.name)
    await connection.execute(
        """
        insert into notification_type (record_type, school_year)
        select number, $2 from record_type where name = $1
        on conflict do nothing
        """,
        wanted.name,
        wanted.school_year or 0,
    )
    row = await find_type(connection, wanted)
    assert row is not None, "just ensured"
    return row


async def ensure_record_types(connection: Conn, names: list[str]) -> dict[str, int]:
    """The number of every named type, made if need be."""
    await connection.execute(
        "insert into record_type (name) select * from unnest($1::text[]) on conflict do nothing", names
    )
    return await read_record_types(connection)


async def read_record_types(connection: Conn) -> dict[str, int]:
    """The number of every type that the database knows, by name."""
    rows = await connection.fetch("select name, number from record_type")
    return {row["name"]: row["number"] for row in rows}
