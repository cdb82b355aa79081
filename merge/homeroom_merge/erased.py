"""Whom a feed may not bring back: erased students and their records, known by keyed hashes of their names alone."""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import orjson

from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.values import Json, SideName

OWN = "@id"
"""The member that names the student where each record is one, as the hub's catalogue has it."""


@dataclass(frozen=True, slots=True)
class Names:
    """All that a feed called a student by: his ids on the hub, his keys in the SIS, his numbers."""

    hub_ids: frozenset[str]
    sis_keys: frozenset[str]
    numbers: frozenset[str] = frozenset()

    @property
    def every(self) -> frozenset[str]:
        return self.hub_ids | self.sis_keys | self.numbers

    def hashes(self, secret: bytes) -> list[bytes]:
        """What is kept of them."""
        every: Mapping[str, Collection[str]] = {"hub": self.hub_ids, "sis": self.sis_keys, "number": self.numbers}
        return [_hash(secret, kind, name) for kind, names in every.items() for name in sorted(names)]


def record_hash(secret: bytes, entity: str, side: SideName, key: str) -> bytes:
    """What is kept of the name of a student's record, for when it does not say whose it is."""
    return _hash(secret, entity, side, key)


@dataclass(frozen=True, slots=True)
class Erased:
    """Those of a feed, as records of one entity are held against them. `member`: which names a record's student."""

    entity: str
    member: str | None
    secret: bytes = field(repr=False)
    hashes: frozenset[bytes]

    def on_hub(self, hub_id: str, body: Json | None) -> bool:
        """Whether a record of the hub is an erased student's."""
        return self._is_erased("hub", hub_id, body)

    def in_sis(self, reading: Reading) -> bool:
        """Whether a record of the SIS is one's: a student's own also by its number, whatever its key is by now."""
        if self.in_sis_under(reading.key, reading.body):
            return True
        is_told = bool(self.hashes) and self.member == OWN and reading.number is not None
        return is_told and _hash(self.secret, "number", reading.number or "") in self.hashes

    def in_sis_under(self, key: str, body: Json | None) -> bool:
        """The same by its key and body alone."""
        return self._is_erased("sis", key, body)

    def name(self, reading: Reading) -> bytes:
        """What is kept of the key of a record that was refused: it may have been known by its number alone."""
        own = self.member == OWN
        return _hash(self.secret, "sis", reading.key) if own else _hash(self.secret, self.entity, "sis", reading.key)

    def _is_erased(self, side: SideName, key: str, body: Json | None) -> bool:
        if not self.hashes or self.member is None:
            return False
        named = key if self.member == OWN else (body or {}).get(self.member)
        if isinstance(named, str):
            return _hash(self.secret, side, named) in self.hashes
        return _hash(self.secret, self.entity, side, key) in self.hashes


NOBODY = Erased("", None, b"", frozenset())


def _hash(secret: bytes, *said: str) -> bytes:
    return hmac.digest(secret, orjson.dumps(said), "sha256")
