"""What reads and writes the Ed-Fi records of one entity."""

from collections.abc import Callable, Sequence
from typing import Any

from homeroom_merge.formatters.edfi.codes import Codes
from homeroom_merge.formatters.edfi.keys import code_key
from homeroom_merge.formatters.edfi.members import Member, read_members, write_members
from homeroom_merge.formatters.formatter import Fault, Reading, Row
from homeroom_merge.values import Json

Owner = Callable[[Json, Row], str | None]
"""The organisation code that owns a record, told by its body or by what else the row knows."""


class EdfiFormatter:
    """One entity. `key`: the members whose values are its identity, `a|b` for the first that is there.

    `clears`: the members that an absent element empties. Of others it says nothing, as an empty cell does.
    """

    def __init__(
        self,
        entity: str,
        members: Sequence[Member],
        codes: Codes,
        *,
        key: Sequence[str],
        owner: Owner,
        number: Callable[[Json], str | None] = lambda _: None,
        clears: frozenset[str] = frozenset(),
    ) -> None:
        self.entity = entity
        self.fields = frozenset(member.name for member in members)
        self.members, self.key = tuple(members), tuple(key)
        self._codes, self._owner, self._number = codes, owner, number
        self._clears = clears & self.fields

    def read(self, row: Row) -> Reading:
        body, covered, faults = read_members(self.members, row, self._codes)
        named = {fault.pointer.split("/")[1] for fault in faults}
        parts = [_first(body, names) for names in self.key]
        faults += [
            Fault(f"/{names.split('|')[0]}", "is part of the key and is not there", "export it with the record")
            for names, part in zip(self.key, parts, strict=True)
            if part is None and not named & set(names.split("|"))
        ]
        year = body.get("schoolYear")
        return Reading(
            key="" if None in parts else code_key(*(str(part) for part in parts)),
            body=body,
            covered=frozenset(covered | self._clears),
            school=self._owner(body, row),
            school_year=year if isinstance(year, int) else None,
            number=self._number(body),
            faults=tuple(faults),
        )

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        """Raises Unwritable for a word that no code list has."""
        return write_members(self.members, body, row or {}, self._codes)


def _first(body: Json, names: str) -> Any:
    return next((body[name] for name in names.split("|") if body.get(name) is not None), None)
