"""Does a node take more and more as the hours go by?

Steady, mixed load: schools that hold, come and go; writers; first loads, repairs, refusals, people at the console. What
the node takes is read every few seconds. Between the first quarter after it has warmed up and the last, memory,
descriptors and tasks must be flat; else the exit code is 1.
"""

import argparse
import asyncio
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from statistics import median

import httpx
import psutil
import uvloop
from rich.progress import Progress

from bench.loader import request
from bench.rig import SCHOOLS, Rig, allow_many_files, report, running_node
from homeroom import Client, MemoryStorage, Replica
from homeroom.reconciliation import LocalRecords

_RECORDS = 400
_FOLLOWERS, _COMING_AND_GOING = 40, 10
_WRITES_PER_SECOND = 5
_STAY_SECONDS = 5.0
_WARM_SHARE = 0.2
_GROWTH_MAX = 0.03
"""Of memory, from the first quarter to the last."""
_MORE_MAX = 3
"""Descriptors and tasks."""
_NOTE = {"title": "Note", "text": "x" * 250}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the node took, so many seconds after the load began."""

    seconds: float
    rss_bytes: int
    descriptors: int
    tasks: int


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=120)
    seconds = arguments.parse_args().minutes * 60
    allow_many_files()
    done: Counter[str] = Counter()
    with running_node() as rig:
        ours, theirs = get_context("spawn").Pipe()
        load = get_context("spawn").Process(target=_load, args=(rig, seconds, theirs), daemon=True)
        load.start()
        samples = _watch(rig, seconds)
        if ours.poll(60):
            done = ours.recv()
        load.kill()
    warm = [sample for sample in samples if sample.seconds >= _WARM_SHARE * seconds]
    first, last = _middle(warm[: len(warm) // 4]), _middle(warm[-(len(warm) // 4) :])
    rows = [
        ["memory, MB", f"{first.rss_bytes / 1e6:.1f}", f"{last.rss_bytes / 1e6:.1f}"],
        ["descriptors", str(first.descriptors), str(last.descriptors)],
        ["tasks", str(first.tasks), str(last.tasks)],
        *([what, "", f"{count:,}"] for what, count in sorted(done.items())),
    ]
    report("soak", ["of the node", "first quarter", "last quarter"], rows, {"samples": list(map(asdict, samples))})
    flat = last.rss_bytes <= first.rss_bytes * (1 + _GROWTH_MAX)
    flat = flat and last.descriptors <= first.descriptors + _MORE_MAX and last.tasks <= first.tasks + _MORE_MAX
    if not flat or not done:
        sys.exit("it grows" if done else "the load came to nothing")


def _watch(rig: Rig, seconds: float) -> list[Sample]:
    node = psutil.Process(rig.pid)
    samples: list[Sample] = []
    begun = time.monotonic()
    with httpx.Client(base_url=f"http://{rig.host}:{rig.port}") as web, Progress(transient=True) as progress:
        bar = progress.add_task("soaking", total=seconds)
        while (since := time.monotonic() - begun) < seconds:
            told = web.get("/metrics").text
            tasks = re.search(r"^homeroom_tasks (\d+)", told, re.M)
            assert tasks is not None
            samples.append(Sample(since, node.memory_info().rss, node.num_fds(), int(tasks[1])))
            progress.update(bar, completed=since)
            time.sleep(min(5.0, seconds / 40))
    return samples


def _middle(samples: Sequence[Sample]) -> Sample:
    """The median of each."""
    return Sample(
        0, *(int(median(getattr(each, name) for each in samples)) for name in ("rss_bytes", "descriptors", "tasks"))
    )


def _load(rig: Rig, seconds: float, pipe: Pipe) -> None:
    pipe.send(uvloop.run(_loaded(rig, seconds)))


async def _loaded(rig: Rig, seconds: float) -> Counter[str]:
    """How often each was done."""
    done: Counter[str] = Counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            tasks.create_task(_write(rig, done))
            tasks.create_task(_load_first(rig, done))
            tasks.create_task(_go_wrong(rig, done))
            tasks.create_task(_hang_up(rig, done))
            for number in range(_FOLLOWERS):
                tasks.create_task(_follow(rig, done, _school(number), math.inf))
            for number in range(_COMING_AND_GOING):
                tasks.create_task(_follow(rig, done, _school(number), _STAY_SECONDS))
    return done


def _school(number: int) -> str:
    return f"S.{number % SCHOOLS:04}"


async def _write(rig: Rig, done: Counter[str]) -> None:
    """Changes of records that stay as many as they are."""
    versions: dict[str, int] = {}
    async with Client(rig.url, rig.key) as client:
        for turn in count():
            name = f"n{turn % _RECORDS}"
            change = {"id": name, "expectedVersion": versions.get(name, 0), "body": _NOTE | {"turn": turn}}
            answer = await client.submit("Note", [change | {"organization": _school(turn % _RECORDS)}])
            versions[name] = answer.results[0]["coreVersion"]
            done["changes"] += 1
            if turn >= _RECORDS:
                await asyncio.sleep(random.expovariate(_WRITES_PER_SECOND))


async def _follow(rig: Rig, done: Counter[str], school: str, stay_seconds: float) -> None:
    """A school's replica, that is closed after a while and begun anew."""
    while True:
        stay = math.inf if stay_seconds == math.inf else random.uniform(0, 2 * stay_seconds)
        async with Client(rig.url, rig.key, school) as client, Replica(MemoryStorage(), client, ["Note"]) as replica:
            done["replicas begun"] += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(stay):
                    await replica.ended()


async def _load_first(rig: Rig, done: Counter[str]) -> None:
    """Snapshots, every other one not read to its end, and a comparison of everything."""
    async with Client(rig.url, rig.key) as client:
        for turn in count():
            async with aclosing(client.snapshot("Note")) as lines:
                async for _ in lines:
                    if turn % 2:
                        break
            await client.reconcile("Note", 0, LocalRecords([]).whole())
            done["snapshots"] += 1
            await asyncio.sleep(1)


async def _go_wrong(rig: Rig, done: Counter[str]) -> None:
    """What is refused: keys, types, bodies, paths."""
    async with httpx.AsyncClient(base_url=rig.url) as web:
        while True:
            for key, path, body in (
                ("nobody's", "/v1/get/Note", b"{}"),
                (rig.key, "/v1/get/Nothing", b'{"records": []}'),
                (rig.key, "/v1/submit/Note", b"[" * 1_000),
                (rig.key, "/v1/nowhere", b""),
            ):
                answer = await web.post(path, content=body, headers={"Authorization": f"Bearer {key}"})
                assert answer.status_code < 500, answer.text
                done["calls refused"] += 1
            await asyncio.sleep(0.5)


async def _hang_up(rig: Rig, done: Counter[str]) -> None:
    """Requests that are held, and whose clients go away."""
    ask = {"waitSeconds": 60, "types": [{"notificationType": "Bulletin", "maxCoreVersion": 0}]}
    while True:
        reader, writer = await asyncio.open_connection(rig.host, rig.port)
        writer.write(request(rig.key, "/v1/is-data-available", ask))
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0.01, 0.5)):
                await reader.read(1)
        writer.transport.abort()
        done["held requests hung up"] += 1


if __name__ == "__main__":
    main()
