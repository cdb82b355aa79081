"""How many records are durable a second, and how soon is a lone submit? Beside them what PostgreSQL alone takes."""

import argparse
import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from bench.callers import Load, call
from bench.loader import request
from bench.rig import SCHOOLS, Rig, report, running_node, spread

_BODY = {"text": "x" * 250, "grade": "10", "n": 12345}
_SINGLE_CALLERS = 64
_BULK_CALLERS = 4
_BULK_RECORDS = 1_000
_BARE_BATCHES = 20


@dataclass(slots=True)
class _Figures:
    """One value a round; the rounds take turns, so that a slow minute of the machine meets them all."""

    single: list[Load] = field(default_factory=list)
    bulk: list[Load] = field(default_factory=list)
    lone: list[Load] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def _new_records(key: str, records: int, caller: int, number: int) -> bytes:
    owner = f"S.{caller % SCHOOLS:04}"
    new = [{"id": uuid4().hex, "expectedVersion": 0, "body": _BODY, "organization": owner} for _ in range(records)]
    return request(key, "/v1/submit/Note", {"records": new})


async def bare_inserts(database_url: str, rows: int, batches: int) -> float:
    """Rows a second that PostgreSQL itself takes: record and two viewer rows, one connection, by unnest."""
    connection = await asyncpg.connect(database_url)
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


def measure(rig: Rig, seconds: float, times: int) -> None:
    """Everything, and the table."""
    found = _Figures()
    one, many = partial(_new_records, rig.key, 1), partial(_new_records, rig.key, _BULK_RECORDS)
    call(rig, _SINGLE_CALLERS, 1, one)  # warm
    for _ in range(times):
        found.lone.append(call(rig, 1, min(seconds, 2), one))
        found.single.append(call(rig, _SINGLE_CALLERS, seconds, one))
        found.bare.append(asyncio.run(bare_inserts(rig.database_url, _BULK_RECORDS, _BARE_BATCHES)))
        found.bulk.append(call(rig, _BULK_CALLERS, seconds, many))
    _say(found)


def _say(found: _Figures) -> None:
    single = [load.calls_per_second for load in found.single]
    bulk = [load.calls_per_second * _BULK_RECORDS for load in found.bulk]
    lone = [median(load.milliseconds) for load in found.lone]
    ratios = [ours / bare for ours, bare in zip(bulk, found.bare, strict=True)]
    rows = [
        [f"submit, 1 record a call, {_SINGLE_CALLERS} callers", "records/s", spread(single)],
        ["- CPU of these callers", "of a core", spread([load.cpu_share for load in found.single], 2)],
        [f"submit, 1,000 records a call, {_BULK_CALLERS} callers", "records/s", spread(bulk)],
        ["- CPU of these callers", "of a core", spread([load.cpu_share for load in found.bulk], 2)],
        ["the same rows by bare unnest", "records/s", spread(found.bare)],
        ["bulk submit / bare unnest", "ratio", spread(ratios, 2)],
        ["a lone submit answered", "ms", spread(lone, 2)],
    ]
    figures: dict[str, Any] = {
        "singleSubmitsPerSecond": single,
        "singleCallersCpuShare": [load.cpu_share for load in found.single],
        "bulkRecordsPerSecond": bulk,
        "bulkCallersCpuShare": [load.cpu_share for load in found.bulk],
        "bareUnnestRowsPerSecond": found.bare,
        "bulkToBareRatio": ratios,
        "loneSubmitMilliseconds": lone,
    }
    report("submit", ["what", "unit", "median (lowest-highest)"], rows, figures)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4, help="of each measurement")
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    given = arguments.parse_args()
    with running_node() as rig:
        measure(rig, given.seconds, given.times)


if __name__ == "__main__":
    main()
