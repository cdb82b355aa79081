"""The order of items that both sides may have rearranged."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def woven(lead: Iterable[Key], other: Iterable[Key]) -> list[Key]:
    """The keys of both: in the order of `lead`, each further one right after what stands before it in `other`."""
    result = list(lead)
    known, place = set(result), 0
    for key in other:
        if key in known:
            place = result.index(key) + 1
        else:
            result.insert(place, key)
            place += 1
    return result


def is_moved(now: Sequence[Key], was: Sequence[Key]) -> bool:
    """Whether items were added or rearranged; the removal of one moves no other."""
    left = set(now)
    return list(now) != [key for key in was if key in left]
