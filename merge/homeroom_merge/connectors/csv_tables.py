"""The files of one export side by side: which there are, what each entity needs of them, what is joined to a row."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from homeroom_merge.connectors.csv_sheet import Line, SheetFault
from homeroom_merge.formatters.codes import OWN, quoted
from homeroom_merge.formatters.formatter import DELETED, OWNER, UNREADABLE, YEAR, Row
from homeroom_merge.formatters.keys import organization_code

HELD_MAX = 2_000_000
_CODE_LENGTH_MAX = 40
Cells = Mapping[str, str]
Lists = Mapping[str, Mapping[str, str]]
Sought = str | Callable[[Cells], str]
"""A column, or what is told by the cells of a row."""


class Lines(Protocol):
    """The rows of a file, or of the part of it that is at hand."""

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Its titles; None for those that are not read."""

    def lines(self) -> Iterator[Line]:
        """Its rows, as often as they are asked for."""


@dataclass(slots=True)
class Tables:
    """The files that an entity is read from. What is joined is held; the entity's own file passes by row by row."""

    sheets: Mapping[str, Lines]
    codes: Lists
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are nobody's, by the reason that a note gives."""
    unknown: set[tuple[str, str]] = field(default_factory=set)
    """Codes that no list has, so that nobody knows of which entity their rows are."""
    nameless: dict[tuple[str, str], int] = field(default_factory=dict)
    """By file and column, the first row that is joined to nobody, as the cell that says to whom is empty."""
    held: int = 0
    _seen: set[str] = field(default_factory=set)
    _found: dict[tuple[str, Sought], dict[str, list[Cells]]] = field(default_factory=dict)

    def rows(self, file: str) -> Iterator[tuple[dict[str, object], Line]]:
        """The rows of a file as formatters take them."""
        for line in self.sheets[file].lines():
            row: dict[str, object] = dict(line.cells)
            if line.broken:
                row[UNREADABLE] = line.broken
            if is_gone(line.cells):
                row[DELETED] = True
            yield row, line

    def replace(self, file: str, lines: Lines) -> None:
        """Another part of a file that comes in parts."""
        self.sheets = {**self.sheets, file: lines}
        self._found = {place: index for place, index in self._found.items() if place[0] != file}

    def many(self, file: str, column: Sought, value: object) -> Sequence[Cells]:
        """The rows of a file whose cell, or what is told by their cells, is that value: none without such a file."""
        if (file, column) not in self._found:
            self._found[file, column] = self._held(file, column)
        return self._found[file, column].get(str(value), ())

    def one(self, file: str, column: str, value: object) -> Cells:
        """The first row of a file whose cell is that value; empty if there is none."""
        return next(iter(self.many(file, column, value)), {})

    def first(self, key: str) -> bool:
        """Whether a key comes for the first time."""
        known = key in self._seen
        self._seen.add(key)
        return not known

    def _held(self, file: str, column: Sought) -> dict[str, list[Cells]]:
        index: dict[str, list[Cells]] = defaultdict(list)
        for line in self.sheets[file].lines() if file in self.sheets else ():
            self.held += 1
            if self.held > HELD_MAX:
                raise SheetFault(f"the feed has more than {HELD_MAX:,} rows to hold; split it by school")
            value = line.cells.get(column, "") if isinstance(column, str) else column(line.cells)
            if not value and isinstance(column, str):
                self.nameless.setdefault((file, column), line.number)
            elif not line.broken and not is_gone(line.cells):
                index[value].append(line.cells)
        return index

    def word(self, name: str, code: object) -> str:
        """What a code list says of which entity a row is; empty, and remembered, if it says nothing."""
        word = self.codes.get(name, {}).get(str(code), "")
        if code and not word:
            self.unknown.add((name, str(code)[:_CODE_LENGTH_MAX]))
        return word

    def notes(self) -> list[str]:
        """What was left out, and codes that no list has."""
        left_out = [f"{reason}: {count}" for reason, count in sorted(self.left_out.items()) if count]
        nameless = [
            f"{file} row {row}: its {column} is empty: nobody knows whose it is, absence not counted; fill it in"
            for (file, column), row in sorted(self.nameless.items())
        ]
        return [*left_out, *(self._unknown(name, code) for name, code in sorted(self.unknown)), *nameless]

    def _unknown(self, name: str, code: str) -> str:
        words = " or ".join(f'"{word}"' for word in sorted(set(self.codes.get(name, {}).values())))
        line = f"{quoted(code)} = {words}"
        return (
            f"the code list {name} does not have {quoted(code)}, absence not counted; "
            f"add the line {line} to {OWN.of(name)}"
        )

    def own(self, row: dict[str, object], letter: str, number: object, year: object = "") -> None:
        """Say in a row which organisation it belongs to, and of which school year it is."""
        if code := organization_code(letter, str(number)):
            row[OWNER] = code
        if year:
            row[YEAR] = str(year)


def pair_of(row: Row) -> Iterator[tuple[str, int | None]]:
    """The (organisation code, school year) pair that a row speaks of."""
    owner, year = row.get(OWNER), row.get(YEAR)
    if isinstance(owner, str):
        yield owner, int(year) if isinstance(year, str) and year.isdecimal() else None


def is_gone(cells: Cells) -> bool:
    return cells.get("status", "").lower() == "tobedeleted"


Join = Callable[[Tables, dict[str, object]], Iterator[dict[str, object]]]
"""The rows that a row of an entity's file becomes, with what is joined to each; none if it is of another entity."""
Spread = Callable[[dict[str, object], Tables], Mapping[str, Sequence[Row]]]
"""The rows of each file that say what a formatter wrote; raises Refused."""


class Refused(Exception):
    """Files of this kind cannot say what is to be written: why, and the cure."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an entity's records stand. `key`: the columns without which nobody knows which record a row is.

    `needs`: files without which its rows are not known for the entity's. `also`: files that are joined where they are
    there. `spread`: None where its records are only read. `joins_itself`: a row needs others of its own file. `own_id`:
    what its file has as the key, where that is not the record's own; it raises Refused.
    """

    file: str
    key: tuple[str, ...]
    join: Join
    needs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    spread: Spread | None = None
    joins_itself: bool = False
    own_id: Callable[[Tables, str], str] = lambda _, key: key

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file, *self.needs, *self.also)


@dataclass(frozen=True, slots=True)
class FileSet:
    """A kind of export. `columns`: those of each file, in their order. `manifest`: it says what each file promises.

    `says_deleted`: a row can say that its record is gone.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, Source]
    codes: Lists
    manifest: bool = False
    complete: frozenset[str] | None = None
    """Entities whose files are always whole; None: all. With a manifest, that says it."""
    says_deleted: bool = False
    repeated: frozenset[str] = frozenset()
    """Files whose rows are told apart by all of their cells."""


def alone(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """A row to which nothing is joined."""
    yield row
