"""What does a repair cost? 1,000,000 records, 100 of them different: round trips and bytes beside the full list."""

import argparse
import asyncio
import random
import time
from typing import Any

import orjson
from rich.progress import Progress

from bench.loader import Connection, connect, request
from bench.province import SHARES, build, organizations
from bench.rig import Rig, report, running_node
from homeroom.protocol import RANGES_PER_CALL_MAX
from homeroom.reconciliation import LocalRecords

_TYPE = "CourseEnrolment.2027"
_SHARE = next(share.per_cent for share in SHARES if str(share.notification_type) == _TYPE)


async def _everything(rig: Rig, connection: Connection) -> tuple[dict[str, int], int, int]:
    """The full list as Is Data Available gives it: (versions by id, cursor, bytes)."""
    held: dict[str, int] = {}
    cursor, size, complete = 0, 0, False
    while not complete:
        asked = {"waitSeconds": 0, "types": [{"notificationType": _TYPE, "maxCoreVersion": cursor}]}
        answer = await connection.send(request(rig.key, "/v1/is-data-available", asked))
        size += len(answer)
        (entry,) = orjson.loads(answer)["types"]
        held |= {record["id"]: record["coreVersion"] for record in entry["records"]}
        cursor, complete = entry["maxCoreVersion"], entry["complete"]
    return held, cursor, size


def _damage(held: dict[str, int], count: int) -> dict[str, int]:
    """A replica with so many differences: a third missing, a third stale, the rest extra."""
    chance = random.Random(1)
    chosen = chance.sample(sorted(held), count)
    third = count // 3
    damaged = {i: v for i, v in held.items() if i not in set(chosen[:third])}
    damaged |= dict.fromkeys(chosen[third : 2 * third], 1)
    return damaged | {f"{i[:-4]}ffff": 7 for i in chosen[2 * third :]}


async def repair(rig: Rig, connection: Connection, held: dict[str, int], cursor: int) -> dict[str, Any]:
    """Reconcile and Get until the replica is whole; what that took."""
    begun = time.perf_counter()
    local = LocalRecords(held.items())
    prepared = time.perf_counter()
    ask = local.whole()
    trips = size = 0
    wanted: list[str] = []

    async def call(path: str, body: Any) -> Any:
        nonlocal trips, size
        sent = request(rig.key, path, body)
        answer = await connection.send(sent)
        trips += 1
        size += len(sent) + len(answer)
        return orjson.loads(answer)

    while ask:
        now, ask = ask[:RANGES_PER_CALL_MAX], ask[RANGES_PER_CALL_MAX:]
        answer = await call(f"/v1/reconcile/{_TYPE}", {"maxCoreVersion": cursor, "ranges": now})
        step = local.compare(answer["ranges"])
        ask = [*step.ask, *ask]
        wanted += [record_id for record_id, _ in step.differing] + list(step.extra)
    if wanted:
        fetched = await call(f"/v1/get/{_TYPE}", {"records": [{"id": record_id} for record_id in wanted]})
        for record in fetched["records"]:
            if record["availability"] == "Normal":
                held[record["id"]] = record["coreVersion"]
            else:
                held.pop(record["id"], None)
    return {
        "roundTrips": trips,
        "bytes": size,
        "seconds": time.perf_counter() - prepared,
        "clientHashSeconds": prepared - begun,
    }


async def measure(rig: Rig, records: int, differences: int) -> None:
    """The table."""
    with Progress() as progress:
        await build(rig.database_url, records * 100 // _SHARE, progress)
    connection = await connect(rig.host, rig.port)
    core, cursor, full = await _everything(rig, connection)
    same = await repair(rig, connection, dict(core), cursor)
    damaged = _damage(core, differences)
    repaired = await repair(rig, connection, damaged, cursor)
    assert damaged == core, "the replica is whole again"
    connection.close()
    rows = [
        ["records", f"{len(core):,}", ""],
        ["full list", f"{full:,} bytes", ""],
        ["identical replica", f"{same['bytes']:,} bytes", f"{same['roundTrips']} round trip, {same['seconds']:.2f} s"],
        [
            f"{differences} differences",
            f"{repaired['bytes']:,} bytes",
            f"{repaired['roundTrips']} round trips (Get included), {repaired['seconds']:.2f} s",
        ],
        ["of the full list", f"{repaired['bytes'] / full:.2%}", ""],
        ["the client's own hashing", "", f"{repaired['clientHashSeconds']:.2f} s"],
    ]
    figures = {"records": len(core), "fullListBytes": full, "identical": same, "repaired": repaired}
    report("reconcile", ["what", "size", "cost"], rows, figures)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--differences", type=int, default=100)
    given = arguments.parse_args()
    with running_node("alberta", organizations()) as rig:
        asyncio.run(measure(rig, given.records, given.differences))


if __name__ == "__main__":
    main()
