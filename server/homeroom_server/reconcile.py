"""Reconciliation, the Core's side: id ranges held against a client's fingerprints (protocol 7). Stateless."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from homeroom.reconciliation import fingerprint
from homeroom_server.store import bulk
from homeroom_server.store.bulk import Piece
from homeroom_server.store.connection import Conn

_PIECES = 32
"""Into how many a range that differs is split: a million records come down to a few in three splits."""

_FIRST, _BEYOND = "", "~"
"""Below and above every id: ids are of letters, digits, dot, underscore and hyphen."""

_FEW = 32
"""Up to so many records of a range are listed rather than split again."""


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
    by_place: Mapping[int, list[Piece]] = _grouped(pieces)
    answers: dict[int, dict[str, Any]] = {}
    few: list[int] = []
    for place, range_ in enumerate(asked):
        found = by_place.get(place, [])
        if _matches(range_, found):
            answers[place] = {"from": range_.low, "to": range_.high, "result": "match"}
        elif sum(piece.count for piece in found) <= _FEW:
            few.append(place)
        else:
            answers[place] = {"from": range_.low, "to": range_.high, "result": "split", "ranges": _split(range_, found)}
    if few:
        listed: dict[int, list[dict[str, Any]]] = defaultdict(list)
        some = await bulk.read_ranges(connection, type_number, viewer, [lows[p] for p in few], [highs[p] for p in few])
        for index, record_id, version in some:
            listed[few[index]].append({"id": record_id, "coreVersion": version})
        for place in few:
            range_ = asked[place]
            records = listed[place]
            answers[place] = {"from": range_.low, "to": range_.high, "result": "records", "records": records}
    return [answers[place] for place in range(len(asked))]


def _grouped(pieces: Sequence[Piece]) -> Mapping[int, list[Piece]]:
    by_place: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_place[piece.place].append(piece)
    return by_place


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
