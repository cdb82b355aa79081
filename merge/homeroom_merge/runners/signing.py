"""Webhook calls: what is signed, when a signature holds, and what a body may say."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

TIMESTAMP = "Homeroom-Timestamp"
SIGNATURE = "Homeroom-Signature"
AGE_SECONDS_MAX = 300.0
"""A timestamp may be so far from the present, in either direction."""
BODY_BYTES_MAX = 1_048_576
KEYS_MAX = 1_000
KEY_LENGTH_MAX = 256

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a body says, or what is wrong with it."""

    keys: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def signature(secret: str, timestamp: str, feed: str, entity: str, body: bytes) -> str:
    """HMAC-SHA256 over `timestamp.feed/entity.body`, in lower-case hex: good for this feed and entity alone."""
    said = f"{timestamp}.{feed}/{entity}.".encode() + body
    return hmac.new(secret.encode(), said, "sha256").hexdigest()


def seconds_of(timestamp: str, now: float) -> float | None:
    """Unix seconds, with a fraction if wished; None if it is none or too far from the present."""
    if not _SECONDS.fullmatch(timestamp) or abs(float(timestamp) - now) > AGE_SECONDS_MAX:
        return None
    return float(timestamp)


def holds(given: str, expected: str) -> bool:
    """Whether a signature is the one that is expected, in a time that tells nothing of it."""
    return hmac.compare_digest(given if _HEX.fullmatch(given) else "", expected)


def read_keys(body: bytes) -> Keys:
    """`{"keys": ["...", ...]}` and nothing else; all faults at once."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        return Keys(faults=(f"the body is no JSON: {fault}",))
    if not isinstance(found, dict) or set(found) != {"keys"} or not isinstance(found["keys"], list):
        return Keys(faults=('the body is {"keys": [...]} and nothing else',))
    keys = found["keys"]
    if not 1 <= len(keys) <= KEYS_MAX:
        return Keys(faults=(f"/keys: 1 to {KEYS_MAX:,} keys at once, not {len(keys):,}",))
    faults = _faults(keys)
    return Keys(faults=faults) if faults else Keys(tuple(keys))


def _faults(keys: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"/keys/{at}: a key is a text of 1 to {KEY_LENGTH_MAX} characters"
                 for at, key in enumerate(keys) if not _is_key(key))  # fmt: skip


def _is_key(key: object) -> bool:
    """PostgreSQL keeps no NUL."""
    return isinstance(key, str) and 1 <= len(key) <= KEY_LENGTH_MAX and "\0" not in key
