"""What `homeroom doctor` reads of a PostgreSQL: how the server is set up, and how the Core in it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import uuid4

import anyio

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A PostgreSQL as it is set up and runs.

    `data_directory`: empty if this account may not know it. `oldest_transaction_age`: transactions since the row that
    was frozen longest ago. `longest_transaction_seconds`: of the one that is open for longest.
    """

    version: int
    is_standby: bool
    clock: datetime
    settings: Mapping[str, str]
    data_directory: str
    connections: int
    oldest_transaction_age: int
    longest_transaction_seconds: float
    prepared_transactions: int


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A replication slot that nobody uses, and the bytes of WAL that are kept for it."""

    name: str
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class WorkRow:
    """What waits to be computed. `overdue_seconds`: since when the oldest status trigger is due."""

    triggers: int
    overdue_seconds: float
    students: int
    access_day: date | None


_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum", "default_transaction_read_only")


async def read_server(connection: Conn) -> ServerRow:
    row = await connection.fetchrow(
        """
        select current_setting('server_version_num')::int as version, pg_is_in_recovery() as is_standby,
               clock_timestamp() as clock,
               (select array_agg((name, setting)) from pg_settings where name = any($1::text[])) as settings,
               coalesce((select setting from pg_settings where name = 'data_directory'), '') as data_directory,
               (select count(*) from pg_stat_activity where backend_type = 'client backend')::int as connections,
               (select max(greatest(age(datfrozenxid), mxid_age(datminmxid))) from pg_database)
                   as oldest_transaction_age,
               coalesce((select extract(epoch from max(clock_timestamp() - xact_start)) from pg_stat_activity
                         where backend_type = 'client backend'), 0)::float as longest_transaction_seconds,
               (select count(*) from pg_prepared_xacts where prepared < now() - interval '1 hour')::int
                   as prepared_transactions
        """,
        _SETTINGS,
    )
    assert row is not None, "a query without tables has one row"
    return ServerRow(**{**row, "settings": dict(row["settings"])})


async def read_idle_slots(connection: Conn) -> list[SlotRow]:
    """Those of a primary."""
    rows = await connection.fetch(
        """
        select slot_name as name, coalesce(pg_current_wal_lsn() - restart_lsn, 0)::bigint as kept_bytes
        from pg_replication_slots where not active and wal_status is distinct from 'lost' order by 1
        """
    )
    return [SlotRow(**row) for row in rows]


async def written_up_to(connection: Conn) -> str:
    """Where the log of a primary ends."""
    return str(await connection.fetchval("select pg_current_wal_lsn()::text"))


async def bytes_behind(connection: Conn, place: str) -> int:
    """How much of the log up to that place a standby does not show yet."""
    return int(
        await connection.fetchval(
            "select greatest($1::text::pg_lsn - coalesce(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint", place
        )
    )


async def read_schema_version(connection: Conn) -> int:
    return int(await connection.fetchval("select schema_version from core"))


async def read_types_with_records(connection: Conn) -> list[str]:
    """Names of the types of which there are records."""
    rows = await connection.fetch(
        """
        select distinct r.name from record_type r join notification_type n on n.record_type = r.number
        where exists (select from record where notification_type = n.number) order by 1
        """
    )
    return [row["name"] for row in rows]


async def read_work(connection: Conn) -> WorkRow:
    row = await connection.fetchrow(
        """
        select count(status_trigger.id)::int as triggers,
               coalesce(extract(epoch from now() - min(due_at)), 0)::float as overdue_seconds,
               (select count(*)::int from access_trigger t
                where due_on <= coalesce(c.access_day, '-infinity') and leased_until < now()) as students,
               c.access_day
        from core c left join status_trigger on due_at <= now() group by c.access_day
        """
    )
    assert row is not None, "core has one row"
    return WorkRow(**row)


async def read_last_backup_at(connection: Conn) -> datetime | None:
    """When a backup was last noted as whole, by the database's clock."""
    at: datetime | None = await connection.fetchval(
        "select max(happened_at) from audit_event where action = 'did' and starts_with(detail, 'made the backup ')"
    )
    return at


async def hears(listening: Conn, speaking: Conn, seconds: float) -> bool:
    """Whether what one connection announces comes to the other, within so long."""
    channel, heard = f"homeroom_doctor_{uuid4().hex}", anyio.Event()
    await listening.add_listener(channel, lambda *_: heard.set())
    await speaking.execute("select pg_notify($1, '')", channel)
    with anyio.move_on_after(seconds):
        await heard.wait()
    return heard.is_set()
