"""What does a version hash cost, cold and hot? Streams of 10,000, 100,000 and 1,000,000 records, beside MD5 alone.

One process, with the node's own parts on a PostgreSQL of its own: the figures are a hash's alone, without HTTP.
Then: what do small looks feel while a stream of 1,000,000 records is hashed or loaded, or all streams are hashed?
"""

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import asyncpg
from rich.progress import Progress

from bench.province import Share, build
from bench.rig import report, spread
from homeroom import NotificationType
from homeroom_server.availability import Entry
from homeroom_server.database import open_database
from homeroom_server.hashes.hashing import Hashing, Stream
from homeroom_server.services import Services, open_services
from homeroom_server.settings import Settings
from homeroom_server.store import types

_SCHOOLS = 100
_LARGE, _MIDDLE = NotificationType("CourseEnrolment", 2027), NotificationType("CourseEnrolment", 2026)
_SHARES = [Share(_LARGE, 80), Share(_MIDDLE, 8)]
"""Of 1,250,000: the ministry sees 1,000,000 and 100,000, a school 10,000 of the first."""
_ROUNDS = 7
_PAUSE_SECONDS = 0.002
_IDLE_LOOKS = 500


@dataclass(slots=True)
class Costs:
    """Milliseconds: how long it took, and the CPU time of the node (PostgreSQL's not included)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def of(self, work: Callable[[], Awaitable[object]]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        self.wall.append((time.perf_counter() - wall) * 1000)
        self.cpu.append((time.process_time() - cpu) * 1000)


async def _ids(connection: asyncpg.Connection, stream: Stream) -> list[str]:
    ids: list[str] = await connection.fetchval(
        """
        select array_agg(r.id) from record r where r.notification_type = $1 and ($2::int is null or exists (
            select from viewer v where v.notification_type = $1 and v.id = r.id and v.organization = $2))
        """,
        *stream,
    )
    return ids


async def _change(connection: asyncpg.Connection, stream: Stream, ids: Sequence[str]) -> None:
    """Give records new versions, as a commit would."""
    await connection.execute(
        """
        with moved as (
            update record set version = nextval('core_version') where notification_type = $1 and id = any($2::text[])
            returning id, version
        ), shown as (
            update viewer v set version = m.version from moved m where v.notification_type = $1 and v.id = m.id
        )
        update notification_type set watermark = (select max(version) from moved) where number = $1
        """,
        stream[0],
        ids,
    )


def _hashing(services: Services) -> Hashing:
    return Hashing(services.pool, services.bulk_pool, services.settings)


async def measure(services: Services, connection: asyncpg.Connection, stream: Stream) -> dict[str, Costs]:
    """All that can happen to one stream."""
    hashing = _hashing(services)
    chance, ids = random.Random(1), await _ids(connection, stream)
    costs = {name: Costs() for name in ("PostgreSQL's hash", "load", "1 changed", "1,000 changed", "MD5 alone")}
    for _ in range(_ROUNDS):
        await costs["PostgreSQL's hash"].of(lambda: hashing.prove(stream, None))
    last = await hashing.prove(stream, None)
    for _ in range(3):
        await costs["load"].of(partial(_hashing(services).compute, stream, last))
    await hashing.compute(stream, last)
    for count, name in ((1, "1 changed"), (1_000, "1,000 changed")):
        for _ in range(_ROUNDS):
            await _change(connection, stream, chance.sample(ids, count))
            await costs[name].of(lambda: hashing.compute(stream, last))
    assert (await hashing.compute(stream, last)).md5 == (await hashing.prove(stream, None)).md5
    versions = random.Random(1).randbytes(8 * len(ids))

    async def md5_alone() -> None:
        hashlib.md5(versions, usedforsecurity=False).digest()

    for _ in range(_ROUNDS):
        await costs["MD5 alone"].of(md5_alone)
    return costs


async def looks_meanwhile(services: Services, entry: Entry, work: Awaitable[object] | None) -> list[float]:
    """Milliseconds of small looks, one after the other, for as long as the work takes."""
    spent: list[float] = []
    task = None if work is None else asyncio.ensure_future(work)
    while len(spent) < _IDLE_LOOKS if task is None else not task.done():
        begun = time.perf_counter()
        await services.availability.look((entry,))
        spent.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(_PAUSE_SECONDS)
    return spent


async def run(database_url: str, records: int) -> None:
    """The two tables."""
    with Progress() as progress:
        await build(database_url, records * 100 // 80, progress, _SCHOOLS, _SHARES)
    connection = await asyncpg.connect(database_url)
    school: int = await connection.fetchval("select number from organization where code = 'S.0000'")
    async with open_services(Settings(), database_url) as services:
        rows = {name: await types.find_type(connection, name) for name in (_LARGE, _MIDDLE)}
        large, middle = (row.number for row in rows.values() if row is not None)
        streams: dict[str, Stream] = {
            f"{records // _SCHOOLS:,} (a school)": (large, school),
            f"{records // 10:,}": (middle, None),
            f"{records:,}": (large, None),
        }
        found = {name: await measure(services, connection, stream) for name, stream in streams.items()}
        entry = Entry(_MIDDLE, school, services.feed.seen(_MIDDLE), None, None)
        hashing = _hashing(services)
        last = await hashing.prove((large, None), None)
        schools: list[int] = await connection.fetchval(
            "select array_agg(number) from organization where code like 'S.%'"
        )
        everything = [(large, None), (middle, None), *((large, viewer) for viewer in schools)]
        looks = {
            "nothing else": await looks_meanwhile(services, entry, None),
            "PostgreSQL hashes": await looks_meanwhile(services, entry, hashing.prove((large, None), last)),
            "it is loaded": await looks_meanwhile(services, entry, hashing.compute((large, None), last)),
            f"{len(everything)} first hashes at once": await looks_meanwhile(
                services, entry, asyncio.gather(*(hashing.prove(stream, None) for stream in everything))
            ),
        }
    await connection.close()
    table = [
        [name, kind, spread(costs.wall, 2), spread(costs.cpu, 2), f"{median(costs.cpu) / median(alone.cpu):.1f}"]
        for name, kinds in found.items()
        for kind, costs in kinds.items()
        for alone in [kinds["MD5 alone"]]
    ]
    figures = {name: {k: {"wallMs": c.wall, "cpuMs": c.cpu} for k, c in kinds.items()} for name, kinds in found.items()}
    report("hash", ["records", "what", "ms", "ms of the node's CPU", "of MD5 alone"], table, figures)
    felt = [
        [name, f"{median(ms):.2f}", f"{sorted(ms)[-1 - len(ms) // 100]:.1f}", f"{max(ms):.1f}", str(len(ms))]
        for name, ms in looks.items()
    ]
    report(
        "hash_looks", [f"meanwhile, of {records:,}", "median ms", "99 % ms", "highest ms", "looks"], felt, dict(looks)
    )


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=1_000_000)
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="homeroom-bench-") as folder,
        open_database(Settings(data_dir=folder)) as url,
    ):
        asyncio.run(run(url, given.records))


if __name__ == "__main__":
    main()
