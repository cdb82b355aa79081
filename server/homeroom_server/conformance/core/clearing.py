"""Case: what the suite wrote is deleted again."""

from collections.abc import Sequence

from homeroom.protocol import RECORDS_PER_CALL_MAX
from homeroom_server.conformance.core.caller import Caller
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect
from homeroom_server.conformance.core.world import World


@case("protocol 6")
async def own_records_are_deleted(world: World) -> None:
    """What the suite wrote can be deleted again by those who see it."""
    expect("ids that the suite wrote and could not delete", await delete_own(world), [])


async def delete_own(world: World) -> list[str]:
    """Delete what still lives of all that was written; the ids for which that failed."""
    written: dict[str, list[str]] = {}
    for name, record_id in {place: None for caller in world.writers for place in caller.wrote}:
        written.setdefault(name, []).append(record_id)
    for caller in world.writers:
        caller.wrote.clear()
    students = world.kinds["student_type"].name if "student_type" in world.kinds else ""
    left: list[str] = []
    # Students first: a deleted enrolment takes them out of sight.
    for name in sorted(written, key=lambda name: name != students):
        for start in range(0, len(written[name]), RECORDS_PER_CALL_MAX):
            ids = written[name][start : start + RECORDS_PER_CALL_MAX]
            for caller in world.writers:
                left += await _delete(caller, name, ids)
    return left


async def _delete(caller: Caller, name: str, ids: Sequence[str]) -> list[str]:
    """Delete what the caller sees living; the ids that were rejected."""
    records = (await caller.get(name, *[{"id": record_id} for record_id in ids]))["records"]
    deletes = [
        {"id": found["id"], "expectedVersion": found["coreVersion"], "deleted": True}
        for found in records
        if found["availability"] == "Normal" and not found["deleted"]
    ]
    results = await caller.submit(name, *deletes) if deletes else []
    caller.wrote.clear()
    return [result["id"] for result in results if result["rejections"]]
