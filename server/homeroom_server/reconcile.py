"""Reconciliation, the Core's side: id ranges held against a client's fingerprints (protocol 7). Stateless."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from homeroom.reconciliation import fingerprint
from homeroom_server.store import bulk
from homeroom_server.store.bulk import Piece
from homeroom_server.store.connection import Conn

_PIECES = 32
"""Into how many a range that differs is split: a million records come down to single ones in four.

A range of no more records than that comes apart into its records.
"""

_FIRST, _BEYOND = "", "~"
"""Below and above every id: ids are of letters, digits, dot, underscore and hyphen."""


@dataclass(frozen=True, slots=True)
class AskedRange:
    """from <= id < to (None: open), and what the client holds there."""

    low: str | None
    high: str | None
    count: int
    fingerprint: str


async def compare(
    connection: Conn, type_number: int, viewer: int | None, asked: Sequence[AskedRange]
) -> list[dict[str, Any]]:
    """`match`, `split` or `records` for each range, in the order asked; they ascend and do not overlap."""
    lows, highs = [r.low or _FIRST for r in asked], [r.high or _BEYOND for r in asked]
    pieces = await bulk.read_pieces(connection, type_number, viewer, lows, highs, _PIECES)
    by_place: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_place[piece.place].append(piece)
    return [_answer(range_, by_place[place]) for place, range_ in enumerate(asked)]


def _answer(range_: AskedRange, found: Sequence[Piece]) -> dict[str, Any]:
    answer: dict[str, Any] = {"from": range_.low, "to": range_.high}
    if _matches(range_, found):
        return answer | {"result": "match"}
    if sum(piece.count for piece in found) <= _PIECES:
        records = [{"id": piece.first_id, "coreVersion": piece.version} for piece in found]
        return answer | {"result": "records", "records": records}
    return answer | {"result": "split", "ranges": _split(range_, found)}


def _matches(range_: AskedRange, found: Sequence[Piece]) -> bool:
    high_sum, low_sum = sum(p.high_sum for p in found), sum(p.low_sum for p in found)
    count = sum(piece.count for piece in found)
    return count == range_.count and fingerprint(high_sum, low_sum) == range_.fingerprint


def _split(range_: AskedRange, found: Sequence[Piece]) -> list[dict[str, Any]]:
    """The pieces as ranges without gaps; the borders between them are as short as they can be."""
    borders = [_border(before.last_id, after.first_id) for before, after in pairwise(found)]
    edges = [range_.low, *borders, range_.high]
    return [
        {"from": low, "to": high, "count": piece.count, "fingerprint": fingerprint(piece.high_sum, piece.low_sum)}
        for piece, (low, high) in zip(found, pairwise(edges), strict=True)
    ]


def _border(last: str, first: str) -> str:
    """The shortest text that is above `last` and not above `first`."""
    for length in range(1, len(first)):
        if first[:length] > last:
            return first[:length]
    return first
