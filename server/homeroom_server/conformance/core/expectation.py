"""What was expected and what was seen, in words that the server's developer can act on."""

import json
from collections.abc import Sequence
from itertools import pairwise

_SHOWN_MAX = 300


class BrokenPromiseError(Exception):
    """The server did something else than the protocol says."""


class NotTriedError(Exception):
    """The case needs something that was not given; the message says what."""


def expect(what: str, seen: object, wanted: object) -> None:
    """`seen` must be what is wanted."""
    if seen != wanted:
        raise BrokenPromiseError(f"{what}: expected {shown(wanted)}, seen {shown(seen)}")


def must(holds: object, said: str) -> None:
    """What is said must hold."""
    if not holds:
        raise BrokenPromiseError(said)


def expect_rising(what: str, versions: Sequence[int]) -> None:
    """Each version is above the one before."""
    rising = all(before < after for before, after in pairwise(versions))
    must(rising, f"{what}: expected versions that rise from one to the next, seen {shown(versions)}")


def shown(value: object) -> str:
    """A value as JSON where it has one, cut to what fits a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
