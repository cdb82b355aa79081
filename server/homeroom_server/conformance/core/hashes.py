"""Cases: version hashes, and what becomes of one that differs."""

import anyio

from homeroom.protocol import version_hash
from homeroom_server.conformance.core.caller import listed, versions_of
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, expect_rising
from homeroom_server.conformance.core.world import World

_WAIT_SECONDS = 4
_EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
_WRONG = "0123456789abcdef0123456789abcdef"


async def _live(world: World, name: str, cursor: int) -> list[tuple[str, int]]:
    """All live records, as the server lists them to who holds something else."""
    found, _ = await world.read(world.one, name, cursor, versionHash=_WRONG)
    return found


@case("protocol 4")
async def a_hash_that_differs_gets_the_full_list(world: World) -> None:
    """A hash that differs is answered with reason mismatch and every live record, no deleted ones, by version."""
    kind, kept, version = await world.new()
    _, deleted, before = await world.new()
    await world.one.write(kind.name, {"id": deleted, "expectedVersion": before, "deleted": True})
    cursor = await world.cursor(world.one, kind.name)
    entry = await world.one.look(kind.name, cursor, versionHash=_WRONG)
    expect("the reason", entry["reason"], "mismatch")
    found = await _live(world, kind.name, cursor)
    expect_rising("the full list", versions_of(found))
    mine = [pair for pair in found if pair[0] in (kept, deleted)]
    expect("what is listed of a live and a deleted record", mine, [(kept, version)])


@case("protocol 4")
async def a_hash_that_agrees_gets_nothing(world: World) -> None:
    """MD5 over the live versions, ascending, 8 bytes big-endian each, is agreed to with reason none."""
    kind, _, _ = await world.new()
    cursor = await world.cursor(world.one, kind.name)
    versions = versions_of(await _live(world, kind.name, cursor))
    entry = await world.one.look(kind.name, cursor, versionHash=version_hash(versions))
    expect(f"the reason for the right hash over {len(versions)} live versions", entry["reason"], "none")


@case("protocol 4")
async def the_hash_of_nothing_is_known(world: World) -> None:
    """Of an empty stream the hash is that of no bytes; any other is a mismatch with an empty list."""
    name = world.kind("year_type").in_year(1900).name
    cursor = await world.cursor(world.one, name)
    entry = await world.one.look(name, cursor, versionHash=_EMPTY)
    expect(f"the reason for the hash of nothing in {name}", entry["reason"], "none")
    entry = await world.one.look(name, cursor, versionHash=_WRONG)
    expect(f"the reason for another hash in {name}", entry["reason"], "mismatch")
    expect("its list", listed(entry), [])


@case("protocol 4")
async def a_hash_is_judged_when_nothing_is_newer(world: World) -> None:
    """While something is above the cursor the hash is not judged: the answer is the delta."""
    kind, _, _ = await world.new()
    since = await world.cursor(world.one, kind.name)
    _, record_id, version = await world.new()
    entry = await world.one.look(kind.name, since, versionHash=_WRONG)
    expect("the reason", entry["reason"], "newer")
    expect("what is listed", listed(entry), [(record_id, version)])


@case("protocol 4")
async def a_hash_that_differs_is_not_held(world: World) -> None:
    """A hash that differs is answered at once, however long the client would wait."""
    kind, _, _ = await world.new()
    cursor = await world.cursor(world.one, kind.name)
    begun_at = anyio.current_time()
    entry = await world.one.look(kind.name, cursor, wait_seconds=_WAIT_SECONDS, versionHash=_WRONG)
    expect("the reason", entry["reason"], "mismatch")
    world.in_time("the answer to a hash that differs", anyio.current_time() - begun_at, _WAIT_SECONDS / 2)
