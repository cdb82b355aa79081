"""The composition root: everything a node is made of, opened and closed in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import anyio
import asyncpg
from anyio.abc import TaskGroup

from homeroom_merge.store.connection import pooled
from homeroom_server import collection, database
from homeroom_server.access.worker import AccessWorker
from homeroom_server.admission import Admission
from homeroom_server.audit import Audit
from homeroom_server.auth import Directory
from homeroom_server.availability import Availability
from homeroom_server.bodies import Bodies
from homeroom_server.catalogue import Catalogue, load_catalogue
from homeroom_server.changes import Moved
from homeroom_server.client_streams import ClientStreams
from homeroom_server.client_traffic import ClientTraffic
from homeroom_server.committer import Committer
from homeroom_server.edge.door import Door
from homeroom_server.edge.turns import Turns
from homeroom_server.feed import Feed
from homeroom_server.hashes.hashing import Hashing
from homeroom_server.hashes.version_hash import VersionHashes
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.held.waiters import Waiters
from homeroom_server.key_uses import KeyUses
from homeroom_server.peers import Peers, networks
from homeroom_server.primary import Primary
from homeroom_server.pulse import Pulse, name_of_node
from homeroom_server.rates import Rates
from homeroom_server.reading import Connections, Reading, open_reading
from homeroom_server.settings import Settings
from homeroom_server.single_flight import Paced, SingleFlight
from homeroom_server.status.processor import Processor
from homeroom_server.tally import Tally
from homeroom_server.tracing.spans import NoTraces, Traces
from homeroom_server.trouble import Troubles

_LOOK_FOR_KEYS_SECONDS = 0.05
"""Between two looks for keys that a node does not know: so seldom, however many of them are sent."""


@dataclass(frozen=True, slots=True)
class Services:
    """What endpoints are given."""

    settings: Settings
    catalogue: Catalogue
    time_zone: ZoneInfo
    reading: Reading
    pool: Connections
    bulk_pool: Connections
    console_pool: Connections
    merges_pool: asyncpg.Pool
    """Whose connections have the tables of merges, where these are kept in the Core's database."""
    primary: Primary
    bulk_readers: Admission
    flights: SingleFlight
    primary_flights: SingleFlight
    directory: Directory
    waiters: Waiters
    feed: Feed
    hashes: VersionHashes
    availability: Availability
    client_streams: ClientStreams
    audit: Audit
    client_traffic: ClientTraffic
    key_uses: KeyUses
    peers: Peers
    tally: Tally
    troubles: Troubles
    rates: Rates
    bodies: Bodies
    door: Door
    turns: Turns
    write_pool: asyncpg.Pool
    committer: Committer
    processor: Processor
    access_worker: AccessWorker
    pulse: Pulse
    traces: Traces


@asynccontextmanager
async def open_services(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    """A working node on a database that has the schema.

    Raises CatalogueError, or what the database says if it cannot be reached.
    """
    catalogue = load_catalogue(settings.catalogue)
    async with _opened(settings, database_url) as opened:
        services = _composed(settings, catalogue, opened)
        await _start(services, opened.tasks)
        yield services


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is closed when the node ends, and what it was opened with."""

    primary: Primary
    bookmarks: Bookmarks
    traces: Traces
    reading: Reading
    write_pool: asyncpg.Pool
    merges_pool: asyncpg.Pool
    tasks: TaskGroup


@asynccontextmanager
async def _opened(settings: Settings, database_url: str) -> AsyncIterator[_Opened]:
    primary, bookmarks = Primary(database_url), Bookmarks()
    async with (
        _open_traces(settings) as traces,
        open_reading(primary, settings, bookmarks) as reading,
        database.open_write_pool(primary.connect, settings) as write_pool,
        pooled(database_url, settings.console_connections_max, primary.connect) as merges_pool,
        anyio.create_task_group() as tasks,
    ):
        primary.moved.append(merges_pool.expire_connections)
        yield _Opened(primary, bookmarks, traces, reading, write_pool, merges_pool, tasks)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _open_traces(settings: Settings) -> AsyncIterator[Traces]:
    """The library is loaded only where somebody takes what it sends."""
    if not settings.traces_url:
        yield NoTraces()
        return
    from homeroom_server.tracing.sending import sending

    async with sending(settings.traces_url, name_of_node(settings)) as traces:
        yield traces


def _composed(settings: Settings, catalogue: Catalogue, opened: _Opened) -> Services:
    reading, bookmarks, write_pool, tasks = opened.reading, opened.bookmarks, opened.write_pool, opened.tasks
    tally, troubles = Tally(), Troubles()
    peers = Peers(networks(settings.proxies), settings.client_certificate_header)
    pool, bulk_pool = reading.connections("usual"), reading.connections("bulk")
    flights = SingleFlight(pool, tasks)
    primary_flights = SingleFlight(reading.connections_to_primary("usual"), tasks)
    looks = SingleFlight(Paced(reading.connections_to_primary("usual"), _LOOK_FOR_KEYS_SECONDS), tasks)
    directory = Directory(primary_flights, looks)
    client_traffic = ClientTraffic(write_pool)
    waiters = Waiters(directory, bookmarks, client_traffic, settings, tally)
    hashes = VersionHashes(Hashing(pool, bulk_pool, settings), tasks)
    feed = Feed(reading, waiters, bookmarks, hashes, directory, settings.feed_poll_seconds, opened.traces)
    committer, processor, access_worker = _writers(settings, catalogue, opened, feed, tally, troubles)
    return Services(
        settings,
        catalogue,
        ZoneInfo(settings.time_zone),
        reading,
        pool,
        bulk_pool,
        reading.connections("console"),
        opened.merges_pool,
        opened.primary,
        Admission("bulk_readers_max", settings.bulk_readers_max, tally),
        flights,
        primary_flights,
        directory,
        waiters,
        feed,
        hashes,
        Availability(flights, hashes, bookmarks),
        ClientStreams(write_pool),
        Audit(write_pool),
        client_traffic,
        KeyUses(write_pool, directory),
        peers,
        tally,
        troubles,
        Rates(settings.calls_per_client_per_second_max, tally),
        Bodies(settings.bodies_bytes_max, tally),
        Door(settings, peers, tally),
        Turns(settings, tally),
        write_pool,
        committer,
        processor,
        access_worker,
        Pulse(write_pool, reading, bookmarks, waiters, committer, settings, troubles),
        opened.traces,
    )


def _writers(
    settings: Settings, catalogue: Catalogue, opened: _Opened, feed: Feed, tally: Tally, troubles: Troubles
) -> tuple[Committer, Processor, AccessWorker]:
    """Those who write; what one of them commits may be work for another."""
    write_pool, traces = opened.write_pool, opened.traces

    async def announce(moved: Moved) -> None:
        feed.signal(moved)
        if moved.triggered:
            processor.wake()
        if moved.access_triggered:
            access_worker.wake()
        await feed.announce(moved)

    committer = Committer(write_pool, opened.tasks, announce, catalogue, settings, tally, troubles, traces)
    processor = Processor(write_pool, committer, catalogue, settings, traces)
    access_worker = AccessWorker(write_pool, catalogue, settings, announce, traces)
    return committer, processor, access_worker


async def _start(services: Services, tasks: TaskGroup) -> None:
    """Set a node's work going; what is held and told is true from its return on."""
    settings, primary = services.settings, services.primary
    await services.reading.start()
    await services.feed.start()
    tasks.start_soon(services.reading.run)
    tasks.start_soon(primary.watch, settings.primary_look_seconds)
    tasks.start_soon(services.feed.run, lambda: database.connect_to_listen(primary))
    tasks.start_soon(services.processor.run)
    tasks.start_soon(services.access_worker.run)
    tasks.start_soon(collection.run, services.write_pool, settings)
    tasks.start_soon(services.client_streams.run)
    tasks.start_soon(services.audit.run)
    tasks.start_soon(services.client_traffic.run)
    tasks.start_soon(services.pulse.run)
    tasks.start_soon(services.key_uses.run)
