"""How fast does a school's first load get into its file? Beside it: what reading alone and writing alone take.

The node, PostgreSQL and the replica share the machine. Rows have about 300 bytes.
"""

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import psutil
from rich.progress import Progress

from bench.province import Share, build, organizations
from bench.rig import Rig, report, running_node, spread
from homeroom import Client, NotificationType, Replica
from homeroom.replica.sqlite.tables import Table, added

_TYPE = "CourseEnrolment.2027"
_TIMES = 3
_ROWS_AT_ONCE = 6_000

Row = tuple[Any, ...]


async def read_alone(url: str) -> tuple[float, list[Row]]:
    """Seconds that asyncpg takes to read the rows in the order of their versions; and the rows."""
    connection = await asyncpg.connect(url)
    begun = time.perf_counter()
    async with connection.transaction():
        query = (
            "select r.id, r.version, to_char(r.changed_at, 'YYYY'), false, null, r.body::text, 1 from record r"
            " join notification_type n on n.number = r.notification_type join record_type t on t.number = n.record_type"
            " where t.name = 'CourseEnrolment' and n.school_year = 2027 and not r.deleted order by r.version"
        )
        rows = [tuple(row) async for row in connection.cursor(query, prefetch=_ROWS_AT_ONCE)]
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds, rows


def write_alone(rows: list[Row]) -> float:
    """Seconds that sqlite3 takes to write them into the same table, indexes built last."""
    table = Table.of(_TYPE)
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(f"{folder}/alone.db", isolation_level=None)
        for pragma in ("page_size = 8192", "journal_mode = wal", "synchronous = normal", "cache_size = -32768"):
            db.execute(f"pragma {pragma}")
        db.execute(table.create)
        begun = time.perf_counter()
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            db.execute("begin")
            db.executemany(added(_TYPE, 1), rows[start : start + _ROWS_AT_ONCE])
            db.execute("commit")
        for index in table.index:
            db.execute(index)
        seconds = time.perf_counter() - begun
        db.close()
    return seconds


def load(rig: Rig) -> dict[str, float]:
    """A first load in a process of its own: seconds from opening the file to being proved in step, peak memory."""
    command = [sys.executable, "-m", "bench.first_load", "--child", f"http://{rig.host}:{rig.port}", rig.key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _child(url: str, key: str) -> None:
    peak = 0
    me, over = psutil.Process(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, me.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "replica.db")
        begun = time.perf_counter()
        async with Client(url, key, "O.1") as client, Replica(path, client, [_TYPE], follow=False) as replica:
            await replica.sync()
            seconds = time.perf_counter() - begun
            (kept,) = await replica.status()
    over.set()
    watching.join()
    sys.stdout.write(json.dumps({"seconds": seconds, "rss": peak, "records": kept.live}))


def measure(records: int) -> Iterator[tuple[Rig, int]]:
    """A node with so many records of one type."""
    with running_node("alberta", organizations(250)) as rig:
        with Progress() as progress:
            share = Share(NotificationType("CourseEnrolment", 2027), 100)
            asyncio.run(build(rig.database_url, records, progress, 250, [share]))
        yield rig, records


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--child", nargs=2, metavar=("URL", "KEY"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        asyncio.run(_child(*given.child))
        return
    peaks = {}
    for rig, records in measure(given.records // 4):
        peaks[records] = load(rig)["rss"]
    for rig, records in measure(given.records):
        found: dict[str, list[float]] = {"read": [], "write": [], "load": [], "rss": []}
        for _ in range(_TIMES):
            seconds, rows = asyncio.run(read_alone(rig.database_url))
            found["read"].append(len(rows) / seconds)
            found["write"].append(len(rows) / write_alone(rows))
            del rows
            loaded = load(rig)
            assert loaded["records"] == records, "every record arrived"
            found["load"].append(records / loaded["seconds"])
            found["rss"].append(loaded["rss"])
        peaks[records] = max(found["rss"])
    slower = min(median(found["read"]), median(found["write"]))
    rows_shown = [
        ["asyncpg alone reads, rows/s", spread(found["read"])],
        ["sqlite3 alone writes, rows/s", spread(found["write"])],
        ["first load into the file, rows/s", spread(found["load"])],
        ["of what the slower reference allows", f"{median(found['load']) / slower:.2f}"],
        *([f"peak memory at {count:,} records", f"{rss / 2**20:.0f} MiB"] for count, rss in peaks.items()),
    ]
    report("first_load", ["what", "median (lowest-highest)"], rows_shown, {**found, "peaks": peaks})


if __name__ == "__main__":
    main()
