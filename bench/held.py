"""What does it cost to hold 18,000 requests, how fast are they all woken, and how do others do in the same run?

Each held request has a key of its own and asks four types with their hashes. One public record changes: all wake.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import uvloop

from bench import over_tls
from bench.crowd import PUBLIC, Crowd, entry, gathered, ready_change, schools_csv
from bench.footprint import cpu_seconds, shared_bytes
from bench.holder import Holder, holding_process
from bench.loader import request
from bench.peers import MissingPeerError, Opened, durable_streams, etcd, nchan, plain_starlette
from bench.rig import Bed, Rig, prepared_database, report, serving, spread
from bench.wakes import Wake, hold, hold_warm, memory_of_holding, wake

PEERS: dict[str, Opened] = {
    "nchan": nchan.opened,
    "starlette": plain_starlette.opened,
    "durable-streams": durable_streams.opened,
    "etcd": etcd.opened,
}
_HELD_PER_SCHOOL = 3
_ONE_STREAM_HELD = 1_000
_HELD_MAX = {"etcd": 5_000}  # at about 100 KB each
_OURS = "homeroom"
_FIGURES = {
    "first answer, ms": ("first_ms", 1),
    "p50 answer, ms": ("p50_ms", 1),
    "p99 answer, ms": ("p99_ms", 1),
    "last answer, ms": ("last_ms", 1),
    "answers/s": ("answers_per_second", 0),
    "CPU s of the server": ("server_cpu_seconds", 2),
    "CPU s of the loader": ("loader_cpu_seconds", 2),
}


@dataclass
class Findings:
    """Of one server, a value per repetition."""

    kilobytes: list[float] = field(default_factory=list)
    kilobytes_warm: list[float] = field(default_factory=list)
    shared_kilobytes: list[float] = field(default_factory=list)
    """Of the shared memory that the process maps, what it touches: part of `kilobytes` as far as it has grown."""
    wakes: list[Wake] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        wakes = [found.figures() for found in self.wakes]
        memory = {"kilobytesPerHeld": self.kilobytes, "kilobytesPerHeldWarm": self.kilobytes_warm}
        return {**memory, "sharedKilobytes": self.shared_kilobytes, "wakes": wakes}


@dataclass
class Costs:
    """Of holding without anything to do, as shares of a core; and of 1,000 held on one stream, milliseconds."""

    node_share: list[float] = field(default_factory=list)
    postgres_share: list[float] = field(default_factory=list)
    one_stream_last_ms: list[float] = field(default_factory=list)


async def from_cold(bed: Bed, rig: Rig, crowd: Crowd, holder: Holder, ours: Findings, costs: Costs) -> None:
    """A node that nobody has asked anything yet, but for one submit: its statements are planned."""
    await (await ready_change(rig, crowd))()
    grown = await memory_of_holding(holder, (rig.host, rig.port), crowd.ask_all(), rig.pid, bed.postgres_pid)
    ours.kilobytes.append(grown / 1_000)
    await holder.close()
    count = min(_ONE_STREAM_HELD, len(crowd.keys))
    await holder.connect(rig.host, rig.port, count)
    asked = {"waitSeconds": 300, "types": [entry(PUBLIC, crowd.cursors[PUBLIC], crowd.bulletins)]}
    asks = [request(key, "/v1/is-data-available", asked, _school(crowd, i)) for i, key in enumerate(crowd.keys[:count])]
    await hold(holder, asks, rig.pid, bed.postgres_pid)
    costs.one_stream_last_ms.append((await wake(holder, count, rig.pid, await ready_change(rig, crowd))).last_ms)
    await holder.close()


async def from_warm(
    bed: Bed, rig: Rig, crowd: Crowd, holder: Holder, ours: Findings, costs: Costs, seconds: float
) -> None:
    """A node that everyone has asked once; then what idling costs, then the wake of all."""
    ours.kilobytes_warm.append(await hold_warm(bed, rig, crowd, holder, len(crowd.keys)))
    before, begun = (cpu_seconds(rig.pid), cpu_seconds(bed.postgres_pid)), time.perf_counter()
    await asyncio.sleep(seconds)
    spent = time.perf_counter() - begun
    costs.node_share.append((cpu_seconds(rig.pid) - before[0]) / spent)
    costs.postgres_share.append((cpu_seconds(bed.postgres_pid) - before[1]) / spent)
    ours.wakes.append(await wake(holder, len(crowd.keys), rig.pid, await ready_change(rig, crowd)))
    await holder.close()


async def of_peer(opened: Opened, held: int, message_bytes: int, holder: Holder, found: Findings) -> None:
    """A server started for it: memory per held, and the wake of all."""
    with opened(message_bytes) as peer:
        asks = [peer.ask] * held
        grown = await memory_of_holding(holder, (peer.host, peer.port), asks, peer.pid, mark=peer.mark)
        reader, writer = await asyncio.open_connection(peer.host, peer.port)

        async def change() -> None:
            writer.write(peer.publish)
            await reader.read(1)

        found.kilobytes.append(grown / 1_000)
        found.shared_kilobytes.append(shared_bytes(peer.pid) / 1_000)
        found.wakes.append(await wake(holder, held, peer.pid, change))
        writer.close()
        await holder.close()


def _school(crowd: Crowd, index: int) -> str:
    return crowd.schools[crowd.school_of(index)]


async def measure(bed: Bed, options: list[str], given: argparse.Namespace) -> None:
    """Everything, each round beside its peers, and the table."""
    ours, costs, peers = Findings(), Costs(), {name: Findings() for name in given.peers}
    skipped: dict[str, str] = {}
    rounds: list[over_tls.Round] = []
    async with holding_process() as holder:
        with serving(bed, *options) as rig:
            crowd = await gathered(rig, given.held, _schools(given.held))
        for _ in range(given.times):
            with serving(bed, *options) as rig:
                await from_cold(bed, rig, crowd, holder, ours, costs)
            with serving(bed, *options) as rig:
                await from_warm(bed, rig, crowd, holder, ours, costs, given.idle_seconds)
            for name in [name for name in given.peers if name not in skipped]:
                held = min(given.held, _HELD_MAX.get(name, given.held))
                try:
                    await of_peer(PEERS[name], held, ours.wakes[-1].message_bytes, holder, peers[name])
                except MissingPeerError as missing:
                    skipped[name] = str(missing)
                    peers.pop(name)
            if given.tls:
                rounds += await over_tls.beside_tcp(bed, options, crowd, min(given.tls, given.held))
    everyone = {_OURS: ours, **peers}
    rows = [row for name, found in everyone.items() for row in _rows(name, found, ours)]
    rows += [
        [_OURS, "idle, share of a core: the node", spread(costs.node_share, 4), ""],
        [_OURS, "idle, share of a core: PostgreSQL", spread(costs.postgres_share, 4), ""],
        [_OURS, "last of 1,000 held on one stream, ms", spread(costs.one_stream_last_ms, 1), ""],
        *over_tls.rows(_OURS, rounds),
    ]
    servers = {name: found.figures() for name, found in everyone.items()}
    figures = {"held": given.held, "servers": servers, "costs": asdict(costs), "skipped": skipped}
    figures["overTls"] = [asdict(each) for each in rounds]
    report("held", ["server", "what", "median (lowest-highest)", "ours / its"], rows, figures)
    for why in skipped.values():
        print(f"skipped {why}")


def _rows(name: str, found: Findings, ours: Findings) -> list[list[str]]:
    rows = [[name, "KB per held", spread(found.kilobytes, 1), _ratio(ours.kilobytes, found.kilobytes)]]
    if found.kilobytes_warm:
        rows.append([name, "KB per held, warm", spread(found.kilobytes_warm, 1), ""])
    if any(found.shared_kilobytes):
        rows.append([name, "KB of shared memory touched, in all", spread(found.shared_kilobytes), ""])
    for what, (member, digits) in _FIGURES.items():
        its, own = ([getattr(wake, member) for wake in each.wakes] for each in (found, ours))
        rows.append([name, what, spread(its, digits), _ratio(own, its) if all(its) else ""])
    return rows


def _ratio(own: Sequence[float], its: Sequence[float]) -> str:
    return f"{median(own) / median(its):.2f}"


def _schools(held: int) -> int:
    return -(-held // _HELD_PER_SCHOOL)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", type=int, default=18_000)
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    arguments.add_argument("--idle-seconds", type=float, default=30)
    arguments.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="none: the Core alone")
    arguments.add_argument("--tls", type=int, default=2_000, help="so many are held over TLS too; 0: none")
    arguments.add_argument("--serve", default="", help="options for `homeroom serve`, as one word")
    given = arguments.parse_args()
    with prepared_database(organizations=schools_csv(_schools(given.held))) as bed:
        uvloop.run(measure(bed, given.serve.split(), given))


if __name__ == "__main__":
    main()
