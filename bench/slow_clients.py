"""Do 1,000 clients that send a byte now and then change anything for the others?

They begin a request that never ends, one byte every half second each, and connect anew when the node cuts them.
"""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from statistics import median

import uvloop

from bench.callers import call
from bench.footprint import rss_bytes
from bench.loader import request
from bench.rig import Rig, allow_many_files, report, running_node, spread
from bench.wakes import centiles

_CALLERS = 8
_PAUSE_SECONDS = 0.5
_DRIP = b"POST /v1/is-data-available HTTP/1.1\r\nHost: core\r\nX-Slow: " + b"x" * 10_000


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--slow", type=int, default=1_000)
    arguments.add_argument("--times", type=int, default=3, help="each is repeated, in turns")
    arguments.add_argument("--seconds", type=float, default=15, help="of calls: longer than the node is patient")
    given = arguments.parse_args()
    alone: list[float] = []
    beside: list[float] = []
    with running_node() as rig:
        make = partial(_ask, rig.key)
        call(rig, _CALLERS, 2, make)
        memory = rss_bytes(rig.pid)
        for _ in range(given.times):
            alone.append(centiles(call(rig, _CALLERS, given.seconds, make).milliseconds)[1])
            with dripping(rig, given.slow):
                beside.append(centiles(call(rig, _CALLERS, given.seconds, make).milliseconds)[1])
        grown = rss_bytes(rig.pid) - memory
    rows = [
        ["p99 alone, ms", spread(alone, 2)],
        [f"p99 beside {given.slow:,} slow ones, ms", spread(beside, 2)],
        ["beside / alone", f"{median(beside) / median(alone):.2f}"],
        ["MB that the node has grown by", f"{grown / 1e6:.1f}"],
    ]
    report("slow_clients", ["what", "figure"], rows, {"alone": alone, "beside": beside, "grownBytes": grown})


def _ask(key: str, _caller: int, _number: int) -> bytes:
    asked = {"waitSeconds": 0, "types": [{"notificationType": "Bulletin", "maxCoreVersion": 0}]}
    return request(key, "/v1/is-data-available", asked)


@contextmanager
def dripping(rig: Rig, count: int) -> Iterator[None]:
    """So many slow clients, in a process of their own, as long as the block runs."""
    process = get_context("spawn").Process(target=_drip, args=(rig.host, rig.port, count), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _drip(host: str, port: int, count: int) -> None:
    allow_many_files()
    uvloop.run(_drip_all(host, port, count))


async def _drip_all(host: str, port: int, count: int) -> None:
    await asyncio.gather(*(_drip_on(host, port, number / count) for number in range(count)))


async def _drip_on(host: str, port: int, begin_share: float) -> None:
    await asyncio.sleep(begin_share * _PAUSE_SECONDS)
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            for place in range(len(_DRIP)):
                writer.write(_DRIP[place : place + 1])
                await asyncio.sleep(_PAUSE_SECONDS)
                if writer.is_closing():
                    break
            writer.close()


if __name__ == "__main__":
    main()
