"""How long those who are woken waited for it: from the node's learning of a change to their written answers."""

import asyncio
from collections import deque
from typing import NamedTuple

from homeroom_server.tally import Timings

_KEPT_MAX = 1_000
"""Of an interval the last so many batches of answers; older ones are as good as others."""


class Wakes(NamedTuple):
    """Answers to those who waited, and after how many milliseconds half and 99 % of them were written; None: none."""

    answers: int
    p50_ms: float | None
    p99_ms: float | None


class WakeTimes:
    """What was measured since somebody last took it; `timings` keeps count of all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timings: Timings) -> None:
        self._loop = loop
        self._timings = timings
        self._count = 0
        self._kept: deque[tuple[float, int]] = deque(maxlen=_KEPT_MAX)

    def note(self, learned_at: float, answers: int) -> None:
        """So many answers have just been written, about a change that was learned of then."""
        if answers:
            self._count += answers
            seconds = self._loop.time() - learned_at
            self._kept.append((seconds, answers))
            self._timings.note(seconds, answers)

    def take(self) -> Wakes:
        """Of all since the last time."""
        count, kept = self._count, sorted(self._kept)
        self._count = 0
        self._kept.clear()
        return Wakes(count, _share(kept, 0.5), _share(kept, 0.99))


def _share(kept: list[tuple[float, int]], share: float) -> float | None:
    """The milliseconds within which that share of the answers was written."""
    wanted = share * sum(answers for _, answers in kept)
    reached = 0
    for seconds, answers in kept:
        reached += answers
        if reached >= wanted:
            return seconds * 1_000
    return None
