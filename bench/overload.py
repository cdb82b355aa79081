"""What becomes of those who are held, and of those who are served, when more calls come than a node can answer?

First the node's capacity is measured, with as many callers as it works for at once. Then calls come at multiples of it,
at random moments, whatever becomes of those before them, beside so many held requests. Each multiple is tried again
with a change in its midst that wakes all who are held.
"""

import argparse
import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context

import uvloop

from bench.callers import Load, Make, call
from bench.crowd import Crowd, gathered, ready_change, schools_csv
from bench.footprint import cpu_seconds
from bench.holder import Holder, holding_process
from bench.loader import Connection, connect, request
from bench.rig import Bed, Rig, allow_many_files, prepared_database, report, serving
from bench.wakes import centiles, hold

_RECORDS, _PER_GET = 5_000, 50
_BODY = {"text": "x" * 250, "grade": "10", "n": 12345}
_CONNECTIONS = 1_000
_AT_CAPACITY = 64
_FEW = 8
_WINDOW_SECONDS = 0.5
_RECOVERY_SECONDS_MAX = 10
_WAKE_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Storm:
    """What came of calls at a multiple of the capacity, in milliseconds.

    `recovered`: seconds after it until a few callers waited no longer than twice what they are used to.
    """

    offered: float
    seconds: float
    answered: list[float]
    refused: list[float]
    others: dict[str, int]
    recovered: float
    node_cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """`usual_ms`: p99 of a few callers. `cpu_seconds_each`: what a call costs the node, working at its capacity."""

    usual_ms: float
    full: Load
    cpu_seconds_each: float
    storms: list[Storm] = field(default_factory=list)
    wakes_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Came:
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def get_page(key: str, _caller: int, _number: int) -> bytes:
    """Some records that nobody else asks for at once."""
    start = random.randrange(_RECORDS - _PER_GET)
    return request(key, "/v1/get/Message", {"records": [{"id": f"m{start + i}"} for i in range(_PER_GET)]})


async def submitted(rig: Rig, school: str) -> None:
    writer = await connect(rig.host, rig.port)
    for start in range(0, _RECORDS, 1_000):
        records = [
            {"id": f"m{start + i}", "expectedVersion": 0, "organization": school, "body": _BODY} for i in range(1_000)
        ]
        await writer.send(request(rig.key, "/v1/submit/Message", {"records": records}))
    writer.close()


def storm(rig: Rig, offered: float, seconds: float, make: Make, usual_ms: float) -> Storm:
    """So many calls a second, from a process of its own; then a few callers until they wait no longer than usual."""
    before = cpu_seconds(rig.pid)
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        found = apart.submit(_run, rig.host, rig.port, offered, seconds, make, usual_ms).result()
    return Storm(**{**asdict(found), "node_cpu_seconds": cpu_seconds(rig.pid) - before})


def _run(host: str, port: int, offered: float, seconds: float, make: Make, usual_ms: float) -> Storm:
    allow_many_files()
    return uvloop.run(_storm((host, port), offered, seconds, lambda: make(0, 0), usual_ms))


async def _storm(
    at: tuple[str, int], offered: float, seconds: float, make: Callable[[], bytes], usual_ms: float
) -> Storm:
    free = deque([await connect(*at) for _ in range(_CONNECTIONS)])
    came = _Came()
    begun = due = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if free:
                calls.create_task(_call(at, free, make(), came))
            else:
                came.others["no connection was free"] += 1
            due += random.expovariate(offered)
        ended = time.perf_counter()
    recovered = await _recovered([await connect(*at) for _ in range(_FEW)], make, usual_ms, ended)
    return Storm(offered, ended - begun, came.answered, came.refused, dict(came.others), recovered)


async def _call(at: tuple[str, int], free: deque[Connection], content: bytes, came: _Came) -> None:
    connection = free.popleft()
    if connection.is_closed:
        connection = await connect(*at)
    sent = time.perf_counter()
    try:
        await connection.send(content)
        came.answered.append((time.perf_counter() - sent) * 1000)
    except RuntimeError as refusal:
        if "HTTP 503" not in str(refusal):
            raise
        came.refused.append((time.perf_counter() - sent) * 1000)
    except OSError:
        came.others["the connection was cut"] += 1
        connection = await connect(*at)
    free.append(connection)


async def _recovered(few: Sequence[Connection], make: Callable[[], bytes], usual_ms: float, ended: float) -> float:
    """Seconds since the storm's end at which a window began in which p99 was within twice the usual one."""
    while (begun := time.perf_counter()) < ended + _RECOVERY_SECONDS_MAX:
        milliseconds: list[float] = []

        async def repeat(connection: Connection, begun: float = begun, waits: list[float] = milliseconds) -> None:
            while (sent := time.perf_counter()) < begun + _WINDOW_SECONDS:
                try:
                    await connection.send(make())
                except RuntimeError:
                    waits.append(float("inf"))
                waits.append((time.perf_counter() - sent) * 1000)

        await asyncio.gather(*map(repeat, few))
        if centiles(milliseconds)[1] <= 2 * usual_ms:
            return begun - ended
    return float("inf")


async def woken_amid(rig: Rig, crowd: Crowd, holder: Holder, bed: Bed, run: Callable[[], Storm]) -> float:
    """Milliseconds, p99, from the answer to a change until all who are held have theirs, while a storm goes on."""
    await hold(holder, crowd.ask_all(), rig.pid, bed.postgres_pid)
    going_on = asyncio.create_task(asyncio.to_thread(run))
    await asyncio.sleep(3)
    while True:
        change = await ready_change(rig, crowd)
        sent = time.perf_counter()
        try:
            await change()
            break
        except RuntimeError:  # refused like everybody who has not been held
            await asyncio.sleep(0.05)
    told = await holder.answers(_WAKE_SECONDS_MAX)
    await going_on
    return centiles([(moment[0] - sent) * 1000 for moment in told.moments])[1]


async def measure(bed: Bed, held: int, multiples: Sequence[float], seconds: float) -> Findings:
    """Everything, on one node."""
    async with holding_process() as holder:
        with serving(bed) as rig:
            crowd = await gathered(rig, held, held // 10)
            await submitted(rig, crowd.schools[0])
        with serving(bed) as rig:
            make = partial(get_page, rig.key)
            call(rig, _FEW, 2, make)
            usual_ms = centiles(call(rig, _FEW, seconds / 2, make).milliseconds)[1]
            before = cpu_seconds(rig.pid)
            full = call(rig, _AT_CAPACITY, seconds, make)
            found = Findings(usual_ms, full, (cpu_seconds(rig.pid) - before) / full.calls)
            await holder.connect(rig.host, rig.port, held)
            for multiple in multiples:
                run = partial(storm, rig, full.calls_per_second * multiple, seconds, make, usual_ms)
                await hold(holder, crowd.ask_all(), rig.pid, bed.postgres_pid)
                found.storms.append(await asyncio.to_thread(run))
                await (await ready_change(rig, crowd))()
                await holder.answers(_WAKE_SECONDS_MAX)  # every one of them was held all the while
                found.wakes_ms.append(await woken_amid(rig, crowd, holder, bed, run))
    return found


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", type=int, default=2_000)
    arguments.add_argument("--multiples", type=float, nargs="+", default=[1, 2, 5])
    arguments.add_argument("--seconds", type=float, default=15, help="of calls at each multiple")
    given = arguments.parse_args()
    with prepared_database(organizations=schools_csv(given.held // 10)) as bed:
        found = uvloop.run(measure(bed, given.held, given.multiples, given.seconds))
    full_ms = centiles(found.full.milliseconds)[1]
    rows = [
        [f"{_FEW} callers", "", "", f"{found.usual_ms:.1f}", "", "", "", "", ""],
        ["capacity", f"{found.full.calls_per_second:,.0f}", "0", f"{full_ms:.1f}", "1.00", "", "", "", ""],
    ]
    for multiple, storm, wake_ms in zip(given.multiples, found.storms, found.wakes_ms, strict=True):
        p99 = centiles(storm.answered)[1]
        cost = (storm.node_cpu_seconds - len(storm.answered) * found.cpu_seconds_each) / max(1, len(storm.refused))
        rows.append(
            [
                f"{multiple:g}x: {storm.offered:,.0f}/s",
                f"{len(storm.answered) / storm.seconds:,.0f}",
                f"{len(storm.refused) / storm.seconds:,.0f}",
                f"{p99:.1f}",
                f"{p99 / full_ms:.2f}",
                f"{cost / found.cpu_seconds_each:.2f}" if storm.refused else "",
                f"{storm.recovered:.1f}",
                f"{wake_ms:,.0f}",
                ", ".join(f"{count} {what}" for what, count in storm.others.items()),
            ]
        )
    columns = ["calls", "answered/s", "refused/s", "p99 ms", "of capacity's", "cost of a refusal", "s to recover"]
    report("overload", [*columns, "p99 ms of a wake", "else"], rows, asdict(found))


if __name__ == "__main__":
    main()
