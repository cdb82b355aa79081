"""Does a node grow when clients connect, are held and hang up, a hundred thousand times?"""

import argparse
import asyncio
import time

import orjson
import uvloop
from rich.progress import track

from bench.footprint import rss_bytes
from bench.loader import Connection, connect, request
from bench.rig import Rig, report, running_node

_AT_ONCE = 1_000
_WARM_ROUNDS = 10
_SECONDS_MAX = 60
_HEALTH = b"GET /readyz HTTP/1.1\r\nHost: core\r\n\r\n"


async def until_held(health: Connection, count: int) -> None:
    """Return once the node holds so many requests."""
    async with asyncio.timeout(_SECONDS_MAX):
        while orjson.loads(await health.send(_HEALTH))["held"] != count:
            await asyncio.sleep(0.01)


async def measure(rig: Rig, rounds: int) -> None:
    """Memory after each round, and the table."""
    types = [{"notificationType": "Bulletin", "maxCoreVersion": 0}]
    ask = request(rig.key, "/v1/is-data-available", {"waitSeconds": 300, "types": types})
    health = await connect(rig.host, rig.port)
    memory, begun = [], time.perf_counter()
    for _ in track(range(rounds), "hanging up"):
        clients = [await connect(rig.host, rig.port) for _ in range(_AT_ONCE)]
        asked = [asyncio.ensure_future(client.send(ask)) for client in clients]
        await until_held(health, _AT_ONCE)
        for client in clients:
            client.close()
        await asyncio.gather(*asked, return_exceptions=True)
        await until_held(health, 0)
        memory.append(rss_bytes(rig.pid))
    seconds = time.perf_counter() - begun
    health.close()
    warm, last = memory[min(_WARM_ROUNDS, rounds) - 1], memory[-1]
    rows = [
        ["cycles", f"{rounds * _AT_ONCE:,}"],
        ["cycles/s", f"{rounds * _AT_ONCE / seconds:,.0f}"],
        [f"MB after {_WARM_ROUNDS} rounds", f"{warm / 1e6:.1f}"],
        ["MB at the end", f"{last / 1e6:.1f}"],
    ]
    report("hang_ups", ["what", "figure"], rows, {"rssBytes": memory, "seconds": seconds})


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=100, help="of 1,000 clients each")
    given = arguments.parse_args()
    with running_node() as rig:
        uvloop.run(measure(rig, given.rounds))


if __name__ == "__main__":
    main()
