"""Cases: version order, and that a reader with a cursor misses nothing while many write."""

from dataclasses import dataclass, field

import anyio

from homeroom_server.conformance.core.caller import listed, versions_of
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, expect_rising, must
from homeroom_server.conformance.core.kind import Kind
from homeroom_server.conformance.core.world import World

_WRITERS = 4
_CALLS = 5
_RECORDS = 5


@dataclass
class _Busy:
    """What several writers wrote, a call of several records each time, and what one reader was told meanwhile."""

    kind: Kind
    batches: list[dict[str, int]] = field(default_factory=list)
    deltas: list[list[tuple[str, int]]] = field(default_factory=list)
    writing: int = _WRITERS


async def _busy_time(world: World) -> _Busy:
    busy = _Busy(world.kind())
    since = await world.cursor(world.one, busy.kind.name)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_follow, world, busy, since)
        for _ in range(_WRITERS):
            tasks.start_soon(_write, world, busy)
    return busy


async def _write(world: World, busy: _Busy) -> None:
    for _ in range(_CALLS):
        ids = [busy.kind.new_id() for _ in range(_RECORDS)]
        versions = await world.one.write(busy.kind.name, *[busy.kind.record(record_id, "a") for record_id in ids])
        busy.batches.append(dict(zip(ids, versions, strict=True)))
    busy.writing -= 1


async def _follow(world: World, busy: _Busy, since: int) -> None:
    """One look after the other, the last begun when everything had been written."""
    while True:
        ended = busy.writing == 0
        entry = await world.one.look(busy.kind.name, since, wait_seconds=0 if ended else 1)
        busy.deltas.append(listed(entry))
        since = entry["maxCoreVersion"]
        if ended and entry["complete"]:
            return


@case("protocol 1")
async def versions_rise(world: World) -> None:
    """Every version of a type is above all those given before, within one call and from call to call."""
    kind = world.kind()
    versions: list[int] = []
    for _ in range(3):
        versions += sorted(await world.one.write(kind.name, *[kind.record(kind.new_id(), "a") for _ in range(3)]))
    expect_rising("the versions of three calls with three records each", versions)


@case("protocol 1")
async def one_counter_serves_all_types(world: World) -> None:
    """Versions rise over all types together: there is one counter."""
    versions = [(await world.new(role=role))[2] for role in ("type", "year_type", "type", "year_type")]
    expect_rising("the versions of two types by turns", versions)


@case("protocol 9")
async def a_reader_misses_nothing(world: World) -> None:
    """Whoever follows a stream while several write at once is told every change, by rising versions, none twice."""
    busy = await _busy_time(world)
    told = [pair for delta in busy.deltas for pair in delta]
    expect_rising("what one reader was told", versions_of(told))
    written = {record_id: version for batch in busy.batches for record_id, version in batch.items()}
    missed = [pair for pair in written.items() if pair not in told]
    must(
        not missed,
        f"of {len(written)} records that {_WRITERS} wrote at once, a reader missed {len(missed)}: {missed[:3]}",
    )
    expect("what was told beyond what was written", [pair for pair in told if pair[0] not in written], [])


@case("protocol 9")
async def what_is_written_together_is_shown_together(world: World) -> None:
    """Of the records of one call a stream shows all or none, whenever one looks."""
    busy = await _busy_time(world)
    for delta in busy.deltas:
        ids = {record_id for record_id, _ in delta}
        for batch in busy.batches:
            seen = len(ids & batch.keys())
            must(seen in (0, len(batch)), f"a look showed {seen} of the {len(batch)} records of one call: {delta[:10]}")
