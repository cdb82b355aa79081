"""Organisations: the hub knows schools and authorities by number, as the codes of organisations do; files by own ids.

So a School's id on the hub, and whatever refers to it, is its number; on the way back the number is its own id again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeroom_merge.connectors.csv_tables import Cells, Refused, Tables
from homeroom_merge.formatters.flat import AUTHORITY, SCHOOL
from homeroom_merge.formatters.formatter import DELETED, YEAR, Row
from homeroom_merge.formatters.keys import code_key, is_shortened, organization_code

LETTERS = {"School": "S", "SchoolAuthority": "A"}
PLACES = {"School": SCHOOL, "SchoolAuthority": AUTHORITY}
_UNPLACED = "rows of an organisation that is not in orgs.csv, or neither a school nor an authority"
_TWINS = "organisations with the number of another, which are not merged; give each a number of its own"


@dataclass(frozen=True, slots=True)
class Organizations:
    """Where an export has them: the file, its columns of their own ids and of their numbers.

    `kind`: what all of them are, even those that the file does not have; without one, the column `type` says it.
    """

    file: str
    own: str
    number: str
    kind: str = ""

    def number_of(self, org: Cells) -> str:
        """What identifies an organisation on the hub: its own id, if it has no number or one that makes no code."""
        number, own = org.get(self.number, ""), org.get(self.own, "")
        return number if organization_code("S", number) else own and code_key(own)

    def kind_of(self, tables: Tables, org: Cells) -> str:
        """`School`, `SchoolAuthority`, or something else."""
        return self.kind or tables.word("OrgKind", org.get("type"))

    def place_of(self, tables: Tables, own_id: object) -> tuple[str, str] | None:
        """Kind and number of the school or authority with an id; None if there is none."""
        if not isinstance(own_id, str) or not own_id:
            return None
        org = tables.one(self.file, self.own, own_id) or ({self.own: own_id} if self.kind else {})
        kind = self.kind_of(tables, org)
        return (kind, self.number_of(org)) if kind in PLACES else None

    def place(self, tables: Tables, row: dict[str, object], own_id: object, year: object = "") -> None:
        """Say in a row where it belongs: which school, or which authority; and of which school year it is."""
        if year:
            row[YEAR] = year
        if (found := self.place_of(tables, own_id)) is not None:
            kind, number = found
            row[PLACES[kind]] = number
            tables.own(row, LETTERS[kind], number)
        else:
            tables.left_out[_UNPLACED] += bool(own_id)

    def identify(self, tables: Tables, row: dict[str, object], kind: str) -> bool:
        """Say in an organisation's own row which it is; False if it is gone and another goes by its number."""
        number = self.number_of({title: cell for title, cell in row.items() if isinstance(cell, str)})
        alike = self._alike(tables, kind, number)
        if row.get(DELETED) is True and alike:
            return False
        tables.left_out[_TWINS] += len(alike) > 1
        row[PLACES[kind]] = number
        tables.own(row, LETTERS[kind], number)
        return True

    def own_id(self, tables: Tables, kind: str, number: str) -> str:
        """The id that the files have for an organisation, its number if it is new to them. Raises Refused."""
        found = self._alike(tables, kind, number)
        if len(found) > 1:
            raise Refused(f"several organisations have the number {number}: {', '.join(found)}; give each its own")
        if not found and is_shortened(number):
            raise Refused("the SIS's own id of the organisation is not known, as it is no code; write it by hand")
        return found[0] if found else number

    def put_back(self, tables: Tables, row: Row, column: str) -> dict[str, object]:
        """A row without the cells of place: what they say stands in `column`, if there is one. Raises Refused."""
        cells = {title: cell for title, cell in row.items() if title not in PLACES.values()}
        said = next(((kind, str(row[title])) for kind, title in PLACES.items() if row.get(title)), None)
        if column and said != self.place_of(tables, row.get(column)):
            cells[column] = "" if said is None else self.own_id(tables, *said)
        return cells

    def own_row(self, tables: Tables, row: Row, kind: str) -> dict[str, object]:
        """An organisation's own row with the id that the files have for it. Raises Refused for another number."""
        number = str(row.get(PLACES[kind], ""))
        own = {self.own: self.own_id(tables, kind, number)}
        cells = {**{title: cell for title, cell in row.items() if title != PLACES[kind]}, **own}
        if self.number_of({title: cell for title, cell in cells.items() if isinstance(cell, str)}) != number:
            raise Refused(f"the number {number} says which organisation it is; change it in the SIS by hand")
        return cells

    def _alike(self, tables: Tables, kind: str, number: str) -> Sequence[str]:
        found = tables.many(self.file, self.number_of, number)
        return [org[self.own] for org in found if org.get(self.own) and self.kind_of(tables, org) == kind]
