"""The live versions of one stream, in memory: brought up to date by what has changed, hashed without a database."""

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

RECORD_BYTES = 26
"""What a record takes: its version among the others, the hash of its id, its version beside that, and room to grow."""
_STREAM_BYTES = 1_000
"""What a stream takes that has no records."""


class Inconsistent(Exception):
    """What is said to have changed does not fit what is held: it must be read anew."""


@dataclass(slots=True)
class HotStream:
    """`ascending` is what is hashed: the live versions. `versions` are the same ones in the order of `ids`.

    `ids` are 64-bit hashes of the records' ids under `seed`, ascending. `upto`: everything up to that version of the
    type is in it. `top`: the stream's highest version, tombstones included.
    """

    epoch: str
    seed: int
    upto: int
    top: int
    ascending: "array[int]"
    ids: "array[int]"
    versions: "array[int]"

    @classmethod
    def of(
        cls, epoch: str, seed: int, upto: int, top: int, ascending: bytes, ids: bytes, versions: bytes
    ) -> "HotStream":
        """From 64-bit big-endian numbers, as PostgreSQL sends them."""
        return cls(epoch, seed, upto, top, unpacked(ascending), unpacked(ids), unpacked(versions))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """Bytes of memory, nearly."""
        return _STREAM_BYTES + RECORD_BYTES * len(self)

    def md5(self) -> bytes:
        """The version hash (protocol 4), raw. While it is made, nobody else may read."""
        _swap(self.ascending)
        try:
            return hashlib.md5(self.ascending, usedforsecurity=False).digest()
        finally:
            _swap(self.ascending)

    def apply(self, upto: int, ids: Sequence[int], versions: Sequence[int]) -> None:
        """Take in what changed above `self.upto`, ascending by version; a negative one is no longer live.

        Each part is moved at most once, however much has changed. Raises Inconsistent, and is then of no more use.
        """
        replaced: list[int] = []
        gone: list[int] = []
        come: dict[int, int] = {}
        for id_hash, version in zip(ids, versions, strict=True):
            place = self._place(id_hash)
            if place is None:
                if version > 0:
                    come[id_hash] = version
                continue
            replaced.append(self.versions[place])
            if version > 0:
                self.versions[place] = version
            else:
                gone.append(place)
        _take_out(self.ascending, self._places_of(sorted(replaced)))
        self._append([version for version in versions if version > 0])
        _take_out(self.ids, sorted(gone))
        _take_out(self.versions, sorted(gone))
        self._insert(come)
        self.upto = upto
        if versions:
            self.top = abs(versions[-1])
        if len(self.ascending) != len(self.ids):
            raise Inconsistent("two records came whose ids have one hash")

    def _place(self, id_hash: int) -> int | None:
        place = bisect_left(self.ids, id_hash)
        if place == len(self.ids) or self.ids[place] != id_hash:
            return None
        if place + 1 < len(self.ids) and self.ids[place + 1] == id_hash:
            raise Inconsistent("two ids have one hash")
        return place

    def _places_of(self, replaced: Sequence[int]) -> list[int]:
        places: list[int] = []
        for version in replaced:
            place = bisect_left(self.ascending, version, places[-1] + 1 if places else 0)
            if place == len(self.ascending) or self.ascending[place] != version:
                raise Inconsistent("a version is not where it should be")
            places.append(place)
        return places

    def _append(self, versions: Sequence[int]) -> None:
        """New versions are higher than all earlier ones."""
        if any(later <= earlier for earlier, later in pairwise([*self.ascending[-1:], *versions])):
            raise Inconsistent("a new version is not above those before it")
        self.ascending.extend(versions)

    def _insert(self, come: dict[int, int]) -> None:
        ids = sorted(come)
        places = [bisect_left(self.ids, id_hash) for id_hash in ids]
        _put_in(self.ids, places, ids)
        _put_in(self.versions, places, [come[id_hash] for id_hash in ids])


def unpacked(numbers: bytes) -> "array[int]":
    """64-bit big-endian numbers as an array."""
    found = array("q", numbers)
    _swap(found)
    return found


def _swap(numbers: "array[int]") -> None:
    """From this machine's order of bytes to that of the protocol, or back."""
    if sys.byteorder == "little":
        numbers.byteswap()


def _take_out(numbers: "array[int]", places: Sequence[int]) -> None:
    """Move what lies between ascending places together, over them."""
    if not places:
        return
    kept = places[0]
    with memoryview(numbers) as view:
        for place, following in pairwise([*places, len(view)]):
            length = following - place - 1
            view[kept : kept + length] = view[place + 1 : following]
            kept += length
    del numbers[kept:]


def _put_in(numbers: "array[int]", places: Sequence[int], new: Sequence[int]) -> None:
    """Insert each number before what stands at its place; places ascend."""
    end = len(numbers)
    numbers.extend(new)
    with memoryview(numbers) as view:
        for count, (place, number) in reversed(list(enumerate(zip(places, new, strict=True), start=1))):
            view[place + count : end + count] = view[place:end]
            view[place + count - 1] = number
            end = place
