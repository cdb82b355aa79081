"""The file of what speaks of students: blocks of rows, compressed, each encrypted under the key of one student.

A block names its key by a hash, so the file does not say whose blocks it has. It is bound to the backup, the table and
its place there: none can be moved.
"""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homeroom_server.backup.files import BackupError

ROWS_BYTES_MAX = 1024 * 1024
"""Of one block, before it is compressed. A single row may have more."""

_NONCE_BYTES = 12
_HEADER = struct.Struct(">H16sII")  # table, key, rows, bytes
_BOUND_TO = struct.Struct(">16sHQ")
_IN_THE_CLEAR = bytes(16)
_CUT_OFF = "the file of students is cut off"


def key_id(key: bytes) -> bytes:
    """A name of a key that says nothing of it: 16 bytes."""
    return hashlib.sha256(b"homeroom backup key\0" + key).digest()[:16]


class Block(NamedTuple):
    """Some rows of one table, as COPY's text; `text` is None where their key is gone."""

    table: int
    key: bytes
    rows: int
    text: bytes | None


class BlockWriter:
    """Writes the file, the SHA-256 of which is known at the end."""

    def __init__(self, file: BinaryIO, backup: bytes) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._backup = backup
        self._place = 0
        self._compressor = zstandard.ZstdCompressor(level=3)

    def write(self, table: int, key: bytes | None, rows: Sequence[bytes]) -> None:
        """Rows of one table, without their ends of line; without a key they are in the clear."""
        packed, name = self._compressor.compress(b"\n".join(rows) + b"\n"), _IN_THE_CLEAR
        if key is not None:
            nonce, name = os.urandom(_NONCE_BYTES), key_id(key)
            bound = _BOUND_TO.pack(self._backup, table, self._place)
            packed = nonce + AESGCM(key).encrypt(nonce, packed, bound)
        block = _HEADER.pack(table, name, len(rows), len(packed)) + packed
        self._place += 1
        self.digest.update(block)
        self._file.write(block)


def read_blocks(path: Path, backup: bytes, keys: dict[bytes, bytes]) -> Iterator[Block]:
    """The blocks in their order; `keys` by their names. BackupError where one is not what was written."""
    decompressor = zstandard.ZstdDecompressor()
    with path.open("rb") as file:
        for place, (table, name, rows, packed) in enumerate(_read_packed(file)):
            if name == _IN_THE_CLEAR:
                plain: bytes | None = packed
            elif (key := keys.get(name)) is None:
                plain = None
            else:
                plain = _decrypted(key, packed, _BOUND_TO.pack(backup, table, place))
            yield Block(table, name, rows, plain and decompressor.decompress(plain))


def _read_packed(file: BinaryIO) -> Iterator[tuple[int, bytes, int, bytes]]:
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise BackupError(_CUT_OFF)
        table, name, rows, size = _HEADER.unpack(header)
        if len(packed := file.read(size)) < size:
            raise BackupError(_CUT_OFF)
        yield table, name, rows, packed


def _decrypted(key: bytes, packed: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(packed[:_NONCE_BYTES], packed[_NONCE_BYTES:], bound)
    except InvalidTag:
        raise BackupError("a block of the file of students is not what was written there") from None
