"""Callers in a process of their own: each sends its next request when the last is answered."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import uvloop

from bench.loader import connect
from bench.rig import Rig

Make = Callable[[int, int], bytes]
"""The bytes of a caller's next request, given its number and that of the call; pickled, so from a module's top."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. `cpu_seconds`: what the callers themselves took."""

    calls: int
    seconds: float
    cpu_seconds: float
    milliseconds: list[float]

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds


def call(rig: Rig, callers: int, seconds: float, make: Make) -> Load:
    """So many callers, each on a connection of its own, for so long."""
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return apart.submit(_run, rig.host, rig.port, callers, seconds, make).result()


def _run(host: str, port: int, callers: int, seconds: float, make: Make) -> Load:
    return uvloop.run(_call(host, port, callers, seconds, make))


async def _call(host: str, port: int, callers: int, seconds: float, make: Make) -> Load:
    connections = [await connect(host, port) for _ in range(callers)]
    milliseconds: list[float] = []
    begun, cpu_begun = time.perf_counter(), time.process_time()

    async def repeat(caller: int) -> None:
        number = 0
        while (sent := time.perf_counter()) < begun + seconds:
            await connections[caller].send(make(caller, number))
            milliseconds.append((time.perf_counter() - sent) * 1000)
            number += 1

    await asyncio.gather(*map(repeat, range(callers)))
    spent, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    for connection in connections:
        connection.close()
    return Load(len(milliseconds), spent, cpu, milliseconds)
