"""One line of a mapping file: a field, the columns that say it, and how they are to be understood."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeroom_merge.formatters.codes import Codes, Unreadable, Unwritable
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Number, Separated, Text, Year
from homeroom_merge.formatters.members import Kind, Member
from homeroom_merge.toml_tables import Table, suggestion
from homeroom_merge.values import Value

_ITEM = re.compile(r"([a-z][A-Za-z0-9]*)\[([a-z][A-Za-z0-9]*)=([^\]]+)\]\.([a-z][A-Za-z0-9]*)")
_FIELD = re.compile(r"[a-z][A-Za-z0-9]{0,63}")
_SHAPES = {"YYYY": "%Y", "MM": "%m", "M": "%m", "DD": "%d", "D": "%d"}
_SHAPE = re.compile(r"YYYY|MM?|DD?")


class As(StrEnum):
    """How a column's text is to be understood."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    YEAR = "year"
    REFERENCE = "reference"


class Empty(StrEnum):
    """What an empty cell says."""

    KEEP = "keep"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class MappedField:
    """`item`: of a list of objects, the list, its key, the key's value and the item's member. `constant`: no column."""

    name: str
    columns: tuple[str, ...]
    kind: Kind
    item: tuple[str, str, str, str] | None = None
    constant: object = None
    clears: bool = False


def mapped_field(table: Table, name: str, codes: Mapping[str, Mapping[str, str]]) -> MappedField | None:
    """The field of one line; None after a fault."""
    item = _ITEM.fullmatch(name)
    if item is None and not _FIELD.fullmatch(name):
        table.fault(name, "this is no field", 'write a name like firstName, or "emails[type=school].address"')
    parts = (item[1], item[2], item[3], item[4]) if item else None
    said = table.any(name)
    if isinstance(said, str):
        return MappedField(name, (said,), Text(), parts)
    if not isinstance(said, Mapping):
        table.fault(name, "this is a column or a table", f'write "{name}" = "Column" or {{column = "Column", ...}}')
        return None
    field = table.table(name)
    found = _constant(field, name) if field.has("constant") else _from_columns(field, name, parts, codes)
    field.close()
    return found


def _constant(field: Table, name: str) -> MappedField | None:
    value = field.any("constant")
    if _ITEM.fullmatch(name):
        field.fault("constant", "a list's item cannot be constant", "name its column")
        return None
    return MappedField(name, (), Text(), constant=value)


def _from_columns(
    field: Table, name: str, item: tuple[str, str, str, str] | None, codes: Mapping[str, Mapping[str, str]]
) -> MappedField | None:
    columns = field.texts("columns", ()) if field.has("columns") else (field.text("column", None, "Column"),)
    separator = field.text("separator", "")
    kind = _kind(field, codes)
    clears = field.choice("empty", Empty, Empty.KEEP) is Empty.CLEAR
    if not all(columns):
        return None
    if len(columns) > 1:
        if not separator:
            field.fault("separator", "this is missing", 'write separator = " ", which stands between the columns')
        return MappedField(name, columns, JoinedText(separator or " ", len(columns)), item, clears=clears)
    if separator:
        kind = Separated(kind, separator)
    return MappedField(name, columns, kind, item, clears=clears)


def _kind(field: Table, codes: Mapping[str, Mapping[str, str]]) -> Kind:
    if field.has("codes"):
        name = field.text("codes", None)
        if name not in codes:
            cure = suggestion(name, codes) if codes else f'write [codes.{name}] with lines like F = "female"'
            field.fault("codes", "there is no such code list", cure)
        return Code(name)
    shape, yes, no = field.text("format", ""), field.texts("true", ("true", "1")), field.texts("false", ("false", "0"))
    match field.choice("type", As, As.TEXT):
        case As.NUMBER:
            return Number()
        case As.BOOLEAN:
            return Flag(yes, no)
        case As.DATE:
            return Day(_shape(field, shape) if shape else None)
        case As.YEAR:
            return Year()
        case As.REFERENCE:
            return Id()
        case _:
            return Text()


def _shape(field: Table, shape: str) -> tuple[str, str]:
    found = _SHAPE.findall(shape)
    if sorted(part[0] for part in found) != ["D", "M", "Y"]:
        field.fault(
            "format", "this is no form of a date", 'write format = "DD.MM.YYYY", with a year, a month and a day'
        )
    return _SHAPE.sub(lambda part: _SHAPES[part[0]], shape.replace("%", "%%")), shape


@dataclass(frozen=True, slots=True)
class JoinedText:
    """One text of several columns; taken apart again where it has as many parts as there are columns."""

    separator: str
    count: int

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        texts = [text for text in found if isinstance(text, str)]
        if len(texts) != len(found):
            raise Unreadable("holds elements where text belongs")
        if len(texts) != self.count or any(self.separator in text for text in texts):
            raise Unreadable(f"is not {self.count} texts without its separator within", "fill in all of its columns")
        return self.separator.join(texts)

    def write(self, value: Value, codes: Codes) -> list[object]:
        parts: list[object] = list(value.split(self.separator))
        if len(parts) != self.count or not all(parts):
            raise Unwritable(f"does not have the {self.count} parts of its columns")
        return parts


def member_of(field: MappedField, name: str) -> Member:
    """The member that reads and writes a field."""
    return Member(name, field.kind, tuple((title,) for title in field.columns), spread=len(field.columns) > 1)
