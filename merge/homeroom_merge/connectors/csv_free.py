"""Files of any shape, as a mapping file names them."""

from collections.abc import Iterator, Mapping, Sequence

from homeroom_merge.connectors.csv_tables import FileSet, Join, Source, Spread, Tables
from homeroom_merge.formatters.formatter import OWNER, YEAR, Row
from homeroom_merge.formatters.mapping import Mapped, MappedEntity, owner_of, year_of


def free_form(mapped: Mapped) -> FileSet:
    """The file set of a mapping; an entity is complete where the mapping says `complete = true`."""
    sources = {
        name: Source(entity.place, entity.key, _join(entity), spread=_spread(entity.place))
        for name, entity in mapped.entities.items()
    }
    columns: dict[str, tuple[str, ...]] = {}
    for entity in mapped.entities.values():
        columns[entity.place] = tuple(dict.fromkeys((*columns.get(entity.place, ()), *entity.columns)))
    complete = frozenset(name for name, entity in mapped.entities.items() if entity.complete)
    return FileSet("this mapping", columns, sources, {}, complete=complete)


def _join(entity: MappedEntity) -> Join:
    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        if owner := owner_of(entity, row):
            row[OWNER] = owner
        if year := year_of(entity, row):
            row[YEAR] = year
        yield row

    return join


def _spread(file: str) -> Spread:
    def spread(row: dict[str, object], tables: Tables) -> Mapping[str, Sequence[Row]]:
        return {file: [row]}

    return spread
