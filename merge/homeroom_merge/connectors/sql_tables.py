"""Where the records of an entity are in a SIS's database, and what is there in truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from homeroom_merge.connectors.sql_rows import TIMES_ARE_TEXTS
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.toml_tables import suggestion

_NAMES_MAX = 20


class NotThereError(Exception):
    """A table or column that the database does not have; the message says what it has."""


@dataclass(frozen=True, slots=True)
class SqlTable:
    """Where the records of an entity are. `changed`: a column that grows with each change; without one, no deltas.

    `query`: read by this statement instead of the table; writes go to the table still, if one is named. `columns`:
    those that are read; of a table, none named are all. `gives_keys`: the database makes the keys of new rows.
    """

    table: str
    key: str
    schema: str | None = None
    changed: str = ""
    overlap_seconds: float = 300
    """A delta reaches back so far, for changes whose transactions ended later than others that began after them."""
    query: str = ""
    columns: tuple[str, ...] = ()
    gives_keys: bool = False
    complete: bool = True
    """All of the entity's records are always there, so that absence may mean something."""
    pair: Callable[[Row], tuple[str, int | None] | None] | None = None
    """The (school code, school year) that a row speaks of. Without it, a fetch speaks of all that the feed does."""


@dataclass(frozen=True, slots=True)
class Place:
    """A table as the database has it, and what its records are read from. `lacking`: columns that are not there."""

    told: SqlTable
    table: sa.Table | None
    source: sa.FromClause
    columns: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.told.table or "the query"

    @property
    def select(self) -> sa.Select[Any]:
        return sa.select(*(self.source.columns[name] for name in self.columns))

    @property
    def key(self) -> sa.ColumnElement[Any]:
        """The key to compare with: as the table has it, which knows its type; of a query alone, as text."""
        source = self.source.columns[self.told.key]
        if self.table is None:
            return sa.cast(source, sa.String())
        kind = self.table.columns[self.told.key].type
        return sa.type_coerce(source, sa.BigInteger() if isinstance(kind, sa.Integer) else kind)

    def cells(self, row: Row) -> Row:
        """A row as it is read: what a column of fixed width adds is no text of anybody's."""
        padded = [name for name in self.columns if isinstance(self.source.columns[name].type, sa.CHAR)]
        return {**row, **{name: cell.rstrip(" ") for name in padded if isinstance(cell := row[name], str)}}


def place_of(engine: sa.Engine, told: SqlTable) -> Place:
    """Raises NotThereError, SQLAlchemyError."""
    table = _reflected(engine, told) if told.table else None
    if told.query or table is None:
        text = told.query.rstrip("; \n").replace(":", "\\:")
        source = sa.text(text).columns(*(sa.column(name) for name in told.columns)).subquery()
        return Place(told, table, source, told.columns)
    there = tuple(column.name for column in table.columns)
    lacking = tuple(name for name in told.columns if name not in there)
    return Place(told, table, table, tuple(name for name in there if name in (told.columns or there)), lacking)


def _reflected(engine: sa.Engine, told: SqlTable) -> sa.Table:
    try:
        table = sa.Table(told.table, sa.MetaData(), schema=told.schema, autoload_with=engine, resolve_fks=False)
    except exc.NoSuchTableError:
        raise NotThereError(f"the database has no table {told.table}; {_cure(engine, told)}") from None
    table.info[TIMES_ARE_TEXTS] = engine.dialect.name == "sqlite"
    for name in filter(None, (told.key, "" if told.query else told.changed)):
        if name not in table.columns:
            cure = suggestion(name, [column.name for column in table.columns][:_NAMES_MAX])
            raise NotThereError(f"the table {told.table} has no column {name}; {cure}")
    return table


def _cure(engine: sa.Engine, told: SqlTable) -> str:
    schema, dot, name = told.table.partition(".")
    if dot:
        return f'write schema = "{schema}" and table = "{name}"'
    inspector = sa.inspect(engine)
    names = [*inspector.get_table_names(told.schema), *inspector.get_view_names(told.schema)]
    if not names:
        return "there is none that this user may see: see that schema is right and that the user has grants"
    cure = suggestion(told.table, names)
    return cure if len(names) <= _NAMES_MAX or cure.startswith("did") else "see that table and schema are right"
