"""Which history a database is in: the server it runs on, the epochs it has had, what a new one begins with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from homeroom_server.store.connection import Conn
from homeroom_server.store.records import lock_type

STEP = 2**40
"""What a new history leaves out: far more versions than one that was lost can have given out (architecture 3.8)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL. `timeline` 0: a standby, which has none of its own. `has_core`: the schema is there,
    and none from before there were histories.

    `is_half_restored`: a restore into this database has begun and not ended.
    """

    system_identifier: int
    timeline: int
    has_core: bool
    is_half_restored: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """The server on which the history of a database was last known to go on. `fenced`: why it is not to be used."""

    system_identifier: int | None
    timeline: int | None
    fenced: str | None


@dataclass(frozen=True, slots=True)
class History:
    """One epoch. Its versions lie above `begun_above`; `kept`: the highest of each type before it that lives on."""

    epoch: str
    begun_at: datetime
    reason: str
    begun_above: int
    kept: Mapping[str, int]


async def read_server(connection: Conn) -> Server:
    """The server at the other end. What a promotion makes is asked of the log: the control file learns of it later."""
    row = await connection.fetchrow(
        """
        select (select system_identifier from pg_control_system()) as system_identifier,
               case when pg_is_in_recovery() then '0'
                    else left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline,
               to_regclass('core') is not null and to_regclass('history') is not null as has_core,
               to_regnamespace('homeroom_restoring') is not null as is_half_restored
        """
    )
    assert row is not None, "a query without tables has one row"
    return Server(row["system_identifier"], int(row["timeline"], 16), row["has_core"], row["is_half_restored"])


async def read_origin(connection: Conn) -> Origin:
    row = await connection.fetchrow("select system_identifier, timeline, fenced from core")
    assert row is not None, "core has one row"
    return Origin(**row)


async def read_histories(connection: Conn) -> list[History]:
    """All of them, the one that goes on last."""
    rows = await connection.fetch(
        "select epoch::text, begun_at, reason, begun_above, kept from history order by begun_above, begun_at"
    )
    return [History(**{**row, "kept": orjson.loads(row["kept"])}) for row in rows]


async def settle(connection: Conn, server: Server) -> str | None:
    """Begin a new history if the database has come to another server or timeline; its epoch, None if it has not."""
    async with connection.transaction():
        await connection.execute("select from core for update")  # who comes second finds it done
        origin = await read_origin(connection)
        if (origin.system_identifier, origin.timeline) == (server.system_identifier, server.timeline):
            return None
        same = origin.system_identifier == server.system_identifier
        reason = f"promoted on timeline {server.timeline}" if same else "restored on another server"
        return await begin(connection, reason, server)


async def begin(connection: Conn, reason: str, server: Server, above: int = 0) -> str:
    """A new history, within a transaction of the caller's: its epoch. Its versions lie above `above` in any case.

    The locks of all types keep writers out: none commits a version that was drawn before under the new epoch.
    """
    for number in await connection.fetchval("select array_agg(number order by number) from notification_type") or ():
        await lock_type(connection, number)
    return str(
        await connection.fetchval(
            """
            with before as materialized (
                select greatest(greatest(s.last_value, (select max(watermark) from notification_type)) + $2::bigint,
                                $5::bigint) as counter,
                       coalesce((select json_object_agg(r.name || coalesce('.' || nullif(n.school_year, 0), ''),
                                                        n.watermark)
                                 from notification_type n join record_type r on r.number = n.record_type), '{}') as kept
                from core_version s
            ), moved as (
                update notification_type set watermark = (select counter from before)
            ), begun as (
                insert into history (reason, begun_above, kept)
                select $1, setval('core_version', counter), kept from before
                returning epoch
            )
            update core set epoch = begun.epoch, system_identifier = $3, timeline = $4, fenced = null from begun
            returning core.epoch
            """,
            reason,
            STEP,
            server.system_identifier,
            server.timeline,
            above,
        )
    )


async def fence(connection: Conn, why: str) -> None:
    """Let nobody use this database any more: another server has taken over its history."""
    await connection.execute("update core set fenced = $1", why)
    await connection.execute(
        """
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name like 'homeroom%' and datname = current_database() and pid <> pg_backend_pid()
        """
    )
