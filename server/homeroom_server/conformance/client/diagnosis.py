"""What a client holds, read from the hash that it sent: for who has to find the fault. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from homeroom.protocol import version_hash
from homeroom_server.conformance.client.scripted_core import ScriptedCore

_RECORDS_MAX = 12
_AT_FAULT_MAX = 3


def held(core: ScriptedCore, name: str, digest: str) -> str:
    """In words, how what is held differs from what should be; a guess, by trying what could have gone wrong."""
    live = core.live(name)
    if digest != digest.lower() and digest.lower() == version_hash(live.values()):
        return "the right one in upper-case letters; it is written in lower-case hex"
    for found in _guesses(core, name, live):
        if version_hash(found.values()) == digest:
            return "that of a copy in which " + " and ".join(_differences(found, live))
    if digest in _misread(live):
        return "made of the right versions, but not each as 8 bytes big-endian in ascending order (protocol 4)"
    return f"{digest[:40]}, where {core.hash_of(name)} is right"


def _guesses(core: ScriptedCore, name: str, live: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    """Copies that lack records, or hold some at another version: those with the fewest faults first."""
    yield {}
    ordered = sorted(live.items(), key=lambda pair: pair[1])
    for count in range(1, min(len(ordered), 10)):
        yield dict(ordered[:count])
    given = {record_id: versions | {0} for (kind, record_id), versions in core.given.items() if kind == name}
    if len(given) > _RECORDS_MAX:
        return
    for count in range(1, _AT_FAULT_MAX + 1):
        for ids in combinations(given, count):
            for versions in product(*([None, *sorted(given[i])] for i in ids)):
                changed = dict(zip(ids, versions, strict=True))
                yield {i: v for i, v in (dict(live) | changed).items() if v is not None}


def _differences(found: Mapping[str, int], live: Mapping[str, int]) -> Iterator[str]:
    if not found:
        yield "there is nothing"
        return
    missing = [record_id for record_id in live if record_id not in found]
    for record_id in missing[:_AT_FAULT_MAX]:
        yield f"{record_id} is missing (the Core has it at {live[record_id]})"
    if len(missing) > _AT_FAULT_MAX:
        yield f"{len(missing) - _AT_FAULT_MAX:,} more are"
    for record_id, version in found.items():
        if record_id not in live:
            yield f"{record_id} is still held at version {version}, though it is deleted or no longer to be seen"
        elif version != live[record_id]:
            yield f"{record_id} is held at version {version} (the Core has {live[record_id]})"


def _misread(live: Mapping[str, int]) -> Iterator[str]:
    """Hashes of the right versions, put together wrongly."""
    ordered = sorted(live.values())
    texts = (",".join(map(str, ordered)), "".join(map(str, ordered)))
    sizes = (4, 8) if max(ordered, default=0) < 2**32 else (8,)
    packed = (b"".join(v.to_bytes(size, order) for v in ordered) for size in sizes for order in ("little", "big"))
    unsorted = b"".join(v.to_bytes(8, "big") for v in live.values())
    for content in (*(text.encode() for text in texts), *packed, unsorted):
        yield hashlib.md5(content, usedforsecurity=False).hexdigest()
