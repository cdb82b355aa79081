"""Do first loads hurt those who are held? Wakes of 200 held clients, alone and beside 50 snapshots at once."""

import argparse
import asyncio
import time
from multiprocessing import Manager, Process
from multiprocessing.managers import DictProxy
from statistics import quantiles
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil
from rich.progress import Progress

from bench.loader import Connection, connect, request
from bench.province import build, organizations
from bench.rig import Rig, report, running_node, spread

_LOADED = "CourseEnrolment.2027"
_HELD_TYPE = "DiplomaExam.2027"
Counts = dict[str, int]

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


async def first_load(rig: Rig, counts: Counts) -> None:
    """Snapshot after snapshot, bytes only; who is turned away comes back as he is told."""
    headers = {"Authorization": f"Bearer {rig.key}", "Organization": "O.1", "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=f"http://{rig.host}:{rig.port}", headers=headers, timeout=60) as client:
        while not counts["stop"]:
            async with client.stream("GET", f"/v1/snapshot/{_LOADED}") as answer:
                if answer.status_code == 503:
                    counts["refused"] += 1
                    await asyncio.sleep(int(answer.headers["Retry-After"]))
                    continue
                async for chunk in answer.aiter_raw():
                    counts["records"] += chunk.count(b"\n")
                    if counts["stop"]:
                        return


def load_all(rig: Rig, shared: "DictProxy[str, int]") -> None:
    """The first loads, in a process of their own: so that they do not slow the clock that the wakes are read on."""

    async def run() -> None:
        counts: Counts = {"records": 0, "refused": 0, "stop": 0}
        loads = asyncio.gather(*(first_load(rig, counts) for _ in range(_FIRST_LOADS)))
        while not shared["stop"]:
            await asyncio.sleep(0.2)
            shared.update({"records": counts["records"], "refused": counts["refused"]})
        counts["stop"] = 1
        await loads

    asyncio.run(run())


async def measure(rig: Rig, records: int, changes: int) -> None:
    """The table."""
    with Progress() as progress:
        await build(rig.database_url, records, progress, max(1, records // 4_000))
    node = psutil.Process(rig.pid)
    before = node.memory_info().rss
    alone = await wakes(rig, changes)
    with Manager() as manager:
        shared = manager.dict({"records": 0, "refused": 0, "stop": 0})
        loads = Process(target=load_all, args=(rig, shared))
        loads.start()
        await asyncio.sleep(3)
        begun, already = time.perf_counter(), shared["records"]
        beside = await wakes(rig, changes)
        rate = (shared["records"] - already) / (time.perf_counter() - begun)
        after = node.memory_info().rss
        shared["stop"] = 1
        await asyncio.to_thread(loads.join, 30)
        refused = shared["refused"]
    p99 = [quantiles(found, n=100)[98] for found in (alone, beside)]
    rows: list[list[Any]] = [
        ["wakes alone, ms", spread(alone, 1), f"p99 {p99[0]:.1f}"],
        [f"wakes beside {_FIRST_LOADS} first loads, ms", spread(beside, 1), f"p99 {p99[1]:.1f}"],
        ["p99 beside / alone", f"{p99[1] / p99[0]:.2f}", ""],
        ["records streamed meanwhile", f"{rate:,.0f} a second", f"{refused} turned away for now"],
        ["memory of the node", f"{before / 2**20:.0f} MiB before", f"{after / 2**20:.0f} MiB meanwhile"],
    ]
    figures = {
        "alone": alone,
        "beside": beside,
        "p99": p99,
        "streamedPerSecond": rate,
        "rss": [before, after],
        "refused": refused,
    }
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
