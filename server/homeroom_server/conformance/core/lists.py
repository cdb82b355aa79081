"""Cases: what Is Data Available lists."""

from homeroom.errors import Code
from homeroom_server.conformance.core.caller import listed, versions_of
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, expect_rising, must
from homeroom_server.conformance.core.world import World


@case("protocol 3")
async def a_first_look_lists_every_live_record(world: World) -> None:
    """From cursor 0 every live record of the stream is listed, once, by rising versions."""
    kind, first, before = await world.new()
    _, second, after = await world.new()
    (again,) = await world.one.write(kind.name, kind.record(first, "b", before))
    found, cursor = await world.read(world.one, kind.name, 0)
    expect_rising("the list", versions_of(found))
    mine = [pair for pair in found if pair[0] in (first, second)]
    expect("what is listed of two records", mine, [(second, after), (first, again)])
    must(cursor >= again, f"the cursor {cursor} is below what was listed ({again})")


@case("protocol 3")
async def a_delta_lists_what_is_newer(world: World) -> None:
    """A delta has reason newer and lists each record that is above the cursor, once, at its newest version."""
    kind, _, _ = await world.new()
    since = await world.cursor(world.one, kind.name)
    _, record_id, version = await world.new()
    (again,) = await world.one.write(kind.name, kind.record(record_id, "b", version))
    entry = await world.one.look(kind.name, since)
    expect("the reason", entry["reason"], "newer")
    expect("what is listed", listed(entry), [(record_id, again)])
    expect("complete", entry["complete"], True)
    must(entry["maxCoreVersion"] >= again, f"the cursor {entry['maxCoreVersion']} is below what was listed ({again})")


@case("protocol 3")
async def any_earlier_cursor_goes_on(world: World) -> None:
    """A cursor from before is answered with everything since, however often it was used."""
    kind = world.kind()
    since = await world.cursor(world.one, kind.name)
    written = [(record_id, version) for _, record_id, version in [await world.new() for _ in range(3)]]
    for _ in range(2):
        expect("what is listed since", listed(await world.one.look(kind.name, since)), written)


@case("protocol 3")
async def a_delete_is_listed(world: World) -> None:
    """A delete is listed in deltas, at its version."""
    kind, record_id, version = await world.new()
    since = await world.cursor(world.one, kind.name)
    (gone,) = await world.one.write(kind.name, {"id": record_id, "expectedVersion": version, "deleted": True})
    expect("what is listed after a delete", listed(await world.one.look(kind.name, since)), [(record_id, gone)])


@case("protocol 3")
async def no_news_is_none(world: World) -> None:
    """Where nothing is newer the reason is none, the list is empty and complete, and the cursor does not go back."""
    kind, _, _ = await world.new()
    since = await world.cursor(world.one, kind.name)
    entry = await world.one.look(kind.name, since)
    said = {member: entry[member] for member in ("reason", "records", "complete")}
    expect("what is said where nothing is newer", said, {"reason": "none", "records": [], "complete": True})
    must(entry["maxCoreVersion"] >= since, f"the cursor went back from {since} to {entry['maxCoreVersion']}")


@case("protocol 3")
async def a_cursor_moves_on_without_news(world: World) -> None:
    """The cursor is the type's watermark, also where only others wrote: it moves on, and nothing is listed."""
    kind = world.kind()
    since = await world.cursor(world.one, kind.name)
    (theirs,) = await world.other.write(kind.name, kind.record(kind.new_id(), "a"))
    entry = await world.one.look(kind.name, since)
    expect("what is listed to who did not write", listed(entry), [])
    must(entry["maxCoreVersion"] >= theirs, f"the cursor is {entry['maxCoreVersion']}, the type was at {theirs}")


@case("protocol 3")
async def types_are_answered_in_the_order_asked(world: World) -> None:
    """Several types in one call are answered in their order, each in its canonical spelling."""
    names = [each["name"] for each in world.types.values() if each["schoolYear"] != "required"][:8]
    names.reverse()
    asked = [{"notificationType": name.lower(), "maxCoreVersion": 0} for name in names]
    found = await world.one.available(*asked)
    expect("the types of the answer", [entry["notificationType"] for entry in found], names)


@case("protocol 3")
async def a_full_list_goes_on_where_it_was_cut(world: World) -> None:
    """With listAfter and the list's maxCoreVersion come the live records between the two, without waiting."""
    kind, _, _ = await world.new()
    _, second, version = await world.new()
    until = await world.cursor(world.one, kind.name)
    found, cursor = await world.read(world.one, kind.name, until, listAfter=version - 1)
    expect("the rest of the list", found, [(second, version)])
    expect("its cursor", cursor, until)


@case("protocol 3")
async def a_version_of_another_history_is_refused(world: World) -> None:
    """A cursor above every version that was ever given out is refused with 409 and 2003."""
    asked = {"notificationType": world.kind().name, "maxCoreVersion": 2**53 - 1}
    answer = await world.one.post("/v1/is-data-available", {"waitSeconds": 0, "types": [asked]})
    answer.refused(Code.OTHER_HISTORY)
