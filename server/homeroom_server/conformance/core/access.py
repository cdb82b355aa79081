"""Cases: access is data. A student moves from one organisation to another, by an enrolment of the second."""

from dataclasses import dataclass

import anyio

from homeroom_server.conformance.core.caller import Json, listed
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import BrokenPromiseError, expect, must
from homeroom_server.conformance.core.kind import Kind
from homeroom_server.conformance.core.world import FOLLOWS_SECONDS_MAX, World

_LOOKED_AGAIN_SECONDS = 0.05


@dataclass
class _Move:
    """A student whom the first organisation created and saw at `version`; the second enrolled it, and sees it now."""

    student: Kind
    record_id: str
    version: int
    losers_since: int
    gained: int


async def _move(world: World) -> _Move:
    student, enrolment, other = world.kind("student_type"), world.kind("enrolment_type"), world.other
    losers_since = await world.cursor(world.one, student.name)
    winners_since = await world.cursor(other, student.name)
    record_id = student.new_id()
    (version,) = await world.one.write(student.name, student.record(record_id, "a"))
    losers_since = await world.until_listed(world.one, student.name, losers_since, record_id)
    enrol = enrolment.record(enrolment.new_id(), "a", student=record_id, organization=other.organization)
    await other.write(enrolment.name, enrol)
    gained = await world.until_listed(other, student.name, winners_since, record_id)
    return _Move(student, record_id, version, losers_since, gained)


async def _lost(world: World) -> _Move:
    """A move, once Get no longer gives the student to the first organisation."""
    move = await _move(world)
    limit = FOLLOWS_SECONDS_MAX * world.patience
    with anyio.move_on_after(limit):
        while True:
            if (await world.one.record(move.student.name, move.record_id))["availability"] != "Normal":
                return move
            await anyio.sleep(_LOOKED_AGAIN_SECONDS)
    raise BrokenPromiseError(f"after {limit:.0f} seconds Get still gives the student to who lost it")


@case("protocol 8")
async def a_gain_is_a_change(world: World) -> None:
    """Who gains access is listed the record at a new version, however old it is, and Get gives it whole."""
    move = await _move(world)
    must(move.gained > move.version, f"gained at version {move.gained}, not above the record's own {move.version}")
    found = await world.other.record(move.student.name, move.record_id)
    expect("what Get says to who gained", found["availability"], "Normal")
    expect("its body", found["body"], move.student.record(move.record_id, "a")["body"])


@case("protocol 8")
async def a_loss_is_listed(world: World) -> None:
    """Who loses access is listed the record once more, in a delta."""
    move = await _move(world)
    name, record_id = move.student.name, move.record_id
    await world.until_listed(world.one, name, move.losers_since, record_id, above=move.version)


@case("protocol 5")
async def a_lost_record_is_no_access(world: World) -> None:
    """Of a record that was the caller's and no longer is Get says NoAccess, nothing else, and goes on."""
    move = await _lost(world)
    name = move.student.name
    nobodys = move.student.new_id()
    items: list[Json] = [{"id": move.record_id, "expectedVersion": move.version}, {"id": nobodys}]
    answer = await world.one.get(name, *items)
    wanted = [{"id": move.record_id, "availability": "NoAccess"}, {"id": nobodys, "availability": "Unknown"}]
    expect("what Get says", answer["records"], wanted)
    expect("stoppedAt", answer["stoppedAt"], None)


@case("protocol 8")
async def nothing_reaches_who_lost(world: World) -> None:
    """After a loss nothing about the record is listed to who lost it, whatever happens to it."""
    move = await _lost(world)
    name = move.student.name
    since = await world.cursor(world.one, name)
    now = await world.other.record(name, move.record_id)
    changed = move.student.record(move.record_id, "b", now["coreVersion"])
    (version,) = await world.other.write(name, changed)
    entry = await world.one.look(name, since)
    must(entry["maxCoreVersion"] >= version, f"the cursor {entry['maxCoreVersion']} is not yet at {version}")
    expect("what is listed to who lost", [pair for pair in listed(entry) if pair[0] == move.record_id], [])


@case("protocol 6")
async def a_lost_record_cannot_be_written(world: World) -> None:
    """Who lost a record is rejected with 9020 when it writes it."""
    move = await _lost(world)
    now = await world.other.record(move.student.name, move.record_id)
    update = move.student.record(move.record_id, "b", now["coreVersion"])
    (result,) = await world.one.submit(move.student.name, update)
    expect("the codes for a lost record", [each["code"] for each in result["rejections"]], [9020])
