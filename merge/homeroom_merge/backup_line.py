"""A line of a backup that is a student's: compressed, then AES-256-GCM under the student's own key, in Base64.

Bound to the run, so that no line of one backup passes for one of another. Who has lost the key has lost the line.
"""

import base64
import os
from collections.abc import Mapping
from typing import Any

import orjson
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_LINE_BYTES_MAX = 64 * 1024 * 1024


class UnreadableLineError(Exception):
    """A line that was altered, or is of another backup."""


def sealed(line: bytes, key_id: str, key: bytes, run: str, packing: zstandard.ZstdCompressor) -> bytes:
    """The line as it is written. `key_id`: what it calls the key. `packing`: one for many lines."""
    nonce = os.urandom(_NONCE_BYTES)
    inside = AESGCM(key).encrypt(nonce, packing.compress(line), run.encode())
    return orjson.dumps({"key": key_id, "sealed": base64.b64encode(nonce + inside).decode()})


def key_id_of(said: Any) -> str | None:
    """Under which key a line is sealed; None: it is not."""
    return str(said["key"]) if isinstance(said, dict) and "sealed" in said else None


def unsealed(said: Any, keys: Mapping[str, bytes], run: str) -> Any:
    """What a line says; None where its key is gone. Raises UnreadableLineError."""
    key_id = key_id_of(said)
    if key_id is None:
        return said
    if key_id not in keys:
        return None
    whole = base64.b64decode(said["sealed"])
    try:
        inside = AESGCM(keys[key_id]).decrypt(whole[:_NONCE_BYTES], whole[_NONCE_BYTES:], run.encode())
        return orjson.loads(zstandard.decompress(inside, max_output_size=_LINE_BYTES_MAX))
    except (InvalidTag, zstandard.ZstdError) as fault:
        raise UnreadableLineError from fault
