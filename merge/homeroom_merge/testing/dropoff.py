"""A SIS that exports files now and then, and takes files from a folder: what it took is in a later export."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from homeroom_merge.connectors.connector import Fetch, Outcome
from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_manifest import MANIFEST, manifest_rows
from homeroom_merge.connectors.csv_tables import FileSet
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.plan import Kind
from homeroom_merge.testing.mishaps import Mishaps

_CUT = 3
"""Characters that an export lacks which was cut: its last cell's quotes do not close."""


class DropOffSis(Mishaps):
    """The rows of each file of a set by key, below `folder`: `exports` for the connector, `drops` from it."""

    def __init__(self, folder: Path, file_set: FileSet) -> None:
        super().__init__()
        self.exports, self.drops = folder / "exports", folder / "drops"
        self.file_set = file_set
        self.rows: dict[str, dict[str, Row]] = {file: {} for file in file_set.columns}
        self.writes: Counter[str] = Counter()
        """How often each record's row was taken from the folder, by key."""
        self.ignored: set[str] = set()
        """Keys of what is taken and never shown."""
        self.exports.mkdir(parents=True)
        self.drops.mkdir()
        self._connector = self._opened()
        self.abilities = self._connector.abilities

    def put(self, file: str, **cells: object) -> None:
        """Somebody edits a row in the SIS itself, or makes one; the cells of its key say which."""
        key = self._key(file, cells)
        self.rows[file][key] = {**self.rows[file].get(key, {}), **cells}

    def remove(self, file: str, key: str) -> None:
        """Somebody deletes a row in the SIS itself."""
        self.rows[file].pop(key, None)

    def take(self) -> None:
        """The SIS takes what lies in the folder; no export shows it yet."""
        for batch in sorted(self.drops.iterdir()):
            for path in sorted(batch.glob("*.csv")):
                file = next((each for each in self.rows if _name(each) == path.name), None)
                if file is not None and path.name != MANIFEST:
                    self._take(file, path)
            shutil.rmtree(batch)
        self._connector = self._opened()

    def export(self, *, cut: bool = False) -> None:
        """All files anew, as the rows are now. `cut`: each ends before its end."""
        for file, rows in self.rows.items():
            self._write(_name(file), self.file_set.columns[file], list(rows.values()), cut=cut)
        if self.file_set.manifest:
            said = [{**row, "value": str(row["value"]).replace("delta", "bulk")} for row in manifest_rows(self.rows)]
            self._write(MANIFEST, ("propertyName", "value"), said)

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """What the last export shows."""
        self._check_up()
        return await self._connector.fetch(entity, cursor)

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Not among the abilities."""
        return await self._connector.fetch_by_id(entity, keys)

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Put a row into the folder, unless a mishap is due."""
        return await self._tried(key, lambda: self._connector.write(entity, kind, key, row, expected))

    def _opened(self) -> CsvFolder:
        return CsvFolder(self.exports, self.file_set, drop_off=DropOff(self.drops, self.file_set))

    def _take(self, file: str, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as batch:
            for row in csv.DictReader(batch):
                key = self._key(file, row)
                self.writes[key] += 1
                if key in self.ignored:
                    continue
                if row.get("status") == "tobedeleted":
                    self.remove(file, key)
                else:
                    self.put(file, **row)

    def _key(self, file: str, row: Row) -> str:
        keys = [source.key for source in self.file_set.sources.values() if source.file == file]
        columns = self.file_set.columns[file]
        titles = keys[0] if keys else columns if file in self.file_set.repeated else columns[:1]
        return code_key(*(str(row.get(title) or "") for title in titles))

    def _write(self, name: str, titles: Sequence[str], rows: Sequence[Row], *, cut: bool = False) -> None:
        path = self.exports / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, titles, extrasaction="ignore", quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
        if cut:
            text = path.read_bytes()
            path.write_bytes(text[:-_CUT])


def _name(file: str) -> str:
    return file if "." in file else f"{file}.csv"
