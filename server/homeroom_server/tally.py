"""What a node has done since it began, in plain numbers: counted where it happens, read by who asks (metrics)."""

from collections import Counter


class Tally:
    """`refusals` by the name of the limit; `answers` by service and the first digit of their status."""

    __slots__ = ("answers", "refusals", "waits_ended", "wakes")

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wakes = 0
        self.waits_ended = 0
