"""Does anything get slower as the province grows? The same calls at 100,000 and at 10,000,000 records.

A school keeps its size (4,000 records); the province gets more of them. Each call is made twice for each of 40 schools:
at the first touch PostgreSQL may have to fetch pages from the operating system, later it has them.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from uuid import uuid4

import asyncpg
import orjson
from rich.progress import Progress

from bench.loader import connect, request
from bench.province import build, organizations
from bench.rig import Rig, report, running_node, spread
from homeroom import version_hash

_TYPE = "CourseEnrolment.2027"
_RECORDS_PER_SCHOOL = 4_000
_TIMES = 40
_SETTLE_SECONDS = 20
"""What PostgreSQL is given to finish writing after a build."""


async def _stream(connection: asyncpg.Connection, school: str) -> list[tuple[str, int]]:
    rows = await connection.fetch(
        """
        select v.id, v.version from viewer v join organization o on o.number = v.organization
        join notification_type n on n.number = v.notification_type join record_type t on t.number = n.record_type
        where o.code = $1 and t.name = 'CourseEnrolment' and n.school_year = 2027 order by v.version
        """,
        school,
    )
    return [(row["id"], row["version"]) for row in rows]


async def measure(rig: Rig, schools: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of call, at the first touch and again."""
    database = await asyncpg.connect(rig.database_url)
    connection = await connect(rig.host, rig.port)
    names = [f"S.{i * max(1, schools // _TIMES) % schools:04}" for i in range(_TIMES)]
    streams = {name: await _stream(database, name) for name in set(names)}

    async def available(name: str, since: int, digest: str | None) -> list[int]:
        entry = {"notificationType": _TYPE, "maxCoreVersion": since, "versionHash": digest}
        body = {"waitSeconds": 0, "types": [entry]}
        answer = orjson.loads(await connection.send(request(rig.key, "/v1/is-data-available", body, name)))
        return [record["coreVersion"] for record in answer["types"][0]["records"]]

    async def nothing_new(name: str) -> None:
        assert await available(name, streams[name][-1][1], None) == []

    async def delta(name: str) -> None:
        assert len(await available(name, streams[name][-101][1], None)) == 100

    async def get(name: str) -> None:
        records = [{"id": record_id, "expectedVersion": version} for record_id, version in streams[name][:100]]
        answer = await connection.send(request(rig.key, f"/v1/get/{_TYPE}", {"records": records}, name))
        assert answer.count(b'"Normal"') == 100

    async def school_hash(name: str) -> None:
        digest = version_hash(version for _, version in streams[name])
        assert await available(name, streams[name][-1][1], digest) == []

    async def submit(name: str) -> None:
        body = {"stateProvinceId": "123456789", "courseCode": "MAT1791", "sectionRefId": str(uuid4())}
        body |= {"courseEnrolmentStatus": "Registered", "creditsAttempted": 5}  # type: ignore[dict-item]
        records = [{"id": str(uuid4()), "expectedVersion": 0, "body": body} for _ in range(100)]
        answer = await connection.send(request(rig.key, f"/v1/submit/{_TYPE}", {"records": records}, name))
        assert answer.count(b'"rejections":[]') == 100

    kinds: dict[str, Callable[[str], Awaitable[None]]] = {
        "nothing new": nothing_new,
        "delta of 100": delta,
        "Get of 100": get,
        "a school's hash": school_hash,
        "submit of 100": submit,
    }
    spent: dict[str, list[float]] = {}
    for kind, call in kinds.items():
        for round_ in (f"{kind}, first touch", kind):
            spent[round_] = []
            for name in names:
                begun = time.perf_counter()
                await call(name)
                spent[round_].append((time.perf_counter() - begun) * 1000)
    connection.close()
    await database.close()
    return spent


async def at_size(rig: Rig, records: int) -> dict[str, list[float]]:
    """Build, let it settle, measure."""
    schools = records // _RECORDS_PER_SCHOOL
    begun = time.perf_counter()
    with Progress() as progress:
        await build(rig.database_url, records, progress, schools)
    print(f"{records:,} records built in {time.perf_counter() - begun:.0f} s")
    await asyncio.sleep(_SETTLE_SECONDS)
    return await measure(rig, schools)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--small", type=int, default=100_000)
    arguments.add_argument("--large", type=int, default=10_000_000)
    given = arguments.parse_args()
    found = []
    for records in (given.small, given.large):
        with running_node("alberta", organizations(records // _RECORDS_PER_SCHOOL)) as rig:
            found.append(asyncio.run(at_size(rig, records)))
    small, large = found
    rows = [
        [kind, spread(small[kind], 1), spread(large[kind], 1), f"{median(large[kind]) / median(small[kind]):.2f}"]
        for kind in small
    ]
    figures = {f"{given.small}": small, f"{given.large}": large}
    report("growth", ["call, ms", f"{given.small:,} records", f"{given.large:,} records", "ratio"], rows, figures)


if __name__ == "__main__":
    main()
