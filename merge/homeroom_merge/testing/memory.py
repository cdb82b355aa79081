"""A SIS in memory."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence

from homeroom_merge.connectors.connector import Abilities, Coverage, Fetch, Outcome, SourceRow
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind
from homeroom_merge.testing.mishaps import Mishaps

DATABASE = Abilities(delta=True, by_id=True, write=True, conditional_write=True, read_back=True)
DROP_OFF = Abilities(write=True)
"""It takes files, and shows them in a later export."""


class MemorySis(Mishaps):
    """Rows by entity and key, and what was done to them. `key`: the column of the key.

    What abilities without `read_back` show is the last `export`; others show at once what was written.
    """

    def __init__(self, abilities: Abilities = DATABASE, *, key: str = "id") -> None:
        super().__init__()
        self.abilities = abilities
        self.rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self.writes: Counter[str] = Counter()
        """How often each record was written, by key."""
        self._key = key
        self._moves: list[tuple[str, str]] = []
        self._exported: dict[str, dict[str, Row]] = {}

    def put(self, entity: str, key: str, **cells: object) -> None:
        """Somebody edits a row in the SIS itself, or makes one."""
        self._store(entity, key, {**self.rows[entity].get(key, {self._key: key}), **cells})

    def remove(self, entity: str, key: str) -> None:
        """Somebody deletes a row in the SIS itself."""
        self._store(entity, key, None)

    def export(self) -> None:
        """What a drop-off has taken so far is in what it shows."""
        self._exported = {entity: dict(rows) for entity, rows in self.rows.items()}

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity, or what has moved since."""
        rows = self._shown(entity)
        moved = {key for of, key in self._moves[int(cursor or 0) :] if of == entity}
        is_delta = cursor is not None and self.abilities.delta
        fetch = self._fetch([row for key, row in rows.items() if not is_delta or key in moved])
        fetch.complete = not is_delta
        fetch.cursor = str(len(self._moves)) if self.abilities.delta else None
        fetch.coverage = Coverage(columns=frozenset(column for row in rows.values() for column in row) or None)
        return fetch

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Just these."""
        rows = self._shown(entity)
        return self._fetch([rows[key] for key in keys if key in rows])

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Make one record what the row says, unless a mishap is due."""

        async def write() -> Outcome:
            return self._write(entity, key, row, expected)

        return await self._tried(key, write)

    def _write(self, entity: str, key: str, row: Row | None, expected: Row | None) -> Outcome:
        stands = self.rows[entity].get(key)
        if self.abilities.conditional_write and stands != expected:
            return Outcome("moved", "it is not what it was", shown=stands)
        if row is not None and stands is None and self.abilities.gives_keys:
            key = f"given-{len(self._moves)}"
            row = {**row, self._key: key}
        self.writes[key] += 1
        self._store(entity, key, row)
        return Outcome("done", shown=row if self.abilities.read_back else None)

    def _store(self, entity: str, key: str, row: Row | None) -> None:
        self._moves.append((entity, key))
        if row is None:
            self.rows[entity].pop(key, None)
        else:
            self.rows[entity][key] = row

    def _shown(self, entity: str) -> dict[str, Row]:
        self._check_up()
        return self.rows[entity] if self.abilities.read_back else self._exported.get(entity, {})

    def _fetch(self, rows: Sequence[Row]) -> Fetch:
        async def each() -> AsyncIterator[SourceRow]:
            for row in rows:
                yield SourceRow(row, f"record {row[self._key]}")

        return Fetch(each())
