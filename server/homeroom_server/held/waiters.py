"""Who waits for which stream: found by stream, never by scanning; answered with finished bytes."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel

from homeroom.errors import Code, HomeroomError, error
from homeroom.protocol import NotificationType
from homeroom_server.auth import Caller, Directory
from homeroom_server.client_traffic import ClientTraffic
from homeroom_server.held.answer import Answer
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.held.news import Interest, News
from homeroom_server.held.wake_times import WakeTimes
from homeroom_server.held.wheel import Wheel
from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_EARLY_SHARE_MAX = 0.1
"""Waits end up to this share early, at random, so that clients do not come back in step."""
_TICK_SECONDS = 0.1
_ANSWERED_AT_ONCE = 100
"""After so many answers the node turns to whatever else has come."""
_CURSORS_KEPT_MAX = 1_000


class Outlet(Protocol):
    """Where the answer of a held request goes: a parked connection, or a task that waits."""

    def answer(self, answer: Answer) -> None:
        """A 200."""

    def refuse(self, failure: HomeroomError) -> None:
        """The caller may no longer call."""


class Held:
    """One request that watches its streams; held once it has an outlet.

    `cursors`: the version of each type up to which it has been looked at. `moved`: something came before it was held.
    `held_at`: since when it is held, to a tick.
    """

    __slots__ = ("caller", "cursors", "held_at", "interest", "moved", "outlet", "slot")

    def __init__(self, caller: Caller, interest: Interest) -> None:
        self.caller = caller
        self.interest = interest
        self.cursors: tuple[int, ...] = ()
        self.held_at = 0.0
        self.moved = False
        self.outlet: Outlet | None = None
        self.slot: set[Held] | None = None


class Waiters:
    """Everyone who watches, and how many requests are held."""

    def __init__(
        self, directory: Directory, bookmarks: Bookmarks, traffic: ClientTraffic, settings: Settings, tally: Tally
    ) -> None:
        self._directory = directory
        self._bookmarks = bookmarks
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._tick = 0.0
        self._interests: WeakValueDictionary[tuple[object, ...], Interest] = WeakValueDictionary()
        self._whole: dict[Interest, set[Held]] = {}
        self._viewers: dict[int, Held | set[Held]] = {}  # one who waits alone, as most do, needs no set
        self._cursors: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._due: Wheel[Held] = Wheel(_TICK_SECONDS, self.release)
        self._per_client_max = settings.held_requests_per_client_max
        self._per_node_max = settings.held_requests_per_node_max
        self._tally = tally
        self._held_by_client: dict[int, int] = {}
        self.wake_times = WakeTimes(self._loop, tally.wake_times)
        self.held = 0
        self.draining = False
        self.holding = True

    @property
    def held_by_one(self) -> int:
        """Requests held by the client that has most of them."""
        return max(self._held_by_client.values(), default=0)

    def interest(self, types: Sequence[NotificationType], everything: Sequence[bool]) -> Interest:
        """The one object for everyone who asks for these types with these eyes."""
        key = (tuple(types), tuple(everything))
        interest = self._interests.get(key)
        if interest is None:
            interest = self._interests[key] = Interest(*key)
        return interest

    @contextmanager
    def watch(self, caller: Caller, interest: Interest) -> Iterator[Held]:
        """A request that misses nothing from now on: until the block ends, or as long as it is held beyond it."""
        held = Held(caller, interest)
        self._add(held)
        try:
            yield held
        finally:
            if held.slot is None:  # never held: its answer ends no watch
                self._remove(held)

    def admit(self, caller: Caller) -> None:
        """Raises RetryLater: 2004 if the client holds as many requests as it may, 2001 if the node does."""
        if self._held_by_client.get(caller.client, 0) >= self._per_client_max:
            self._tally.refusals["held_requests_per_client_max"] += 1
            detail = f"this client holds {self._per_client_max} requests (held_requests_per_client_max)"
            raise error(Code.CLIENT_LIMIT, detail)
        if self.held >= self._per_node_max:
            self._tally.refusals["held_requests_per_node_max"] += 1
            detail = f"this node holds {self._per_node_max} requests (held_requests_per_node_max)"
            raise error(Code.CORE_NOT_AVAILABLE, detail)

    def hold(self, held: Held, cursors: tuple[int, ...], wait_seconds: float, outlet: Outlet) -> None:
        """Answer through `outlet` when something comes above the cursors, or the wait ends.

        To be called with no wait since the look that found nothing above the cursors, and only if nothing has moved.
        """
        assert not held.moved
        if len(self._cursors) >= _CURSORS_KEPT_MAX:
            self._cursors.clear()
        held.cursors = self._cursors.setdefault(cursors, cursors)
        held.outlet = outlet
        now = self._loop.time()
        if now - self._tick > _TICK_SECONDS:
            self._tick = now  # one number for all who come within it
        held.held_at = self._tick
        early = random.uniform(0, _EARLY_SHARE_MAX)
        held.slot = self._due.add(held, wait_seconds * (1 - early))
        client = held.caller.client
        self._held_by_client[client] = self._held_by_client.get(client, 0) + 1
        self.held += 1

    def leave(self, held: Held) -> None:
        """Its client has hung up, or somebody between has."""
        if held.outlet is not None:
            self._take(held)
            self._traffic.wait_cut(held.caller.client, self._loop.time() - held.held_at)

    def watched(self, notification_type: NotificationType) -> bool:
        """Whether anyone at all watches a type."""
        return any(notification_type in interest.types for interest in self._interests.values())

    async def wake(self, news: News, learned_at: float) -> None:
        """Answer everyone for whom there is something in it; those who are still looking look again.

        `learned_at`: when the node first heard of it.
        """
        told = 0
        for number, held in enumerate(self._concerned(news), 1):
            if held.outlet is None:
                held.moved = True
            else:
                viewer = held.caller.organization.number
                answer = news.answer(self._bookmarks, held.interest, viewer, held.cursors)
                if answer is not None:
                    self._tally.wakes += self._tell(held, answer)
                    told += 1
            if number % _ANSWERED_AT_ONCE == 0:
                self.wake_times.note(learned_at, told)
                told = 0
                await anyio.lowlevel.checkpoint()
        self.wake_times.note(learned_at, told)
        for moved in news.types.values():  # last: a wait that ended meanwhile must not pass what it was not told
            self._bookmarks.advance(moved.notification_type, moved.bookmark)

    def release(self, held: Held) -> None:
        """End a wait with bookmarks."""
        if held.outlet is not None and self._tell(held, self._bookmarks.nothing(held.interest.types, held.cursors)):
            self._tally.waits_ended += 1

    def refuse_all(self, failure: HomeroomError) -> None:
        """End every wait with an error, before any of them can end otherwise; who is still looking looks again."""
        for held in self._watching():
            held.moved = True
        for held in self._due.members():
            if held.outlet is not None:
                self._take(held).refuse(failure)

    async def drain(self, seconds: float, notice_seconds: float = 0) -> None:
        """Release every held request within `seconds`, at random moments, and hold no more.

        Before that, `draining` says for `notice_seconds` what is to come: who is released finds another node then.
        """
        self.draining = True
        await anyio.sleep(notice_seconds)
        self.holding = False
        everyone = self._due.members()
        random.shuffle(everyone)
        begun = anyio.current_time()
        for number, held in enumerate(everyone, 1):
            await anyio.sleep_until(begun + seconds * number / len(everyone))
            self.release(held)

    def _tell(self, held: Held, answer: Answer) -> bool:
        """Whether it was told; else it was refused, as it may no longer call."""
        try:
            self._directory.check_again(held.caller)
        except HomeroomError as failure:
            self._take(held).refuse(failure)
            return False
        self._take(held).answer(answer)
        self._traffic.wait_ended(held.caller.client)
        return True

    def _watching(self) -> Iterator[Held]:
        for whole in self._whole.values():
            yield from whole
        for entry in self._viewers.values():
            yield from entry if isinstance(entry, set) else (entry,)

    def _concerned(self, news: News) -> set[Held]:
        found: set[Held] = set()
        for moved in news.types.values():
            for viewer in (None, *self._viewers) if moved.lost else moved.streams:
                if viewer is None:
                    for interest, whole in self._whole.items():
                        if moved.notification_type in interest.whole:
                            found |= whole
                elif (entry := self._viewers.get(viewer)) is not None:
                    found |= entry if isinstance(entry, set) else {entry}
        return found

    def _take(self, held: Held) -> Outlet:
        """Its outlet; it is no longer held."""
        outlet = held.outlet
        assert outlet is not None
        held.outlet = None
        if held.slot is not None:
            held.slot.discard(held)
        self.held -= 1
        client = held.caller.client
        left = self._held_by_client[client] - 1
        if left:
            self._held_by_client[client] = left
        else:
            del self._held_by_client[client]
        self._remove(held)
        return outlet

    def _add(self, held: Held) -> None:
        if held.interest.whole:
            self._whole.setdefault(held.interest, set()).add(held)
        if held.interest.as_viewer:
            others = self._viewers.setdefault(held.caller.organization.number, held)
            if isinstance(others, set):
                others.add(held)
            elif others is not held:
                self._viewers[held.caller.organization.number] = {others, held}

    def _remove(self, held: Held) -> None:
        if held.interest.whole:
            whole = self._whole[held.interest]
            whole.discard(held)
            if not whole:
                del self._whole[held.interest]
        if held.interest.as_viewer:
            others = self._viewers[held.caller.organization.number]
            if isinstance(others, set):
                others.discard(held)
            if others is held or not others:
                del self._viewers[held.caller.organization.number]
