"""A SIS whose database is a SQLite file, reached as a real one is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeroom_merge.connectors.connector import Fetch, Outcome
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.connectors.sql_tables import SqlTable
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind
from homeroom_merge.testing.mishaps import Mishaps

_WRITES = "writes_of_rows"


class SqlSis(Mishaps):
    """A table for each entity, with the columns of its first rows. `key`: the column of the key, in every table."""

    def __init__(self, path: Path, rows: Mapping[str, Sequence[Row]], *, key: str = "id") -> None:
        super().__init__()
        self.url = f"sqlite:///{path}"
        """For the settings of a feed."""
        self._key = key
        self._engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        metadata = sa.MetaData()
        self._writes = sa.Table(_WRITES, metadata, sa.Column("number", sa.Integer, primary_key=True), _text("key"))
        self._tables = {entity: _table(entity, metadata, of, key) for entity, of in rows.items()}
        with self._engine.begin() as connection:
            metadata.create_all(connection)
            for entity, of in rows.items():
                connection.execute(sa.insert(self._tables[entity]), [dict(row) for row in of])
                for event, side in (("insert", "new"), ("update", "new"), ("delete", "old")):
                    connection.execute(_counted(self._engine, entity, key, event, side))
        self._database = SqlDatabase(self.url, {entity: SqlTable(entity, key) for entity in rows})
        self.abilities = self._database.abilities

    @property
    def writes(self) -> Counter[str]:
        """How often each record was written by others than the SIS itself, by key."""
        with self._engine.connect() as connection:
            return Counter(str(key) for key in connection.execute(sa.select(self._writes.c.key)).scalars())

    def rows(self, entity: str) -> dict[str, Row]:
        """All rows of an entity, by key."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(self._tables[entity])).mappings()
            return {str(row[self._key]): dict(row) for row in found}

    def put(self, entity: str, key: str, **cells: object) -> None:
        """Somebody edits a row in the SIS itself, or makes one."""
        table = self._tables[entity]
        stands = {**self.rows(entity).get(key, {self._key: key}), **cells}
        self._itself(sa.delete(table).where(table.c[self._key] == key), sa.insert(table).values(stands))

    def remove(self, entity: str, key: str) -> None:
        """Somebody deletes a row in the SIS itself."""
        table = self._tables[entity]
        self._itself(sa.delete(table).where(table.c[self._key] == key))

    async def close(self) -> None:
        """Give back what is open."""
        await self._database.close()

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity."""
        self._check_up()
        return await self._database.fetch(entity, cursor)

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Just these."""
        self._check_up()
        return await self._database.fetch_by_id(entity, keys)

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Make one record what the row says, unless a mishap is due."""
        return await self._tried(key, lambda: self._database.write(entity, kind, key, row, expected))

    def _itself(self, *statements: sa.Executable) -> None:
        """What the SIS's own people do, which does not count."""
        with self._engine.begin() as connection:
            last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(self._writes.c.number), 0))).scalar_one()
            for statement in statements:
                connection.execute(statement)
            connection.execute(sa.delete(self._writes).where(self._writes.c.number > last))


def _table(entity: str, metadata: sa.MetaData, rows: Sequence[Row], key: str) -> sa.Table:
    columns = dict.fromkeys((key, *(column for row in rows for column in row)))
    kinds = {name: next((row[name] for row in rows if row.get(name) is not None), "") for name in columns}
    made = [sa.Column(name, _type(kinds[name]), primary_key=name == key) for name in columns]
    return sa.Table(entity, metadata, *made)


def _type(cell: object) -> sa.types.TypeEngine[Any]:
    if isinstance(cell, int | float):
        return sa.Integer() if isinstance(cell, int) else sa.Float()
    return sa.Text()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text)


def _counted(engine: sa.Engine, entity: str, key: str, event: str, side: str) -> sa.TextClause:
    quote = engine.dialect.identifier_preparer.quote
    trigger, table, column = quote(f"{event} {entity}"), quote(entity), quote(key)
    insert = f"insert into {_WRITES} (key) values ({side}.{column})"  # noqa: S608, names have no parameters
    return sa.text(f"create trigger {trigger} after {event} on {table} begin {insert}; end".replace(":", r"\:"))
