"""The same calls and the same changes, while few or many are held.

Ten to a school, each with a key of its own and four types with their hashes. The calls are made for schools for which
nobody is held.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from rich.progress import track

from bench.crowd import Crowd, gathered, schools_csv
from bench.hang_ups import until_held
from bench.holder import Holder, holding_process
from bench.loader import connect, request
from bench.rig import Bed, Rig, prepared_database, serving
from bench.school_calls import SchoolCalls, read_stream
from bench.wake import AFFECTED, changes
from bench.wakes import centiles, memory_of_holding
from homeroom import NotificationType

_CALLED = NotificationType("Note")
_FIRST_HELD = 500
HELD_MIN = _FIRST_HELD + 100
_SCHOOLS_PER_ROUND = 8
_RECORDS_PER_SCHOOL = 200
_AT_ONCE = 50
_VISIT_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class _Waiters:
    """A database for one number of them, and the schools for which nobody is held."""

    bed: Bed
    crowd: Crowd
    others: Sequence[str]


def measure(sizes: Sequence[int], number: int, times: int) -> dict[int, list[dict[str, float]]]:
    """The figures of each round, with so many changes, by how many are held. The numbers take turns."""
    with ExitStack() as stack:
        everyone = {}
        for held in sizes:
            schools, others = held // AFFECTED, _SCHOOLS_PER_ROUND * times
            bed = stack.enter_context(prepared_database(organizations=schools_csv(schools + others)))
            names = [f"S.{schools + i:05}" for i in range(others)]
            with serving(bed) as rig:
                everyone[held] = _Waiters(bed, uvloop.run(_filled(rig, held, schools, names)), names)
        found: dict[int, list[dict[str, float]]] = {held: [] for held in sizes}
        for turn in track(range(times), "holding"):
            for held, waiters in everyone.items():
                found[held].append(uvloop.run(_round(waiters, waiters.others[turn::times], number)))
    return found


async def _filled(rig: Rig, held: int, schools: int, others: Sequence[str]) -> Crowd:
    """The schools that are called for get records, before the crowd comes."""
    writer = await connect(rig.host, rig.port)
    for school in others:
        records = [{"id": uuid4().hex, "expectedVersion": 0, "body": _note()} for _ in range(_RECORDS_PER_SCHOOL)]
        await writer.send(request(rig.key, f"/v1/submit/{_CALLED}", {"records": records}, school))
    writer.close()
    return await gathered(rig, held, schools)


async def _round(waiters: _Waiters, schools: Sequence[str], number: int) -> dict[str, float]:
    """Memory per held on a new node, and on one that all have asked; then calls and changes while all are held."""
    bed, crowd = waiters.bed, waiters.crowd
    with serving(bed) as rig:
        found = await _memory(bed, rig, crowd.ask_all())
    async with holding_process() as holder:
        with serving(bed) as rig:
            visits = crowd.ask_all(wait_seconds=0)
            await holder.visit(rig.host, rig.port, visits, _AT_ONCE, _VISIT_SECONDS_MAX)
            grown = await memory_of_holding(holder, (rig.host, rig.port), crowd.ask_all(), rig.pid, bed.postgres_pid)
            found["KB per held, warm"] = grown / 1_000
            found |= await _calls(rig, schools, len(crowd.keys))
            found |= await _wakes(bed, rig, crowd, holder, number)  # last: the crowd's cursors are the newest then
            await holder.close()
    return found


async def _memory(bed: Bed, rig: Rig, asks: Sequence[bytes]) -> dict[str, float]:
    """Of all who are held; and of those after the first, with whom comes what a node takes once."""
    groups = asks[:_FIRST_HELD], asks[_FIRST_HELD:]
    async with holding_process() as first, holding_process() as rest:
        each = [
            await memory_of_holding(holder, (rig.host, rig.port), group, rig.pid, bed.postgres_pid) / 1_000
            for holder, group in zip((first, rest), groups, strict=True)
        ]
    whole = sum(kilobytes * len(group) for kilobytes, group in zip(each, groups, strict=True))
    return {"KB per held": whole / len(asks), f"KB per held after the first {_FIRST_HELD}": each[1]}


async def _calls(rig: Rig, schools: Sequence[str], held: int) -> dict[str, float]:
    """Nobody who is held may be answered by them."""
    database = await asyncpg.connect(rig.database_url)
    streams = {school: await read_stream(database, _CALLED, school) for school in schools}
    await database.close()
    connection = await connect(rig.host, rig.port)
    found = await SchoolCalls(connection, rig.key, _CALLED, _note, streams).figures()
    await until_held(connection, held)
    connection.close()
    return found


async def _wakes(bed: Bed, rig: Rig, crowd: Crowd, holder: Holder, number: int) -> dict[str, float]:
    found = await changes(bed, rig, crowd, holder, number)
    p50, p99 = centiles(found.from_sending)
    names = f"{AFFECTED} affected, submit to answer"
    return {f"{names}, p50 ms": p50, f"{names}, p99 ms": p99, "bare commit + NOTIFY, p50 ms": centiles(found.bare)[0]}


def _note() -> dict[str, Any]:
    return {"text": "x" * 250, "grade": "10"}
