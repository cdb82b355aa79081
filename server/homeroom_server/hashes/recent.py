"""What was used last, up to a total size: what has not been used for longest is forgotten first."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_KEPT_SHARE = 0.95
"""Of the limit, once it was passed: forgetting one by one would walk over the gaps of all before."""


class Recent(Generic[K, V]):
    """A plain dict in the order of use: 40 bytes less an entry than one that is ordered by a list of its own."""

    def __init__(self, size_max: int, size_of: Callable[[V], int]) -> None:
        self._kept: dict[K, V] = {}
        self._size_max = size_max
        self._size_of = size_of
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """What is kept; it counts as used."""
        value = self._kept.pop(key, None)
        if value is not None:
            self._kept[key] = value
        return value

    def take(self, key: K) -> V | None:
        """What was kept and is so no longer: the caller's alone, to be put back when it has grown or shrunk."""
        value = self._kept.pop(key, None)
        if value is not None:
            self.size -= self._size_of(value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value, in place of what was kept under its key."""
        self.take(key)
        self._kept[key] = value
        self.size += self._size_of(value)
        if self.size > self._size_max:
            for oldest in list(self._kept):
                self.take(oldest)
                if self.size <= self._size_max * _KEPT_SHARE:
                    break

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0
