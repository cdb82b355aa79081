"""The keyring: keys of students and the list of the erased, newest of all, for every backup of one folder.

It is one file, written anew as a whole: a line that says what it is, the rows of each table as COPY's text, and a line
with the SHA-256 of all before.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from homeroom_server.backup import files
from homeroom_server.backup.blocks import key_id
from homeroom_server.backup.files import BackupError
from homeroom_server.store.backup import Table

NAME = "keyring"
FORMAT = "homeroom-keyring"
FORMAT_VERSION = 1
_END = b"\\."
_CURE = "nothing was changed; take the newest, or move it away and write another: homeroom backup DIR --keyring-only"


@dataclass(frozen=True, slots=True)
class Keyring:
    """`core`: the first epoch of the Core it belongs to. `written_at`: by the database's clock, in ISO 8601, when no
    version above `counter` had been given out. `rows` of each table: COPY's text."""

    core: str
    written_at: str
    counter: int
    rows: Mapping[Table, bytes]

    def keys(self) -> dict[bytes, bytes]:
        """The keys of students, by their names in blocks."""
        return {key_id(key): key for key in map(_key, self.rows[Table("public", "student_key")].splitlines())}


def write(path: Path, keyring: Keyring) -> None:
    """In place of the one before it."""
    header = {name: value for name, value in asdict(keyring).items() if name != "rows"}
    lines = [orjson.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **header})]
    for table, rows in keyring.rows.items():
        lines += [orjson.dumps([table.schema, table.name]), rows + _END]
    text = b"\n".join(lines) + b"\n"
    files.replace(path, text + hashlib.sha256(text).hexdigest().encode() + b"\n")


def read(path: Path) -> Keyring:
    """Raises BackupError if there is none, or if it was altered."""
    try:
        text = path.read_bytes()
    except OSError as fault:
        raise BackupError(
            f"the keyring {path} cannot be read: {fault.strerror}; nothing was changed; say with --keyring where it is"
        ) from fault
    body, digest = text[:-65], text[-65:]
    if digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise BackupError(f"the keyring {path} is not as it was written: its checksum differs; {_CURE}")
    first, _, rest = body.partition(b"\n")
    said = orjson.loads(first)
    if (said.pop("format"), found := said.pop("format_version")) != (FORMAT, FORMAT_VERSION):
        raise BackupError(
            f"the keyring {path} has format {found}, and this version of homeroom reads {FORMAT_VERSION}: use the "
            "homeroom that wrote it; nothing was changed"
        )
    return Keyring(**said, rows=dict(_tables(rest)))


def _tables(text: bytes) -> Iterator[tuple[Table, bytes]]:
    while text:
        name, _, text = text.partition(b"\n")
        rows, _, text = (b"\n" + text).partition(b"\n" + _END + b"\n")
        yield Table(*orjson.loads(name)), rows[1:] + b"\n" if rows else b""


def _key(row: bytes) -> bytes:
    """student, tab, \\\\x, the key in hexadecimal."""
    return bytes.fromhex(row.partition(b"\t")[2].removeprefix(b"\\\\x").decode())
