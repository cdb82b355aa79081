"""Reconciliation: repair in proportion to the difference (protocol 7). Pure: no network, no storage.

A client that mismatches compares id ranges by fingerprint with the Core, splitting those that differ until few records
are left in each:

    local = LocalRecords(pairs)
    ask = local.whole()
    while ask:
        step = local.compare(answer_of_the_core_to(ask))
        differing += step.differing; extra += step.extra
        ask = step.ask

`differing` are then fetched by Get with expected version 0, `extra` are checked by Get as well before they are dropped.
"""

import hashlib
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MODULUS = 2**64

Range = Mapping[str, Any]
"""`{"from": id or None, "to": id or None, "count": n, "fingerprint": 32 hex digits}`: from <= id < to."""


def fingerprint_halves(record_id: str, version: int) -> tuple[int, int]:
    """The two 64-bit halves of MD5(id ‖ 0x00 ‖ version as 8 bytes), big-endian."""
    packed = record_id.encode() + b"\0" + struct.pack(">q", version)
    high, low = struct.unpack(">QQ", hashlib.md5(packed, usedforsecurity=False).digest())
    return high, low


def fingerprint(high_sum: int, low_sum: int) -> str:
    """32 hex digits of the halves' sums, each modulo 2^64."""
    return f"{high_sum % _MODULUS:016x}{low_sum % _MODULUS:016x}"


@dataclass(frozen=True, slots=True)
class Step:
    """What an answer taught: ranges to ask about next, the Core's (id, version) not held so, ids held only here."""

    ask: Sequence[Range]
    differing: Sequence[tuple[str, int]]
    extra: Sequence[str]


class LocalRecords:
    """The live (id, version) pairs that a client holds, ready to be compared; 24 bytes for each beside its id."""

    def __init__(self, pairs: Iterable[tuple[str, int]]) -> None:
        ordered = sorted(pairs)
        self._ids = [record_id for record_id, _ in ordered]
        self._versions = array("q", (version for _, version in ordered))
        self._highs, self._lows = array("Q", [0]), array("Q", [0])
        high_sum = low_sum = 0
        for record_id, version in ordered:
            high, low = fingerprint_halves(record_id, version)
            high_sum, low_sum = (high_sum + high) % _MODULUS, (low_sum + low) % _MODULUS
            self._highs.append(high_sum)
            self._lows.append(low_sum)

    def whole(self) -> list[Range]:
        """The first question: everything, as one range."""
        return [self.range_between(None, None)]

    def range_between(self, low: str | None, high: str | None) -> Range:
        """What is held with low <= id < high."""
        start, end = self._bounds(low, high)
        high_sum, low_sum = self._highs[end] - self._highs[start], self._lows[end] - self._lows[start]
        return {"from": low, "to": high, "count": end - start, "fingerprint": fingerprint(high_sum, low_sum)}

    def compare(self, answered: Iterable[Mapping[str, Any]]) -> Step:
        """Hold the Core's answer, range by range, against what is held here.

        Raises ValueError for a result that protocol 7 does not know.
        """
        ask: list[Range] = []
        differing: list[tuple[str, int]] = []
        extra: list[str] = []
        for entry in answered:
            match entry["result"]:
                case "match":
                    continue
                case "split":
                    mine = [self.range_between(theirs["from"], theirs["to"]) for theirs in entry["ranges"]]
                    ask += [m for m, theirs in zip(mine, entry["ranges"], strict=True) if not _agree(m, theirs)]
                case "records":
                    start, end = self._bounds(entry["from"], entry["to"])
                    held = dict(zip(self._ids[start:end], self._versions[start:end], strict=True))
                    listed = {record["id"]: record["coreVersion"] for record in entry["records"]}
                    differing += [(i, version) for i, version in listed.items() if held.get(i) != version]
                    extra += [i for i in held if i not in listed]
                case other:
                    raise ValueError(f"a range came back as {other!r}")
        return Step(ask, differing, extra)

    def _bounds(self, low: str | None, high: str | None) -> tuple[int, int]:
        # Python compares texts by code point, which for UTF-8 is bytewise.
        start = 0 if low is None else bisect_left(self._ids, low)
        return start, len(self._ids) if high is None else bisect_left(self._ids, high)


def _agree(mine: Range, theirs: Range) -> bool:
    return bool(mine["count"] == theirs["count"] and mine["fingerprint"] == theirs["fingerprint"])
