"""One CSV file: encoding and delimiter found out, checked as a whole, then read row by row."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from charset_normalizer import from_bytes

CELL_LENGTH_MAX = 1_000_000
COLUMNS_MAX = 1000
_SAMPLE_BYTES = 1_000_000
_HEAD_BYTES = 4096
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WIDE_SHARE = 10
"""Where more than one byte of so many is NUL, characters are of two bytes; a stray NUL is its row's fault."""
_ONE_BYTE = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "mac_roman"]
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SECRET = re.compile(
    r"password|passwd|passphrase|secret(?!ar)|api[ _]?key|access ?token|social ?security|(^|[^a-z])(ssn|pin)$",
    re.IGNORECASE,
)
_AGAIN = "export it again and wait until it is whole"


class SheetFault(Exception):
    """A file that cannot be read as a whole: file, row, what is wrong, the cure. Never repeats what a cell says."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its cells by column, and where it stands. `broken`: why it could not be taken apart."""

    cells: dict[str, str]
    number: int
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that has been checked. `columns`: by their place; None for those that are not read."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str | None, ...]
    notes: tuple[str, ...]
    last: int
    """The number of its last row."""
    misshapen: int
    unended: bool
    """Its last line should have an end and has none: it may have been cut within the last cell, which is left out."""
    stamp: tuple[int, int]
    """By which is known that the file was written meanwhile."""

    def lines(self) -> Iterator[Line]:
        """The rows, without empty ones. Raises OSError, and SheetFault, also if the file was written meanwhile."""
        with _opened(self.path, self.encoding) as file:
            records = _records(self.path, file, self.delimiter)
            next(records)
            for number, cells in records:
                if number > self.last:
                    break
                broken = _broken(cells, len(self.columns))
                if self.unended and number == self.last:
                    cells.pop()
                named = {c: _plain(cell) for c, cell in zip(self.columns, cells, strict=False) if c is not None}
                yield Line(named, number, broken)
        if _stamp(self.path) != self.stamp:
            raise SheetFault(f"{self.path.name}: it was written while it was read; {_AGAIN}")


def opened_sheet(path: Path, known: Sequence[str], encoding: str = "", *, lines_end: bool = True) -> Sheet:
    """A file, checked to its last byte. `known`: columns to be found in any case. Raises SheetFault, OSError."""
    stamp = _stamp(path)
    found, notes = _encoding_of(path, encoding)
    _check_encoding(path, found)
    with _opened(path, found) as file:
        header_text = file.readline()
    delimiter = max(_DELIMITERS, key=lambda each: len(next(csv.reader([header_text], delimiter=each), [])))
    if delimiter != ",":
        notes.append(f"{path.name}: its columns are apart by {_DELIMITERS[delimiter]}")
    misshapen = 0
    titles: list[str] = []
    last: tuple[int, list[str]] = (1, [])
    with _opened(path, found) as file:
        for number, cells in _records(path, file, delimiter):
            if not titles:
                titles = cells
                continue
            misshapen += len(cells) != len(titles)
            last = (number, cells)
    if not titles:
        raise SheetFault(f"{path.name} row 1: it is empty, without even titles of columns; {_AGAIN}")
    if last[0] > 1 and len(last[1]) < len(titles):
        raise SheetFault(f"{path.name} row {last[0]}: it ends in the middle of a row: the export was cut; {_AGAIN}")
    columns = _columns(path, titles, known, notes)
    unended = lines_end and not _ends_whole(path)
    return Sheet(path, found, delimiter, columns, tuple(notes), last[0], misshapen, unended, stamp)


def is_secret(title: str) -> bool:
    """Whether a column holds what is nobody else's business."""
    return _SECRET.search(title) is not None


def _opened(path: Path, encoding: str) -> TextIO:
    return path.open(encoding=encoding, newline="")


def _records(path: Path, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers, the titles' being 1; a quoted cell may go over several lines. Raises SheetFault."""
    csv.field_size_limit(CELL_LENGTH_MAX)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    number = 0
    try:
        for cells in reader:
            number += 1
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as fault:
        raise _torn(path, number + 1, str(fault)) from fault


def _torn(path: Path, number: int, said: str) -> SheetFault:
    where = f"{path.name} row {number}"
    if "unexpected end" in said:
        return SheetFault(f"{where}: it ends within a quoted cell: the export was cut; {_AGAIN}")
    if "field larger" in said:
        return SheetFault(f"{where}: a cell has more than {CELL_LENGTH_MAX:,} characters; a quote may not be closed")
    return SheetFault(f'{where}: its quotes do not match; write a quote within quotes as "", and export it again')


def _broken(cells: Sequence[str], columns: int) -> str:
    if len(cells) != columns:
        return f"the row has {len(cells)} cells where there are {columns} columns"
    return "the row holds a NUL, which is no text" if any("\0" in cell for cell in cells) else ""


def _plain(cell: str) -> str:
    return cell.replace("\0", "").strip()


def _stamp(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_size, there.st_mtime_ns


def _columns(path: Path, titles: Sequence[str], known: Sequence[str], notes: list[str]) -> tuple[str | None, ...]:
    """The titles as they are known; secrets and columns without a title are not read. Raises SheetFault."""
    if len(titles) > COLUMNS_MAX:
        raise SheetFault(f"{path.name} row 1: it has more than {COLUMNS_MAX} columns; is it the right file?")
    canonical = {title.casefold(): title for title in known}
    columns: list[str | None] = []
    for title in (title.strip() for title in titles):
        name = canonical.get(title.casefold(), title)
        if name and name in columns:
            raise SheetFault(f"{path.name} row 1: the column {name} is there twice; rename one or leave it out")
        if is_secret(name):
            notes.append(f"{path.name}: the column {name} was dropped: it holds secrets")
        elif not name:
            notes.append(f"{path.name}: a column without a title was left out")
        columns.append(None if not name or is_secret(name) or name.startswith("@") else name)
    return tuple(columns)


def _encoding_of(path: Path, told: str) -> tuple[str, list[str]]:
    """The encoding to read a file by, and what is to be noted about it. Raises SheetFault, OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip():
        raise SheetFault(f"{path.name} row 1: it is empty, without even titles of columns; {_AGAIN}")
    for mark, encoding, name in _BOMS:
        if head.startswith(mark):
            return encoding, [f"{path.name}: read as {name}, by its byte order mark"]
    if told:
        return _named(path, told), []
    if head.count(0) * _WIDE_SHARE > len(head):
        wide = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        return wide, [f"{path.name}: read as {wide.upper()}, as its bytes suggest"]
    return _guessed(path)


def _check_encoding(path: Path, encoding: str) -> None:
    """Decode all of a file, line by line where lines can be told before. Raises SheetFault, OSError."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 0
    with path.open("rb") as file:
        try:
            for number, line in enumerate(file, start=1):  # noqa: B007 told in the fault
                decoder.decode(line)
            decoder.decode(b"", final=True)
        except UnicodeError as fault:
            raise SheetFault(
                f"{path.name} line {number}: its bytes are not {encoding}; export it as UTF-8, or name its encoding in "
                "the settings"
            ) from fault


def _named(path: Path, told: str) -> str:
    try:
        return codecs.lookup(told).name
    except LookupError:
        raise SheetFault(f"{path.name}: there is no encoding {told}; name one like utf-8 or windows-1252") from None


def _guessed(path: Path) -> tuple[str, list[str]]:
    """UTF-8 if all lines are; another one if no line with an accent is; a fault where they differ."""
    utf8, others = 0, bytearray()
    first_other = ""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.isascii():
                continue
            try:
                line.decode()
                utf8 += 1
            except UnicodeDecodeError:
                first_other = first_other or f"{path.name} line {number}"
                others += line if len(others) < _SAMPLE_BYTES else b""
    if not others:
        return "utf-8", []
    if utf8:
        raise SheetFault(f"{first_other}: its bytes are not UTF-8, as those of other rows are; export it as UTF-8")
    best = from_bytes(bytes(others), cp_isolation=_ONE_BYTE, threshold=0.5).best()
    if best is None:
        raise SheetFault(f"{first_other}: its bytes are of no encoding that could be found out; export it as UTF-8")
    alike = {best.encoding, *best.could_be_from_charset}
    name = next(each for each in _ONE_BYTE if each in alike)
    return name, [f"{path.name}: read as {name}, as its bytes suggest; export it as UTF-8, or name its encoding"]


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4))
        return file.read().rstrip(b"\0").endswith((b"\n", b"\r"))
