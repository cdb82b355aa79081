"""Time-outs for tens of thousands: one timer a moment, not one for each who waits for it."""

import asyncio
import math
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Members are handed to `due` at their time or up to `tick_seconds` later."""

    def __init__(self, tick_seconds: float, due: Callable[[T], None]) -> None:
        self._tick_seconds = tick_seconds
        self._due = due
        self._slots: dict[int, set[T]] = {}
        self._loop = asyncio.get_running_loop()

    def add(self, member: T, seconds: float) -> set[T]:
        """Wait so long; who no longer wants to be told removes itself from the set that is returned."""
        number = math.ceil((self._loop.time() + seconds) / self._tick_seconds)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = set()
            self._loop.call_at(number * self._tick_seconds, self._turn, number)
        slot.add(member)
        return slot

    def members(self) -> list[T]:
        """Everyone who waits."""
        return [member for slot in self._slots.values() for member in slot]

    def _turn(self, number: int) -> None:
        slot = self._slots.pop(number)
        while slot:
            self._due(slot.pop())
