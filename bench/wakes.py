"""One change, thousands answered: when, how fast, and what it cost each side. The same for a Core and for its peers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles

from bench.crowd import Crowd, ready_change
from bench.footprint import QUIET_SHARE, cpu_seconds, rss_bytes, settled
from bench.held_connections import Answers, HolderError
from bench.holder import Holder
from bench.rig import Bed, Rig

ASKS_PER_SECOND = 2_000
_ANSWERS_SECONDS = 240
_VISIT_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class Wake:
    """Milliseconds from sending the change to answers; answers a second between the first and the last of them."""

    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    answers_per_second: float
    server_cpu_seconds: float
    loader_cpu_seconds: float
    message_bytes: int

    def figures(self) -> dict[str, float]:
        return asdict(self)


def centiles(values: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    found = quantiles(values, n=100, method="inclusive")
    return found[49], found[98]


async def hold(
    holder: Holder, asks: Sequence[bytes], *pids: int, mark: bytes = b"", quiet_share: float = QUIET_SHARE
) -> None:
    """Ask on every connection and wait until those processes are quiet: all are held, and none was answered."""
    await holder.expect(len(asks), mark=mark)
    await holder.ask(asks, ASKS_PER_SECOND)
    if mark:  # a watch is acknowledged first
        await holder.answers(_ANSWERS_SECONDS)
        await holder.expect(len(asks), mark=mark)
    await settled(*pids, quiet_share=quiet_share)


async def wake(holder: Holder, held: int, pid: int, change: Callable[[], Awaitable[object]]) -> Wake:
    """Send the change and wait until all are answered."""
    before = cpu_seconds(pid)
    begun = time.perf_counter()
    sent = asyncio.create_task(_sent(change))
    answers = await holder.answers(_ANSWERS_SECONDS)
    spent = cpu_seconds(pid) - before
    await sent
    return _judged(answers, begun, held, spent)


async def memory_of_holding(
    holder: Holder, at: tuple[str, int], asks: Sequence[bytes], pid: int, *pids: int, mark: bytes = b""
) -> float:
    """Bytes by which a process grows for each connection that opens, asks and is held; `pids` work for it."""
    await settled(pid, *pids)
    before = rss_bytes(pid)
    await holder.connect(*at, len(asks))
    await hold(holder, asks, pid, *pids, mark=mark)
    return (rss_bytes(pid) - before) / len(asks)


async def hold_warm(bed: Bed, rig: Rig, crowd: Crowd, holder: Holder, count: int) -> float:
    """The first of a crowd ask once and go, and then come to be held: kilobytes for each."""
    await (await ready_change(rig, crowd))()
    at = (rig.host, rig.port)
    await holder.visit(*at, crowd.ask_all(wait_seconds=0)[:count], 50, _VISIT_SECONDS_MAX)
    grown = await memory_of_holding(holder, at, crowd.ask_all()[:count], rig.pid, bed.postgres_pid)
    return grown / 1_000


def _judged(answers: Answers, begun: float, held: int, server_cpu_seconds: float) -> Wake:
    moments = sorted(moment for seen in answers.moments for moment in seen)
    if len(moments) != held or moments[0] < begun:
        early = sum(moment < begun for moment in moments)
        raise HolderError(f"{len(moments)} answers, {early} of them before the change: {answers.bodies[:2]}")
    spent = [(moment - begun) * 1000 for moment in moments]
    p50, p99 = centiles(spent)
    rate = held / (moments[-1] - moments[0])
    size = max(map(len, answers.bodies))
    return Wake(spent[0], p50, p99, spent[-1], rate, server_cpu_seconds, answers.cpu_seconds, size)


async def _sent(change: Callable[[], Awaitable[object]]) -> object:
    return await change()
