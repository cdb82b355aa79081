"""Cases: requests that are held until something moves, or until their wait ends."""

from collections.abc import Awaitable, Callable

import anyio

from homeroom_server.conformance.core.caller import Caller, Json, listed
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, must
from homeroom_server.conformance.core.world import WAKES_SECONDS_MAX, World

_HELD_BEFORE_SECONDS = 0.3
"""Time for a request to arrive and be held before what it waits for happens. If it is late, the promise is the same."""
_WAIT_SECONDS = 20
_SHORT_SECONDS = 2
_EARLY_SHARE_MAX = 0.1
_LATE_SECONDS_MAX = 1.0


class _Held:
    """A request that waits while something else happens; its answer, and when it came."""

    def __init__(self, caller: Caller, *entries: Json) -> None:
        self._caller = caller
        self._entries = entries
        self.answer: list[Json] = []
        self.answered_at = 0.0

    async def ask(self) -> None:
        self.answer = await self._caller.available(*self._entries, wait_seconds=_WAIT_SECONDS)
        self.answered_at = anyio.current_time()


async def _wake(world: World, held: list[_Held], act: Callable[[], Awaitable[object]]) -> None:
    """Hold the requests, do what they wait for: each must be answered in time."""
    async with anyio.create_task_group() as tasks:
        for each in held:
            tasks.start_soon(each.ask)
        await anyio.sleep(_HELD_BEFORE_SECONDS)
        must(not any(each.answered_at for each in held), "a request was answered before anything had happened")
        await act()
        acted_at = anyio.current_time()
    for each in held:
        world.in_time("the answer to a request that was held", each.answered_at - acted_at, WAKES_SECONDS_MAX)


def _entry(name: str, since: int) -> Json:
    return {"notificationType": name, "maxCoreVersion": since}


@case("protocol 3")
async def a_wait_ends_in_time(world: World) -> None:
    """A wait that ends is a 200 with reason none, at its time or up to a tenth before."""
    name = world.kind().name
    since = await world.cursor(world.one, name)
    begun_at = anyio.current_time()
    entry = await world.one.look(name, since, wait_seconds=_SHORT_SECONDS)
    seconds = anyio.current_time() - begun_at
    expect("the reason of a wait that ended", entry["reason"], "none")
    earliest = _SHORT_SECONDS * (1 - _EARLY_SHARE_MAX)
    must(seconds >= earliest, f"a wait of {_SHORT_SECONDS} seconds ended after {seconds:.2f}, before {earliest:.2f}")
    world.in_time("the end of a wait", seconds - _SHORT_SECONDS, _LATE_SECONDS_MAX)


@case("protocol 3")
async def no_wait_is_answered_now(world: World) -> None:
    """With waitSeconds 0 the answer comes at once."""
    name = world.kind().name
    since = await world.cursor(world.one, name)
    begun_at = anyio.current_time()
    await world.one.look(name, since)
    world.in_time("an answer without a wait", anyio.current_time() - begun_at, _LATE_SECONDS_MAX)


@case("protocol 3")
async def news_are_not_held(world: World) -> None:
    """Where something is newer the answer comes at once, however long the client would wait."""
    kind = world.kind()
    since = await world.cursor(world.one, kind.name)
    _, record_id, version = await world.new()
    begun_at = anyio.current_time()
    entry = await world.one.look(kind.name, since, wait_seconds=_WAIT_SECONDS)
    world.in_time("an answer with news", anyio.current_time() - begun_at, _LATE_SECONDS_MAX)
    expect("what is listed", listed(entry), [(record_id, version)])


@case("protocol 3")
async def a_change_ends_a_wait(world: World) -> None:
    """A change ends the waits of all who may see it within a second, its writer's own as well, and is listed."""
    kind = world.kind()
    since = await world.cursor(world.one, kind.name)
    held = [_Held(world.one, _entry(kind.name, since)) for _ in range(3)]
    written: list[tuple[str, int]] = []

    async def act() -> None:
        _, record_id, version = await world.new()
        written.append((record_id, version))

    await _wake(world, held, act)
    for each in held:
        expect("what is listed to who waited", listed(each.answer[0]), written)
        expect("the reason", each.answer[0]["reason"], "newer")


@case("protocol 3")
async def a_delete_ends_a_wait(world: World) -> None:
    """A delete ends a wait as any change does."""
    kind, record_id, version = await world.new()
    since = await world.cursor(world.one, kind.name)
    held = _Held(world.one, _entry(kind.name, since))
    delete = {"id": record_id, "expectedVersion": version, "deleted": True}
    await _wake(world, [held], lambda: world.one.write(kind.name, delete))
    expect("the ids that are listed", [found for found, _ in listed(held.answer[0])], [record_id])


@case("protocol 3")
async def one_of_several_types_ends_a_wait(world: World) -> None:
    """A request for several types is answered when one of them moves, with an entry for each."""
    kind, yearly = world.kind(), world.kind("year_type")
    cursors = [(each.name, await world.cursor(world.one, each.name)) for each in (kind, yearly)]
    held = _Held(world.one, *[_entry(name, since) for name, since in cursors])
    await _wake(world, [held], lambda: world.new(role="year_type"))
    expect("the reasons", [entry["reason"] for entry in held.answer], ["none", "newer"])


@case("protocol 8")
async def what_others_do_ends_no_wait(world: World) -> None:
    """What an organisation may not see does not end its wait."""
    kind, other = world.kind(), world.other
    since = await world.cursor(world.one, kind.name)
    entries: list[Json] = []
    begun_at = ended_at = anyio.current_time()

    async def wait() -> None:
        nonlocal ended_at
        entries.append(await world.one.look(kind.name, since, wait_seconds=_SHORT_SECONDS))
        ended_at = anyio.current_time()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(_HELD_BEFORE_SECONDS)
        await other.write(kind.name, kind.record(kind.new_id(), "a"))
    seconds = ended_at - begun_at
    expect("what is listed", listed(entries[0]), [])
    earliest = _SHORT_SECONDS * (1 - _EARLY_SHARE_MAX)
    must(seconds >= earliest, f"the wait of {_SHORT_SECONDS} seconds was ended after {seconds:.2f} by what others did")
