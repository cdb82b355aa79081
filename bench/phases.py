"""What many who hold cost nodes, primary and standby: while all ask, while nothing changes, while changes wake them."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.crowd import Crowd, ready_change
from bench.footprint import QUIET_SHARE, rss_bytes, settled
from bench.holder import Holder
from bench.pair import Meter, Pair
from bench.rig import Rig, serving
from bench.wake import changes
from bench.wakes import centiles, hold, wake

READS = ("primary", "standby")
ASKING, IDLE, WAKING = "asking", "idle", "waking"
PHASES = (ASKING, IDLE, WAKING)
_MEASURED = ("nodes", "primary", "standby")
_FLUSH_SECONDS = 6
"""Nodes write every five seconds what clients were told: it belongs to the phase in which they were."""
_WARMING_PER_NODE = 4

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What each round does."""

    held: int
    changes: int
    idle_seconds: float


def cpu_name(phase: str, whose: str) -> str:
    """The name of a figure: milliseconds of CPU for each who is held."""
    return f"{phase}: CPU ms per held{' and minute' if phase == IDLE else ''}, {whose}"


async def round_of(pair: Pair, crowd: Crowd, holder: Holder, plan: Plan, processes: int, reads: str) -> Figures:
    """The figures of new nodes, so many behind one port, that read at the primary or on the standby."""
    await pair.caught_up()
    options = ["--workers", str(processes)]
    if reads == "standby":
        options += ["--read-database-url", pair.cluster.standby.url]
    with serving(pair.bed, *options) as rig:
        for _ in range(_WARMING_PER_NODE * processes):  # the kernel spreads connections: each node plans its writes
            await (await ready_change(rig, crowd))()
        watch = _Watch(pair, rig, processes)
        await watch.quiet()
        found = {"MB of all processes, nobody held": rss_bytes(rig.pid) / 1e6}
        asked = await _asking(watch, crowd, holder)
        idle = await _idling(watch, plan.idle_seconds)
        few = await _few(watch, crowd, holder, plan.changes)
        woken = await _waking(watch, crowd, holder)
        await holder.close()
    return found | _judged(plan.held, asked, idle, woken) | few | woken.figures


class _Watch:
    """On the nodes and both servers: what they spend, and when they have nothing to do."""

    def __init__(self, pair: Pair, rig: Rig, processes: int) -> None:
        primary, standby = pair.cluster.primary.pid, pair.cluster.standby.pid
        self.pair, self.rig = pair, rig
        self.pids = (rig.pid, primary, standby)
        self.quiet_share = QUIET_SHARE * (processes + 1)
        self.meter = Meter(dict(zip(_MEASURED, self.pids, strict=True)))

    async def quiet(self) -> None:
        """Return once what clients were told has been written, and nobody has much to do."""
        await asyncio.sleep(_FLUSH_SECONDS)
        await settled(*self.pids, quiet_share=self.quiet_share)

    @contextmanager
    def spending(self) -> Iterator["Spent"]:
        """What is spent within the block; known at its end."""
        wal, spent = self.pair.wal_bytes(), Spent({}, {}, 0, 0)
        self.meter.read()
        begun = time.perf_counter()
        yield spent
        spent.seconds = time.perf_counter() - begun
        spent.cpu = self.meter.read()
        spent.wal_bytes = self.pair.wal_bytes() - wal


@dataclass
class Spent:
    """CPU seconds by whose, seconds, the primary's log; and what else was found meanwhile."""

    figures: Figures
    cpu: Mapping[str, float]
    seconds: float
    wal_bytes: int

    def beyond(self, idle: "Spent") -> dict[str, float]:
        """CPU seconds, less what idling takes in that time."""
        share = self.seconds / idle.seconds
        return {whose: spent - share * idle.cpu[whose] for whose, spent in self.cpu.items()}


async def _asking(watch: _Watch, crowd: Crowd, holder: Holder) -> Spent:
    """All connect and ask, with their hashes, nodes that nobody has asked yet."""
    before, asks = rss_bytes(watch.rig.pid), crowd.ask_all()
    with watch.spending() as spent:
        await holder.connect(watch.rig.host, watch.rig.port, len(asks))
        await hold(holder, asks, *watch.pids, quiet_share=watch.quiet_share)
        await watch.quiet()
    grown = rss_bytes(watch.rig.pid) - before
    spent.figures["KB per held, all processes"] = grown / len(asks) / 1_000
    spent.figures["log bytes of all asking, per held"] = spent.wal_bytes / len(asks)
    return spent


async def _idling(watch: _Watch, seconds: float) -> Spent:
    with watch.spending() as spent:
        await asyncio.sleep(seconds)
    return spent


async def _few(watch: _Watch, crowd: Crowd, holder: Holder, number: int) -> Figures:
    """Changes that ten of all are concerned with, one after the other; those who were told ask again at once."""
    with watch.spending() as spent:
        told = await changes(watch.pair.bed, watch.rig, crowd, holder, number)
    p50, p99 = centiles(told.from_sending)
    return {
        "10 of all: p50 answer, ms": p50,
        "10 of all: p99 answer, ms": p99,
        "10 of all: last answer, ms": max(told.from_sending),
        "bare commit + NOTIFY, p50 ms": centiles(told.bare)[0],
        **{f"10 of all: CPU ms a change, {whose}": 1_000 * cpu / number for whose, cpu in spent.cpu.items()},
        "10 of all: log bytes a change": spent.wal_bytes / number,
    }


async def _waking(watch: _Watch, crowd: Crowd, holder: Holder) -> Spent:
    """One public change wakes all; all ask again and are held again."""
    await watch.quiet()
    held = len(crowd.keys)
    change = await ready_change(watch.rig, crowd)
    await holder.expect(held)
    with watch.spending() as spent:
        woken = await wake(holder, held, watch.rig.pid, change)
        await hold(holder, crowd.ask_all(), *watch.pids, quiet_share=watch.quiet_share)
        await watch.quiet()
    spent.figures = {
        "all: p50 answer, ms": woken.p50_ms,
        "all: p99 answer, ms": woken.p99_ms,
        "all: last answer, ms": woken.last_ms,
        "all: answers/s": woken.answers_per_second,
        "all: bytes of an answer": woken.message_bytes,
        "log bytes of a wake of all, per held": spent.wal_bytes / held,
    }
    return spent


def _judged(held: int, asked: Spent, idle: Spent, woken: Spent) -> Figures:
    """Memory, and milliseconds of CPU for each who is held, phase by phase."""
    found = dict(asked.figures)
    cpu = {ASKING: asked.beyond(idle), WAKING: woken.beyond(idle)}
    cpu[IDLE] = {whose: spent * 60 / idle.seconds for whose, spent in idle.cpu.items()}
    for phase in PHASES:
        found |= {cpu_name(phase, whose): 1_000 * spent / held for whose, spent in cpu[phase].items()}
    return found


def differences(rounds: Mapping[str, Sequence[Figures]], phase: str) -> tuple[list[float], list[float]]:
    """The primary's CPU per held in each round, by where the nodes read: at the primary, on the standby."""
    name = cpu_name(phase, "primary")
    at_primary, on_standby = ([found[name] for found in rounds[reads]] for reads in READS)
    return at_primary, on_standby
