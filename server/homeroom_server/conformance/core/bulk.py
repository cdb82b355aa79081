"""Cases: snapshots for first loads, and repair by range fingerprints."""

import orjson

from homeroom.errors import Code
from homeroom.reconciliation import LocalRecords
from homeroom_server.conformance.core.caller import Json, versions_of
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, expect_rising, must
from homeroom_server.conformance.core.world import World

_ROUNDS_MAX = 12
"""A million records come down to single ones in four rounds of the smallest splits that make sense."""


async def _snapshot(world: World, name: str, window: str = "") -> tuple[Json, list[Json], Json]:
    """The first line, the records and the last line of a snapshot."""
    answer = await world.one.ask(f"/v1/snapshot/{name}{window}")
    expect(f"the status of {answer.request}", answer.status, 200)
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    must(len(lines) >= 2 and "until" in lines[0], f"the first line of {answer.request} does not tell until")
    must("bookmark" in lines[-1], f"the last line of {answer.request} is no bookmark")
    return lines[0], lines[1:-1], lines[-1]


def _pairs(records: list[Json]) -> list[tuple[str, int]]:
    return [(record["id"], record["coreVersion"]) for record in records]


@case("protocol 7")
async def a_snapshot_is_the_live_stream(world: World) -> None:
    """A snapshot is every live record by rising versions, with bodies, between a line with until and a bookmark."""
    kind, kept, version = await world.new()
    _, deleted, before = await world.new()
    await world.one.write(kind.name, {"id": deleted, "expectedVersion": before, "deleted": True})
    first, records, last = await _snapshot(world, kind.name)
    expect_rising("the records of the snapshot", versions_of(_pairs(records)))
    expect("the bookmark", last["bookmark"], first["until"])
    must(first["until"] >= version, f"until {first['until']} is below a version committed before, {version}")
    mine = [record for record in records if record["id"] in (kept, deleted)]
    expect("what it holds of a live and a deleted record", _pairs(mine), [(kept, version)])
    expect("the body in the snapshot", mine[0]["body"], kind.record(kept, "a")["body"])


@case("protocol 7")
async def a_snapshot_goes_on_where_it_was_cut(world: World) -> None:
    """With the last version received as after and the same until, the rest comes, and nothing newer."""
    kind, _, first = await world.new()
    _, second, version = await world.new()
    until = await world.cursor(world.one, kind.name)
    await world.new()
    head, records, last = await _snapshot(world, kind.name, f"?after={first}&until={until}")
    expect("until and bookmark", (head["until"], last["bookmark"]), (until, until))
    expect("the rest of the snapshot", _pairs(records), [(second, version)])


@case("protocol 7")
async def a_snapshots_bookmark_is_a_cursor(world: World) -> None:
    """Deltas that begin at a snapshot's bookmark list what came after the snapshot."""
    kind, _, _ = await world.new()
    _, _, last = await _snapshot(world, kind.name)
    _, record_id, version = await world.new()
    found, _ = await world.read(world.one, kind.name, last["bookmark"])
    expect("what is listed after the bookmark", found, [(record_id, version)])


@case("protocol 7")
async def a_snapshot_of_another_history_is_refused(world: World) -> None:
    """A window above every version that was ever given out is refused with 409 and 2003."""
    answer = await world.one.ask(f"/v1/snapshot/{world.kind().name}?until={2**53 - 1}")
    answer.refused(Code.OTHER_HISTORY)


@case("protocol 7")
async def equal_fingerprints_match(world: World) -> None:
    """A range whose count and fingerprint are the client's own is answered with match."""
    kind, _, _ = await world.new()
    _, records, last = await _snapshot(world, kind.name)
    asked = LocalRecords(_pairs(records)).whole()
    document = {"maxCoreVersion": last["bookmark"], "ranges": asked}
    answer = (await world.one.post(f"/v1/reconcile/{kind.name}", document)).document()
    expect(f"the results for all {len(records)} records", [each["result"] for each in answer["ranges"]], ["match"])


@case("protocol 7")
async def a_difference_is_found_by_fingerprints(world: World) -> None:
    """Ranges that differ are split, down to what differs: records missing, older, or held in vain are found."""
    kind, missing, _ = await world.new()
    _, older, version = await world.new()
    _, records, last = await _snapshot(world, kind.name)
    extra = kind.new_id()
    held = dict(_pairs(records)) | {older: version - 1, extra: 1}
    del held[missing]
    local = LocalRecords(held.items())
    ask, differing, extras = local.whole(), set(), set()
    for _ in range(_ROUNDS_MAX):
        if not ask:
            break
        document = {"maxCoreVersion": last["bookmark"], "ranges": ask[:1000]}
        answer = (await world.one.post(f"/v1/reconcile/{kind.name}", document)).document()
        step = local.compare(answer["ranges"])
        ask = [*ask[1000:], *step.ask]
        differing |= {record_id for record_id, _ in step.differing}
        extras |= set(step.extra)
    must(not ask, f"after {_ROUNDS_MAX} rounds there are still ranges to ask about")
    expect("the records that differ", sorted(differing), sorted((missing, older)))
    expect("the ids held in vain", sorted(extras), [extra])
