"""18,000 wake, each gets the changed record and comes back to be held: how long until the last is held again?"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import uuid4

import orjson
import uvloop

from bench.crowd import PUBLIC, Crowd, entry, gathered, schools_csv
from bench.footprint import cpu_seconds
from bench.held_connections import Answers
from bench.holder import Holder, holding_process
from bench.loader import connect
from bench.rig import Bed, Rig, prepared_database, report, serving, spread
from bench.wakes import hold

_HELD_PER_SCHOOL = 3
_ANSWERS_SECONDS = 250
_CONTROLS = 8


@dataclass(frozen=True, slots=True)
class Return:
    """Seconds from sending the change; answers a second over the whole of it."""

    last_woken: float
    last_got: float
    last_held: float
    answers_per_second: float
    server_cpu_seconds: float
    loader_cpu_seconds: float


class Comeback:
    """What each sends after an answer: a Get of the record, then its question with the new cursor and hash."""

    def __init__(self, crowd: Crowd, record_id: str) -> None:
        self._heads = [_head(crowd, index) for index in range(len(crowd.keys))]
        self._rests = [orjson.dumps(crowd.question(index, 300)["types"][1:])[1:] for index in range(len(crowd.keys))]
        self._bulletins = list(crowd.bulletins)
        self._get = orjson.dumps({"records": [{"id": record_id}]})
        self._again: dict[bytes, bytes] = {}

    def __call__(self, index: int, step: int, body: bytes) -> bytes | None:
        if step == 0:
            return _post(f"/v1/get/{PUBLIC}", self._heads[index], self._get)
        if step > 1:
            return None
        if body not in self._again:
            version = orjson.loads(body)["records"][0]["coreVersion"]
            first = entry(PUBLIC, version, [*self._bulletins, version])
            self._again[body] = b'{"waitSeconds":300,"types":[' + orjson.dumps(first) + b","
        return _post("/v1/is-data-available", self._heads[index], self._again[body] + self._rests[index] + b"}")


async def comebacks(bed: Bed, held: int, times: int, options: Sequence[str]) -> list[Return]:
    """One after the other, of the same crowd on one node."""
    async with holding_process() as holder:
        with serving(bed, *options) as rig:
            crowd = await gathered(rig, held, -(-held // _HELD_PER_SCHOOL))
        with serving(bed, *options) as rig:
            await holder.connect(rig.host, rig.port, held)
            found = []
            for _ in range(times):
                await hold(holder, crowd.ask_all(), rig.pid, bed.postgres_pid)
                found.append(await _one(holder, rig, crowd))
                await holder.connect(rig.host, rig.port, held)
    return found


async def _one(holder: Holder, rig: Rig, crowd: Crowd) -> Return:
    writer = await connect(rig.host, rig.port)
    controls = [await connect(rig.host, rig.port) for _ in range(_CONTROLS)]
    record_id, count = uuid4().hex, len(crowd.keys)
    change = crowd.bulletin(record_id)
    await holder.expect(2 * count, Comeback(crowd, record_id))
    before, begun = cpu_seconds(rig.pid), time.perf_counter()
    sent = asyncio.create_task(writer.send(change))
    answers = await holder.answers(_ANSWERS_SECONDS)
    crowd.saw_bulletin(await sent)
    # What is asked after the last came back is answered after that one was looked at: it is held.
    await asyncio.gather(*(one.send(crowd.ask(index, 0)) for index, one in enumerate(controls)))
    over = time.perf_counter()
    spent = cpu_seconds(rig.pid) - before
    for one in [writer, *controls]:
        one.close()
    return _judged(answers, begun, over, spent)


def _judged(answers: Answers, begun: float, over: float, server_cpu_seconds: float) -> Return:
    woken, got = ([seen[step] - begun for seen in answers.moments] for step in (0, 1))
    assert min(woken) > 0, f"answered before the change: {answers.bodies[:1]}"
    rate = 2 * len(woken) / (over - begun)
    return Return(max(woken), max(got), over - begun, rate, server_cpu_seconds, answers.cpu_seconds)


def _head(crowd: Crowd, index: int) -> bytes:
    school = crowd.schools[crowd.school_of(index)]
    return f"Host: core\r\nAuthorization: Bearer {crowd.keys[index]}\r\nOrganization: {school}\r\n".encode()


def _post(path: str, head: bytes, body: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path.encode(), head, len(body), body)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--held", type=int, default=18_000)
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    arguments.add_argument("--serve", default="", help="options for `homeroom serve`, as one word")
    given = arguments.parse_args()
    with prepared_database(organizations=schools_csv(-(-given.held // _HELD_PER_SCHOOL))) as bed:
        found = uvloop.run(comebacks(bed, given.held, given.times, given.serve.split()))
    rows = [
        ["last woken, s", spread([each.last_woken for each in found], 2)],
        ["last got the record, s", spread([each.last_got for each in found], 2)],
        ["last held again, s", spread([each.last_held for each in found], 2)],
        ["answers/s", spread([each.answers_per_second for each in found])],
        ["CPU s of the node", spread([each.server_cpu_seconds for each in found], 2)],
        ["CPU s of the loader", spread([each.loader_cpu_seconds for each in found], 2)],
    ]
    figures = {"held": given.held, "comebacks": [asdict(each) for each in found]}
    report("herd", ["what", "median (lowest-highest)"], rows, figures)


if __name__ == "__main__":
    main()
