"""Formatters for any CSV file or SQL table, from a mapping file: which column says which field, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from homeroom_merge.formatters.codes import CodeLists, Place
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import organization_code
from homeroom_merge.formatters.mapping_fields import MappedField, mapped_field, member_of
from homeroom_merge.formatters.mapping_tables import MappedTable, check_is_readable, mapped_table
from homeroom_merge.formatters.members import AnyMember, FlatItems
from homeroom_merge.refusal import RefusedError
from homeroom_merge.toml_tables import Faults, Table, TomlFault, lines_of, parse
from homeroom_merge.values import Json


class MappingFaults(RefusedError):
    """Everything that is wrong with a mapping file, each with its line and the cure."""

    def __init__(self, faults: tuple[TomlFault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class MappedEntity:
    """One entity: where its rows stand, its key, its fields. `complete`: all of them are always there."""

    entity: str
    place: str
    """The file; `table` where it is a database."""
    table: MappedTable
    key: tuple[str, ...]
    complete: bool
    school: str
    school_column: str
    number: str
    fields: tuple[MappedField, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once, the key's first."""
        named = (*self.key, *(title for field in self.fields for title in field.columns), self.school_column)
        return tuple(dict.fromkeys(filter(None, named)))

    @property
    def fields_of_year(self) -> tuple[MappedField, ...]:
        return tuple(field for field in self.fields if field.name == "schoolYear")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping file that has been read."""

    entities: Mapping[str, MappedEntity]
    codes: CodeLists

    def formatters(self) -> Mapping[str, DeclaredFormatter]:
        return {name: _formatter(entity, self.codes) for name, entity in self.entities.items()}


def read_mapping(text: str, file: str = "the mapping file", *, sql: bool = False, needs_fields: bool = True) -> Mapped:
    """A mapping, for files or for a database; `file`: as messages name it.

    `needs_fields`: False where another formatter says what rows mean. Raises MappingFaults, which names every fault at
    once.
    """
    faults = Faults(lines_of(text))
    top = Table(parse(text, faults), (), faults)
    codes = _codes(top.table("codes"))
    told = codes, sql, needs_fields
    entities = {name: _entity(name, top.table(name), *told) for name in top if name != "codes"}
    if not entities and not faults.found:
        where = 'table = "pupil"' if sql else 'file = "students.csv"'
        top.fault("", "it maps no entity", f'write [Student] with {where} and key = ["Id"] below')
    if faults.found:
        raise MappingFaults(tuple(sorted(faults.found, key=lambda fault: fault.line)))
    return Mapped(entities, CodeLists(codes, Place(file, ("codes",))))


def _codes(table: Table) -> dict[str, dict[str, str]]:
    lists: dict[str, dict[str, str]] = {}
    for name in table:
        listed = table.table(name)
        lists[name] = {code: listed.text(code, "", "the hub's word") for code in listed}
    return lists


def _entity(
    name: str, table: Table, codes: Mapping[str, Mapping[str, str]], sql: bool, needs_fields: bool
) -> MappedEntity:
    place, in_database = table.text("file", ""), mapped_table(table)
    key = table.texts("key", ())
    if sql:
        check_is_readable(table, in_database, key)
    elif not place:
        table.fault("", "no file is named", f'write file = "{name.lower()}.csv"')
    if not key:
        table.fault("key", "this is missing", 'write key = ["Id"], the columns that say which record a row is')
    below = table.table("fields")
    fields = [found for field in below if (found := mapped_field(below, field, codes)) is not None]
    if not fields and needs_fields:
        table.fault("fields", "no field is mapped", f'write [{name}.fields] with lines like firstName = "First Name"')
    entity = MappedEntity(
        name,
        place,
        in_database,
        key,
        table.boolean("complete", False),
        table.text("school", ""),
        table.text("school_column", ""),
        table.text("number", ""),
        tuple(fields),
    )
    table.close()
    _check_twice(entity, below)
    return entity


def _check_twice(entity: MappedEntity, table: Table) -> None:
    """A column that is written from two fields would be what the later says."""
    writers: dict[str, str] = {}
    for field in entity.fields:
        for title in field.columns:
            if title in writers:
                table.fault(field.name, f"the column {title} is also that of {writers[title]}", "map it once")
            writers.setdefault(title, field.name)


def _formatter(entity: MappedEntity, codes: CodeLists) -> DeclaredFormatter:
    members: list[AnyMember] = []
    items: dict[tuple[str, str], dict[str, list[MappedField]]] = {}
    for field in entity.fields:
        if field.item is None and field.constant is None:
            members.append(member_of(field, field.name))
        elif field.item is not None:
            list_name, key, word, _ = field.item
            items.setdefault((list_name, key), {}).setdefault(word, []).append(field)
    for (list_name, key), words in items.items():
        flat = tuple((word, tuple(member_of(f, f.item[3]) for f in found if f.item)) for word, found in words.items())
        members.append(FlatItems(list_name, key, flat))
    return DeclaredFormatter(
        entity.entity,
        members,
        codes,
        key_columns=entity.key,
        owner=lambda body, row: owner_of(entity, row),
        number=lambda body: body.get(entity.number),
        empties={field.name: field.columns[0] for field in entity.fields if field.clears},
        constants={field.name: _constant(field.constant) for field in entity.fields if field.constant is not None},
    )


def owner_of(entity: MappedEntity, row: Row) -> str | None:
    """The organisation that a row belongs to: that of its own column, or that of the mapping."""
    number = row.get(entity.school_column)
    return organization_code("S", number) if isinstance(number, str) and number else entity.school or None


def year_of(entity: MappedEntity, row: Row) -> str | None:
    """The school year of a row, in digits if it is given so: that of its own column, or the mapping's constant."""
    titles = (title for field in entity.fields_of_year for title in field.columns)
    constants = (str(field.constant) for field in entity.fields_of_year if field.constant is not None)
    said = next((row[title] for title in titles if title in row), next(constants, None))
    return said if isinstance(said, str) else None


def _constant(value: object) -> Json | object:
    return value.isoformat() if isinstance(value, date) else value
