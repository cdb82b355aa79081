"""From what a Core sends to what a storage takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from zlib import crc32

import orjson

from homeroom.errors import Code, ConnectionCut
from homeroom.replica.storage import Arrival

_new = tuple.__new__


def checksum(record_id: str, version: int, deleted: bool, body: bytes) -> int:
    """CRC-32 over id and body, begun with version and deletion: cheap, and enough to notice a row that was changed."""
    return crc32(body, crc32(record_id.encode(), (version * 2 + deleted) & 0xFFFFFFFF))


def arrival(record: Mapping[str, Any]) -> Arrival:
    """A record of Get or of a snapshot, or the source that came with one."""
    record_id, version, body = record["id"], record["coreVersion"], orjson.dumps(record["body"])
    deleted = record.get("deleted", False)
    check = checksum(record_id, version, deleted, body)
    changed_at, source_version = record.get("changedAt"), record.get("sourceVersion")
    # What Arrival(...) does, at a third of its cost: there may be millions.
    return _new(Arrival, (record_id, version, changed_at, deleted, source_version, body.decode(), check))


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a snapshot: perhaps its first (`until`, `epoch`), records, perhaps its last (`bookmark`)."""

    records: Sequence[Arrival]
    sources: Sequence[Arrival]
    until: int | None = None
    epoch: str = ""
    bookmark: int | None = None

    def last_version(self, after: int) -> int:
        """That of its last record; `after` if it has none."""
        return self.records[-1].version if self.records else after


def parse_block(lines: bytes, after: int) -> Block:
    """Whole lines of a snapshot whose records go on after a version; raises ConnectionCut for anything else."""
    try:
        found = orjson.loads(b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]")
        until, epoch, bookmark = None, "", None
        if "until" in found[0]:
            until, epoch = found[0]["until"], found[0]["epoch"]
            del found[0]
        if found and "bookmark" in found[-1]:
            bookmark = found.pop()["bookmark"]
        records = [arrival(line) for line in found]
        sources = [arrival(line["source"]) for line in found if "source" in line]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ConnectionCut(Code.CORE_NOT_AVAILABLE, f"the snapshot cannot be read: {fault!r}") from fault
    last = after
    for record in records:
        if record.version <= last:
            raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the snapshot goes back: something on the way repeats itself")
        last = record.version
    return Block(records, sources, until, epoch, bookmark)


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks that follow each other, as one."""
    return Block(
        list(chain.from_iterable(block.records for block in blocks)),
        list(chain.from_iterable(block.sources for block in blocks)),
        blocks[0].until,
        blocks[0].epoch,
        blocks[-1].bookmark,
    )
