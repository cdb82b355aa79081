"""How many submits and Gets a second, and how long from a commit to those who wait for it?

Beside each figure, in the same run, what PostgreSQL alone takes for the same rows or the same round trip.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import uvloop

from bench.bare import bare_round_trip
from bench.loader import Connection, connect, request, spin
from bench.rig import SCHOOLS, Rig, report, running_node, spread

_BODY = {"text": "x" * 250, "grade": "10", "n": 12345}
_SINGLE_CALLERS = 64
_BULK_CALLERS = 4
_HELD = 1_000


def _record(organization: str | None = None) -> dict[str, Any]:
    record = {"id": uuid4().hex, "expectedVersion": 0, "body": _BODY}
    return record if organization is None else record | {"organization": organization}


async def submits(rig: Rig, callers: int, per_call: int, seconds: float) -> float:
    """Records a second, durable."""

    def make(caller: int) -> bytes:
        owner = f"S.{caller % SCHOOLS:04}"
        return request(rig.key, "/v1/submit/Note", {"records": [_record(owner) for _ in range(per_call)]})

    return await spin((rig.host, rig.port), callers, seconds, make, per_call)


async def gets(rig: Rig, per_call: int, seconds: float) -> float:
    """Records a second, bodies included."""
    connection = await connect(rig.host, rig.port)
    listed = await connection.send(
        request(rig.key, "/v1/is-data-available", {"waitSeconds": 0, "types": [_entry("Note", 0)]})
    )
    ids = [{"id": r["id"], "expectedVersion": r["coreVersion"]} for r in orjson.loads(listed)["types"][0]["records"]]
    connection.close()
    pages = [
        request(rig.key, "/v1/get/Note", {"records": ids[i : i + per_call]})
        for i in range(0, min(len(ids), 20 * per_call), per_call)
    ]
    turn = iter(range(10**9))
    return await spin((rig.host, rig.port), 2, seconds, lambda caller: pages[next(turn) % len(pages)], per_call)


def _entry(name: str, since: int) -> dict[str, Any]:
    return {"notificationType": name, "maxCoreVersion": since}


async def wakes(rig: Rig, changes: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds from sending a submit to its own answer, and to the first and last answer of 1,000 held requests."""
    held = [await connect(rig.host, rig.port) for _ in range(_HELD)]
    writer = await connect(rig.host, rig.port)
    first_answer = await writer.send(request(rig.key, "/v1/submit/Bulletin", {"records": [_record()]}))
    cursor = orjson.loads(first_answer)["results"][0]["coreVersion"]
    answered, first, last = [], [], []
    for _ in range(changes):
        moments: list[float] = []

        async def hold(connection: Connection, since: int, seen: list[float]) -> None:
            asked = {"waitSeconds": 300, "types": [_entry("Bulletin", since)]}
            await connection.send(request(rig.key, "/v1/is-data-available", asked))
            seen.append(time.perf_counter())

        waiting = [asyncio.create_task(hold(connection, cursor, moments)) for connection in held]
        await asyncio.sleep(1.5)
        change = request(rig.key, "/v1/submit/Bulletin", {"records": [_record()]})
        begun = time.perf_counter()
        answer = await writer.send(change)
        answered.append((time.perf_counter() - begun) * 1000)
        cursor = orjson.loads(answer)["results"][0]["coreVersion"]
        await asyncio.gather(*waiting)
        first.append((min(moments) - begun) * 1000)
        last.append((max(moments) - begun) * 1000)
    for connection in [*held, writer]:
        connection.close()
    return answered, first, last


async def bare_inserts(rig: Rig, rows: int, batches: int) -> float:
    """Rows a second that PostgreSQL itself takes: record and two viewer rows, one connection, by unnest."""
    connection = await asyncpg.connect(rig.database_url)
    body = orjson.dumps(_BODY).decode()
    begun = time.perf_counter()
    for _ in range(batches):
        versions = await connection.fetchval(
            "select array(select nextval('core_version') from generate_series(1, $1::int))", rows
        )
        await connection.execute(
            """
            with stored as (
                insert into record (record_type, id, notification_type, version, body_version, owner, deleted,
                                    changed_at, body)
                select -1, w.id, -1, w.version, w.version, 1, false, now(), $3::text::json
                from unnest($1::text[], $2::bigint[]) as w(id, version) returning id, version
            )
            insert into viewer select -1, s.id, o, s.version, 'live' from stored s, generate_series(1, 2) o
            """,
            [uuid4().hex for _ in range(rows)],
            versions,
            body,
        )
    spent = time.perf_counter() - begun
    await connection.close()
    return rows * batches / spent


async def _repeat(times: int, measure: Callable[[], Awaitable[float]]) -> list[float]:
    return [await measure() for _ in range(times)]


async def measure(rig: Rig, seconds: float, times: int) -> None:
    """Everything, and the table."""
    single = await _repeat(times, lambda: submits(rig, _SINGLE_CALLERS, 1, seconds))
    bare = await _repeat(times, lambda: bare_inserts(rig, 1_000, 20))
    bulk = await _repeat(times, lambda: submits(rig, _BULK_CALLERS, 1_000, seconds))
    fetched = await _repeat(times, lambda: gets(rig, 1_000, seconds))
    async with bare_round_trip(rig.database_url) as once:
        round_trip = await _repeat(50, once)
    answered, first, last = await wakes(rig, 5 * times)
    rows = [
        [f"submit, 1 record a call, {_SINGLE_CALLERS} callers", "records/s", spread(single)],
        [f"submit, 1,000 records a call, {_BULK_CALLERS} callers", "records/s", spread(bulk)],
        ["the same rows by bare unnest", "records/s", spread(bare)],
        ["bulk submit / bare unnest", "ratio", f"{statistics.median(bulk) / statistics.median(bare):.2f}"],
        ["Get, 1,000 records a call, 2 callers", "records/s", spread(fetched)],
        ["submit answered, 1,000 held", "ms", spread(answered, 1)],
        ["first of 1,000 held answered", "ms", spread(first, 1)],
        ["last of 1,000 held answered", "ms", spread(last, 1)],
        ["bare commit + NOTIFY", "ms", spread(round_trip, 1)],
    ]
    figures = {
        "singleSubmitsPerSecond": single,
        "bulkRecordsPerSecond": bulk,
        "bareUnnestRowsPerSecond": bare,
        "getRecordsPerSecond": fetched,
        "submitAnsweredMilliseconds": answered,
        "firstHeldMilliseconds": first,
        "lastHeldMilliseconds": last,
        "bareCommitNotifyMilliseconds": round_trip,
    }
    report("throughput", ["what", "unit", "median (lowest-highest)"], rows, figures)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4, help="of each measurement")
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    given = arguments.parse_args()
    with running_node() as rig:
        uvloop.run(measure(rig, given.seconds, given.times))


if __name__ == "__main__":
    main()
