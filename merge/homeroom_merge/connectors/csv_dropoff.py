"""A folder from which a SIS takes CSV files: the rows to be changed, in the format that it exports."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from homeroom_merge.connectors.csv_manifest import MANIFEST, manifest_rows
from homeroom_merge.connectors.csv_sheet import is_secret
from homeroom_merge.connectors.csv_tables import FileSet
from homeroom_merge.formatters.formatter import Row

ROWS_PER_BATCH_MAX = 500


def _now() -> datetime:
    return datetime.now(UTC)


class DropOff:
    """Each batch of rows is a folder of its own below `folder`; each of its files is whole whenever it is looked at."""

    def __init__(self, folder: Path, file_set: FileSet, now: Callable[[], datetime] = _now) -> None:
        self.folder, self.file_set = folder, file_set
        self._now = now
        self._rows: dict[str, dict[str, Row]] = {}
        self._batch: Path | None = None
        self._count = 0

    def put(self, rows: Mapping[str, Sequence[Row]], *, gone: bool = False) -> None:
        """Add rows to the files of a batch; one of the same identity replaces the earlier one. Raises OSError."""
        batch = self._batch_now()
        for file, added in rows.items():
            for row in added:
                at = repr([row.get(title) for title in self._identity(file)])
                self._rows.setdefault(file, {})[at] = self._stamped(row, gone)
            self._write(batch, file, list(self._rows[file].values()))
        if self.file_set.manifest:
            self._write(batch, MANIFEST.removesuffix(".csv"), manifest_rows(self._rows))

    def _identity(self, file: str) -> tuple[str, ...]:
        keys = [source.key for source in self.file_set.sources.values() if source.file == file]
        columns = self.file_set.columns.get(file, ())
        return keys[0] if keys else columns if file in self.file_set.repeated else columns[:1]

    def _batch_now(self) -> Path:
        if self._batch is None or sum(map(len, self._rows.values())) >= ROWS_PER_BATCH_MAX:
            self._count += 1
            stamp = self._now().strftime("%Y%m%dT%H%M%S%fZ")
            self._batch, self._rows = self.folder / f"homeroom-{stamp}-{self._count:04}", {}
            self._batch.mkdir(parents=True)
        return self._batch

    def _stamped(self, row: Row, gone: bool) -> Row:
        if not self.file_set.manifest:
            return row
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**row, "status": "tobedeleted" if gone else "active", "dateLastModified": stamp}

    def _write(self, batch: Path, file: str, rows: Sequence[Row]) -> None:
        """All of a file at once: whoever looks finds the old one or the new one. Cells are data, and quoted."""
        known = self.file_set.columns.get(file, ())
        also = {title for row in rows for title in row if title not in known and not is_secret(title)}
        titles = [*known, *sorted(title for title in also if not title.startswith("@"))]
        name = file if "." in file else f"{file}.csv"
        with NamedTemporaryFile("w", dir=batch, prefix=".", encoding="utf-8", newline="", delete=False) as temporary:
            writer = csv.writer(temporary, quoting=csv.QUOTE_ALL)
            writer.writerow(titles)
            writer.writerows([_cell(row.get(title), title) for title in titles] for row in rows)
            temporary.flush()
            os.fsync(temporary.fileno())
        Path(temporary.name).replace(batch / name)


def _cell(value: object, title: str) -> str:
    return value if isinstance(value, str) and not is_secret(title) else ""
