"""A folder of CSV files: what a SIS exports, whole or as changes; and a folder from which it takes changes."""

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from anyio import to_thread

from homeroom_merge.connectors.connector import Abilities, Coverage, Fetch, Outcome, SourceRow
from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_manifest import MANIFEST, read_manifest
from homeroom_merge.connectors.csv_sheet import Sheet, SheetFault, opened_sheet
from homeroom_merge.connectors.csv_tables import FileSet, Refused, Source, Tables, pair_of
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import is_shortened
from homeroom_merge.plan import Kind
from homeroom_merge.toml_tables import suggestion

_BATCH = 500


class CsvFolder:
    """The files of one export. `drop_off`: where the SIS takes files from; without one it is only read.

    `lines_end`: whether the exporter ends its last line. Where it should have and has not, the file may have been cut
    at that very place, and is not complete.
    """

    def __init__(
        self,
        folder: Path,
        file_set: FileSet,
        *,
        encoding: str = "",
        lines_end: bool = True,
        drop_off: DropOff | None = None,
    ) -> None:
        self.folder, self.file_set = folder, file_set
        self.encoding, self.lines_end = encoding, lines_end
        self.abilities = Abilities(delta=file_set.manifest, write=drop_off is not None)
        self._drop_off = drop_off

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All that the folder has of an entity, whole or as changes. Raises OSError while rows are taken."""
        fetch = Fetch(rows=_nothing())
        source = self.file_set.sources.get(entity)
        if source is None:
            fetch.failure = f"files of {self.file_set.name} carry no {entity}"
        else:
            fetch.rows = self._rows(source, entity, fetch)
        return fetch

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Not among the abilities."""
        return Fetch(rows=_nothing(), failure="a folder of CSV files cannot be read by id")

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Put a row into the files that the SIS takes: `done` means that it is there, not that the SIS has read it."""
        source = self.file_set.sources.get(entity)
        if self._drop_off is None:
            return Outcome("refused", "no folder is named from which the SIS takes files")
        if source is None or source.spread is None:
            return Outcome("refused", f"files of {self.file_set.name} have no place for {entity} of their own")
        try:
            await to_thread.run_sync(self._drop, source, kind, key, row)
        except (Refused, SheetFault) as fault:
            return Outcome("refused", str(fault))
        except OSError as fault:
            return Outcome("transient", f"the drop-off folder cannot be written: {fault.strerror}")
        return Outcome("done")

    def _drop(self, source: Source, kind: Kind, key: str, row: Row | None) -> None:
        assert self._drop_off is not None
        assert source.spread is not None
        gone = kind is Kind.DELETE
        if gone and not self.file_set.says_deleted:
            raise Refused(f"files of {self.file_set.name} cannot say that a record is gone; let deletes deactivate it")
        sheets = {file: self._sheet(file) for file in source.files if self._path(file).exists()}
        tables = Tables(sheets, self.file_set.codes)
        if gone:
            self._drop_off.put({source.file: [{source.key[0]: source.own_id(tables, key)}]}, gone=True)
            return
        if odd := [title for title, cell in (row or {}).items() if _is_odd_id(title, cell)]:
            raise Refused(f"the SIS's own id for {odd[0]} is not known, as it is no code of the hub; write it by hand")
        self._drop_off.put(source.spread(dict(row or {}), tables))

    async def _rows(self, source: Source, entity: str, fetch: Fetch) -> AsyncIterator[SourceRow]:
        """Rows batch by batch off the event loop; then what else is known of the fetch is set."""
        batches = self._batches(source, entity, fetch)
        try:
            while batch := await to_thread.run_sync(next, batches, None):
                for row in batch:
                    yield row
        except SheetFault as fault:
            fetch.failure = str(fault)
        finally:
            batches.close()

    def _batches(self, source: Source, entity: str, fetch: Fetch) -> Generator[list[SourceRow], None, None]:
        modes = self._modes(source, fetch.notes)
        sheets = self._sheets(source, modes, fetch.notes)
        tables = Tables(sheets, self.file_set.codes)
        pairs: set[tuple[str, int | None]] = set()
        rows = _joined(tables, source, sheets[source.file].path.name)
        while batch := list(islice(rows, _BATCH)):
            pairs.update(pair for one in batch for pair in pair_of(one.row))
            yield batch
        fetch.coverage = Coverage(frozenset(pairs), _columns(sheets))
        fetch.notes += tables.notes()
        whole = self._is_complete(source, entity, modes, sheets, fetch.notes)
        fetch.complete = whole and not tables.unknown and not tables.nameless

    def _modes(self, source: Source, notes: list[str]) -> Mapping[str, str]:
        """What is promised of each file. Raises SheetFault."""
        if not self.file_set.manifest:
            return dict.fromkeys(source.files, "bulk")
        modes, noted = read_manifest(self.folder, self.encoding)
        notes += noted
        for file in (source.file, *source.needs):
            if modes.get(file, "absent") == "absent":
                raise SheetFault(f"{MANIFEST} says that there is no {file}.csv; export it too")
        for file in source.files:
            if modes.get(file, "absent") != "absent" and not self._path(file).exists():
                raise SheetFault(f"{MANIFEST} promises {file}.csv and it is not there; export all files again")
        return modes

    def _sheets(self, source: Source, modes: Mapping[str, str], notes: list[str]) -> Mapping[str, Sheet]:
        """The files of an entity, each checked as a whole. Raises SheetFault."""
        wanted = [file for file in source.files if modes.get(file, "absent") != "absent"]
        for file in (source.file, *source.needs):
            if not self._path(file).exists():
                raise SheetFault(f"there is no {self._path(file).name}; export it too, or name it as it is called")
        sheets = {file: self._sheet(file) for file in wanted if self._path(file).exists()}
        for file, sheet in sheets.items():
            notes += sheet.notes
            lacking = [title for title in self.file_set.columns.get(file, ()) if title not in sheet.columns]
            _check_key(sheet, source.key if file == source.file else (), lacking)
            if lacking and not self.file_set.manifest and file == source.file:
                notes.append(f"{sheet.path.name}: not covered, as there is no such column: {', '.join(lacking)}")
        return sheets

    def _is_complete(
        self, source: Source, entity: str, modes: Mapping[str, str], sheets: Mapping[str, Sheet], notes: list[str]
    ) -> bool:
        """Whether absence may mean something: the set promises so, and no row leaves a doubt."""
        promised = all(modes.get(file) == "bulk" for file in (source.file, *source.needs))
        if self.file_set.complete is not None:
            promised = promised and entity in self.file_set.complete
        own = [sheets[file] for file in (source.file, *source.needs)]
        for sheet in own:
            if sheet.misshapen:
                notes.append(f"{sheet.path.name}: rows of another length than its titles, absence not counted: "
                             f"{sheet.misshapen}")  # fmt: skip
            if sheet.unended:
                notes.append(f"{sheet.path.name} row {sheet.last}: its last line has no end and may have been cut: its "
                             "last cell was left out, absence not counted; export it again")  # fmt: skip
        return promised and not any(sheet.misshapen or sheet.unended for sheet in own)

    def _sheet(self, file: str) -> Sheet:
        path, known = self._path(file), self.file_set.columns.get(file, ())
        return opened_sheet(path, known, self.encoding, lines_end=self.lines_end)

    def _path(self, file: str) -> Path:
        """The file of that name, in whatever case it is written."""
        name = f"{file}.csv" if "." not in file else file
        there = {path.name.casefold(): path for path in self.folder.iterdir()} if self.folder.is_dir() else {}
        return there.get(name.casefold(), self.folder / name)


async def _nothing() -> AsyncIterator[SourceRow]:
    nothing: tuple[SourceRow, ...] = ()
    for row in nothing:
        yield row


def _is_odd_id(title: str, cell: object) -> bool:
    """Whether a cell of an id or a reference holds the hub's short form of one that is no code."""
    return title.lower().endswith(("sourcedid", "sis id")) and isinstance(cell, str) and is_shortened(cell)


def _joined(tables: Tables, source: Source, name: str) -> Iterator[SourceRow]:
    for row, line in tables.rows(source.file):
        for joined in source.join(tables, row):
            yield SourceRow(joined, f"{name} row {line.number}")


def _columns(sheets: Mapping[str, Sheet]) -> frozenset[str]:
    return frozenset(f"{file}/{title}" for file, sheet in sheets.items() for title in sheet.columns if title)


def _check_key(sheet: Sheet, key: Sequence[str], lacking: Sequence[str]) -> None:
    """Raises SheetFault if nobody can tell which record a row is."""
    for title in key:
        if title in sheet.columns or title.startswith("@"):
            continue
        strange = [each for each in sheet.columns if each is not None]
        raise SheetFault(
            f"{sheet.path.name} row 1: there is no column {title}, which says which record a row is; "
            f"{suggestion(title, strange)}"
        )
