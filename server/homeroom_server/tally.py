"""What a node has done since it began, in plain numbers: counted where it happens, read by who asks (metrics)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Timings:
    """How often something took how many seconds, in buckets that never change."""

    __slots__ = ("_counts", "sum_seconds")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self.sum_seconds = 0.0

    def note(self, seconds: float, times: int = 1) -> None:
        self._counts[bisect_left(_BOUNDS, seconds)] += times
        self.sum_seconds += seconds * times

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Each bound as Prometheus writes it, and how often it took no longer."""
        return zip([*map(str, _BOUNDS), "+Inf"], accumulate(self._counts), strict=True)


class Tally:
    """`refusals` by the name of the limit; `answers` by service and the first digit of their status.

    `commit_times`: of transactions of records; `wake_times`: from learning of a change to an answer to who waited.
    """

    __slots__ = ("answers", "commit_times", "refusals", "waits_ended", "wake_times", "wakes")

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wakes = 0
        self.waits_ended = 0
        self.commit_times = Timings()
        self.wake_times = Timings()
