"""What do people who watch the console cost those who are held?

Changes wake 10 of those who hold, as in bench.wake; in turns nobody watches, and many watch Now, asking as browsers do.
"""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median
from urllib.parse import urlencode

import asyncpg
import httpx
import uvloop

from bench.crowd import gathered, schools_csv
from bench.holder import holding_process
from bench.rig import Bed, Rig, allow_many_files, prepared_database, report, serving, spread
from bench.wake import AFFECTED, changes
from bench.wakes import centiles, hold
from homeroom_server import people
from homeroom_server.people import PersonRole

_NAME, _PASSWORD = "olga", "watched by the hundred"
_SETTLE_SECONDS = 4
"""Two beats of the node, so that all are held when the changes begin."""

Figures = dict[str, list[tuple[float, float]]]
"""p50 and p99 in milliseconds, of each turn."""


async def measure(bed: Bed, held: int, watchers: int, number: int, times: int) -> Figures:
    """Turn by turn on one node."""
    found: Figures = {"nobody watches": [], "watched": []}
    async with holding_process() as holder:
        with serving(bed) as rig:
            crowd = await gathered(rig, held, held // AFFECTED)
        with serving(bed) as rig:
            cookie = await _signed_in(bed, rig)
            await holder.connect(rig.host, rig.port, held)
            await hold(holder, crowd.ask_all(), rig.pid, bed.postgres_pid)
            for _ in range(times):
                found["nobody watches"].append(centiles((await changes(bed, rig, crowd, holder, number)).from_sending))
                with watched(rig, cookie, watchers):
                    await asyncio.sleep(_SETTLE_SECONDS)
                    found["watched"].append(centiles((await changes(bed, rig, crowd, holder, number)).from_sending))
    return found


async def _signed_in(bed: Bed, rig: Rig) -> str:
    connection = await asyncpg.connect(bed.database_url)
    try:
        await people.create(connection, _NAME, PersonRole.OPERATOR, [], _PASSWORD)
    finally:
        await connection.close()
    async with httpx.AsyncClient(base_url=f"http://{rig.host}:{rig.port}") as web:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        said = urlencode({"name": _NAME, "password": _PASSWORD})
        done = await web.post("/console/sign-in", content=said, headers=form)
        return str(done.headers["Set-Cookie"]).partition(";")[0]


@contextmanager
def watched(rig: Rig, cookie: str, count: int) -> Iterator[None]:
    """By so many people, in a process of their own, as long as the block runs."""
    process = get_context("spawn").Process(target=_watch, args=(rig.host, rig.port, cookie, count), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _watch(host: str, port: int, cookie: str, count: int) -> None:
    allow_many_files()
    uvloop.run(_watch_all(host, port, cookie, count))


async def _watch_all(host: str, port: int, cookie: str, count: int) -> None:
    await asyncio.gather(*(_watch_one(host, port, cookie) for _ in range(count)))


async def _watch_one(host: str, port: int, cookie: str) -> None:
    """Ask for what is newer than the last, as long as it is answered."""
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers={"Cookie": cookie}, timeout=40) as web:
        after = "0"
        while True:
            answer = await web.get(f"/console/now/next?after={after}")
            answer.raise_for_status()
            if answer.status_code == 200:
                after = answer.text.partition("after=")[2].partition('"')[0]


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", type=int, default=5_000)
    arguments.add_argument("--watchers", type=int, default=50)
    arguments.add_argument("--changes", type=int, default=200)
    arguments.add_argument("--times", type=int, default=3, help="each is repeated, in turns")
    given = arguments.parse_args()
    with prepared_database(organizations=schools_csv(given.held // AFFECTED)) as bed:
        found = uvloop.run(measure(bed, given.held, given.watchers, given.changes, given.times))
    rows = [
        [name, spread([p50 for p50, _ in turns], 2), spread([p99 for _, p99 in turns], 2)]
        for name, turns in found.items()
    ]
    middle = {name: [median(turn[at] for turn in turns) for at in (0, 1)] for name, turns in found.items()}
    ratios = [f"{one / other:.2f}" for one, other in zip(middle["watched"], middle["nobody watches"], strict=True)]
    rows.append([f"{given.watchers} watch / nobody does", *ratios])
    report("watching", ["ms from a change to the answers", "p50", "p99"], rows, {"held": given.held, **found})


if __name__ == "__main__":
    main()
