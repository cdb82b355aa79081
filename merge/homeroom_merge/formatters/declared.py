"""A formatter that is declared: members, their kinds and where they stand, code lists, a key."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.formatter import DELETED, UNREADABLE, Fault, Reading, Row
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.members import AnyMember, read_members, write_members
from homeroom_merge.values import Json

Owner = Callable[[Json, Row], str | None]
"""The organisation code that owns a record, told by its body or by what else the row knows."""


class DeclaredFormatter:
    """One entity. `key`: the members whose values are its identity, `a|b` for the first that is there.

    `key_columns`: the columns that are its identity, where that is no member. `needs`: members without which nobody
    knows where a record belongs. `clears`: the members that an absent element empties. Of others it says nothing, as an
    empty cell does. `empties`: those that an empty cell empties, by column.
    """

    def __init__(
        self,
        entity: str,
        members: Sequence[AnyMember],
        codes: Codes,
        *,
        owner: Owner,
        key: Sequence[str] = (),
        key_columns: Sequence[str] = (),
        needs: Sequence[str] = (),
        number: Callable[[Json], str | None] = lambda _: None,
        clears: frozenset[str] = frozenset(),
        empties: Mapping[str, str] | None = None,
        constants: Json | None = None,
    ) -> None:
        assert bool(key) != bool(key_columns), "a key of members, or one of columns"
        self.entity = entity
        self.constants = constants or {}
        self.fields = frozenset(member.name for member in members) | self.constants.keys()
        self.members, self.key, self.key_columns = tuple(members), tuple(key), tuple(key_columns)
        self._codes, self._owner, self._number, self._needs = codes, owner, number, tuple(needs)
        self._clears, self._empties = clears & self.fields, empties or {}

    def read(self, row: Row) -> Reading:
        body, covered, faults = read_members(self.members, row, self._codes)
        body |= self.constants
        covered |= self.constants.keys() | self._clears
        covered |= {name for name, title in self._empties.items() if row.get(title) == ""}
        key, missing = self._key(row, body)
        named = {fault.pointer.split("/")[1] for fault in faults}
        deleted = row.get(DELETED) is True
        if isinstance(broken := row.get(UNREADABLE), str):
            faults = [Fault("", broken, "mend the row where it comes from")]
        elif deleted:
            faults = []
        else:
            needed = [name for name in self._needs if name not in body]
            wanted = [names for names in (*missing, *needed) if not named & set(names.split("|"))]
            faults += [_missing(names) for names in dict.fromkeys(wanted)]
        if not key and not faults:
            faults = [Fault("", "there is nothing to tell which record it is", "fill in the columns of its key")]
        year = body.get("schoolYear")
        return Reading(
            key=key,
            body=body,
            covered=frozenset(covered),
            school=self._owner(body, row),
            school_year=year if isinstance(year, int) else None,
            number=self._number(body),
            deleted=deleted,
            faults=tuple(faults),
        )

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        """Raises Unwritable for a word that no code list has."""
        written = write_members(self.members, body, row or {}, self._codes)
        if self.key_columns and self._key(written, body)[0] != key:
            written |= _identity(self.key_columns, key)
        return written

    def _key(self, row: Row, body: Json) -> tuple[str, list[str]]:
        """The key, and what is missing of it."""
        if self.key_columns:
            cells = [row.get(title) for title in self.key_columns]
            texts = [cell for cell in cells if isinstance(cell, str) and cell]
            return (code_key(*texts) if len(texts) == len(cells) else "", [])
        parts = [_first(body, names) for names in self.key]
        missing = [names for names, part in zip(self.key, parts, strict=True) if part is None]
        return ("" if missing else code_key(*(str(part) for part in parts)), missing)


def _missing(names: str) -> Fault:
    return Fault(f"/{names.split('|')[0]}", "is part of the key and is not there", "export it with the record")


def _identity(titles: Sequence[str], key: str) -> dict[str, object]:
    """The cells that make a key: of several parts, each is one between dots."""
    parts = key.split(".") if len(titles) > 1 else [key]
    return dict(zip(titles, parts, strict=True)) if len(parts) == len(titles) else {}


def _first(body: Json, names: str) -> Any:
    return next((body[name] for name in names.split("|") if body.get(name) is not None), None)
