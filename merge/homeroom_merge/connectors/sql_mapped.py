"""Tables of any shape, as a mapping file names them."""

from collections.abc import Callable, Mapping
from functools import partial

from homeroom_merge.connectors.sql_tables import SqlTable
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.mapping import Mapped, MappedEntity, owner_of, year_of
from homeroom_merge.formatters.typed_cells import TypedCells, texts


def mapped_tables(mapped: Mapped) -> Mapping[str, SqlTable]:
    """The tables of a mapping; an entity is complete where the mapping says `complete = true`."""
    return {
        name: SqlTable(
            entity.table.name,
            entity.key[0],
            entity.table.schema or None,
            changed=entity.table.changed,
            query=entity.table.query,
            columns=tuple(dict.fromkeys(filter(None, (*entity.columns, entity.table.changed)))),
            gives_keys=entity.table.gives_keys,
            complete=entity.complete,
            pair=_pair(entity),
        )
        for name, entity in mapped.entities.items()
    }


def typed_formatters(mapped: Mapped) -> Mapping[str, TypedCells]:
    """The formatters of a mapping for rows of a database."""
    formatters = mapped.formatters().items()
    return {name: TypedCells(each, mapped.entities[name].table.changed) for name, each in formatters}


def _pair(entity: MappedEntity) -> Callable[[Row], tuple[str, int | None] | None]:
    named = (entity.school_column, *(title for field in entity.fields_of_year for title in field.columns))
    return partial(_pair_of, entity, named)


def _pair_of(entity: MappedEntity, named: tuple[str, ...], row: Row) -> tuple[str, int | None] | None:
    said = texts({name: row[name] for name in named if name in row})
    owner, year = owner_of(entity, said), year_of(entity, said)
    return None if owner is None else (owner, int(year) if year is not None and year.isdecimal() else None)
