"""Do first loads hurt those who are held? Wakes of 200 held clients, alone and beside 50 snapshots at once."""

import argparse
import asyncio
import time
from statistics import quantiles
from typing import Any
from uuid import uuid4

import orjson
import psutil
from rich.progress import Progress

from bench.loader import Connection, connect, request
from bench.province import build, organizations
from bench.rig import Rig, report, running_node, spread
from homeroom import Client, RetryLater

_LOADED = "CourseEnrolment.2027"
_HELD_TYPE = "DiplomaExam.2027"
_HELD = 200
_FIRST_LOADS = 50


async def wakes(rig: Rig, changes: int) -> list[float]:
    """Milliseconds from sending each change to each held client's answer."""
    held = [await connect(rig.host, rig.port) for _ in range(_HELD)]
    writer = await connect(rig.host, rig.port)
    spent: list[float] = []
    cursor = await _change(rig, writer)
    for _ in range(changes):
        asked = {"waitSeconds": 300, "types": [{"notificationType": _HELD_TYPE, "maxCoreVersion": cursor}]}
        ask = request(rig.key, "/v1/is-data-available", asked)
        moments: list[float] = []

        async def hold(connection: Connection, sent: bytes, seen: list[float]) -> None:
            await connection.send(sent)
            seen.append(time.perf_counter())

        waiting = [asyncio.create_task(hold(connection, ask, moments)) for connection in held]
        await asyncio.sleep(0.5)
        begun = time.perf_counter()
        cursor = await _change(rig, writer)
        await asyncio.gather(*waiting)
        spent += [(moment - begun) * 1000 for moment in moments]
    for connection in [*held, writer]:
        connection.close()
    return spent


async def _change(rig: Rig, writer: Connection) -> int:
    record = {"id": str(uuid4()), "expectedVersion": 0, "body": {}}
    answer = await writer.send(request(rig.key, f"/v1/submit/{_HELD_TYPE}", {"records": [record]}))
    version: int = orjson.loads(answer)["results"][0]["coreVersion"]
    return version


async def first_load(rig: Rig, stop: asyncio.Event, counts: dict[str, int]) -> None:
    """Snapshot after snapshot until told to stop; who is turned away comes back as he is told."""
    async with Client(f"http://{rig.host}:{rig.port}", rig.key, "O.1") as client:
        while not stop.is_set():
            try:
                async for line in client.snapshot(_LOADED):
                    counts["records"] += "id" in line
                    counts["finished"] += "bookmark" in line
                    if stop.is_set():
                        return
            except RetryLater as later:
                counts["refused"] += 1
                await asyncio.sleep(later.retry_after_seconds or 1)


async def measure(rig: Rig, records: int, changes: int) -> None:
    """The table."""
    with Progress() as progress:
        await build(rig.database_url, records, progress, max(1, records // 4_000))
    node = psutil.Process(rig.pid)
    before = node.memory_info().rss
    alone = await wakes(rig, changes)
    stop, counts = asyncio.Event(), {"records": 0, "finished": 0, "refused": 0}
    loads = [asyncio.create_task(first_load(rig, stop, counts)) for _ in range(_FIRST_LOADS)]
    await asyncio.sleep(2)
    begun, already = time.perf_counter(), counts["records"]
    beside = await wakes(rig, changes)
    rate = (counts["records"] - already) / (time.perf_counter() - begun)
    after = node.memory_info().rss
    stop.set()
    await asyncio.gather(*loads)
    p99 = [quantiles(found, n=100)[98] for found in (alone, beside)]
    rows: list[list[Any]] = [
        ["wakes alone, ms", spread(alone, 1), f"p99 {p99[0]:.1f}"],
        [f"wakes beside {_FIRST_LOADS} first loads, ms", spread(beside, 1), f"p99 {p99[1]:.1f}"],
        ["p99 beside / alone", f"{p99[1] / p99[0]:.2f}", ""],
        ["records streamed meanwhile", f"{rate:,.0f} a second", f"{counts['refused']} turned away for now"],
        ["memory of the node", f"{before / 2**20:.0f} MiB before", f"{after / 2**20:.0f} MiB meanwhile"],
    ]
    figures = {"alone": alone, "beside": beside, "p99": p99, "streamedPerSecond": rate, "rss": [before, after]} | counts
    report("first_loads", ["what", "median (lowest-highest)", ""], rows, figures)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=500_000)
    arguments.add_argument("--changes", type=int, default=20)
    given = arguments.parse_args()
    with running_node("alberta", organizations(max(1, given.records // 4_000))) as rig:
        asyncio.run(measure(rig, given.records, given.changes))


if __name__ == "__main__":
    main()
