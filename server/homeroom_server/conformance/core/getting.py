"""Cases: what Get answers, and where it stops."""

from datetime import datetime

from homeroom_server.conformance.core.caller import Json
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, must
from homeroom_server.conformance.core.world import World


def _answered(answer: Json) -> list[tuple[str, str]]:
    return [(found["id"], found["availability"]) for found in answer["records"]]


@case("protocol 5")
async def get_stops_at_another_version(world: World) -> None:
    """The first item whose expected version is not the record's is not returned, and nothing after it."""
    kind, first, version = await world.new()
    _, second, newer = await world.new()
    asked: list[Json] = [
        {"id": first, "expectedVersion": version},
        {"id": second, "expectedVersion": newer - 1},
        {"id": kind.new_id()},
    ]
    answer = await world.one.get(kind.name, *asked)
    expect("what Get answers before it stops", _answered(answer), [(first, "Normal")])
    expect("stoppedAt", answer["stoppedAt"], 1)


@case("protocol 5")
async def unknown_never_stops_get(world: World) -> None:
    """An id that nobody has is Unknown, whatever version is expected of it, and what follows is answered."""
    kind, record_id, version = await world.new()
    nobodys = kind.new_id()
    items: list[Json] = [{"id": nobodys, "expectedVersion": version}, {"id": record_id, "expectedVersion": version}]
    answer = await world.one.get(kind.name, *items)
    expect("what Get answers", _answered(answer), [(nobodys, "Unknown"), (record_id, "Normal")])
    expect("stoppedAt", answer["stoppedAt"], None)


@case("protocol 5")
async def get_without_a_version_takes_the_record_as_it_is(world: World) -> None:
    """Expected version 0, or none, gets the current record, with when its body last changed, in UTC."""
    kind, record_id, version = await world.new()
    for item in ({"id": record_id}, {"id": record_id, "expectedVersion": 0}):
        (found,) = (await world.one.get(kind.name, item))["records"]
        expect("the version of the current record", found["coreVersion"], version)
        expect("deleted", found["deleted"], False)
        changed_at = found.get("changedAt", "")
        must(changed_at.endswith("Z"), f"changedAt is no time in UTC: {changed_at!r}")
        datetime.fromisoformat(changed_at)


@case("protocol 5")
async def get_answers_in_the_order_asked(world: World) -> None:
    """Get answers its items in their order."""
    kind = world.kind()
    ids = sorted((kind.new_id() for _ in range(8)), reverse=True)
    await world.one.write(kind.name, *[kind.record(record_id, "a") for record_id in reversed(ids)])
    answer = await world.one.get(kind.name, *[{"id": record_id} for record_id in ids])
    expect("the ids that Get answers", [found["id"] for found in answer["records"]], ids)


@case("protocol 8")
async def a_foreign_record_is_unknown(world: World) -> None:
    """A record that the caller could never see is Unknown to it, not NoAccess, and never listed to it."""
    kind = world.kind()
    since = await world.cursor(world.other, kind.name)
    _, record_id, _ = await world.new()
    found = await world.other.record(kind.name, record_id)
    expect("what Get says of a foreign record", found, {"id": record_id, "availability": "Unknown"})
    entry = await world.other.look(kind.name, since)
    must(record_id not in str(entry["records"]), f"the foreign record is listed: {entry['records']}")
