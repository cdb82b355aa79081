"""A folder of Ed-Fi interchange XML: what a district's SIS exports, whole, of one school year. It is only read."""

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from anyio import to_thread

from homeroom_merge.connectors.connector import Abilities, Coverage, Fetch, Outcome, SourceRow
from homeroom_merge.connectors.edfi_joins import ORGANIZATIONS, REFERRED, Joins
from homeroom_merge.connectors.edfi_sources import ORGANIZATION_INTERCHANGE, SOURCES, Source
from homeroom_merge.connectors.edfi_xml import Noticed, Record, SourceFault, interchange_of, records
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind

_BATCH = 500


class EdfiFolder:
    """The interchange files of a folder, found by their root element, whatever they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.abilities = Abilities()

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity; there is no delta. Raises OSError while rows are taken, if a file cannot be opened."""
        fetch = Fetch(rows=_nothing())
        if entity in SOURCES:
            fetch.rows = _rows(self.folder, SOURCES[entity], fetch)
        else:
            fetch.failure = f"Ed-Fi interchange files carry no {entity}"
        return fetch

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Not among the abilities."""
        return Fetch(rows=_nothing(), failure="a folder of interchange files cannot be read by id")

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Not among the abilities."""
        return Outcome("refused", "a folder of interchange files is only read")


async def _nothing() -> AsyncIterator[SourceRow]:
    nothing: tuple[SourceRow, ...] = ()
    for row in nothing:
        yield row


async def _rows(folder: Path, source: Source, fetch: Fetch) -> AsyncIterator[SourceRow]:
    """Rows batch by batch off the event loop; then what else is known of the fetch is set."""
    batches = _batches(folder, source, fetch)
    try:
        while batch := await to_thread.run_sync(next, batches, None):
            for row in batch:
                yield row
        fetch.complete = True
    except SourceFault as fault:
        fetch.failure = str(fault)
    finally:
        batches.close()


def _batches(folder: Path, source: Source, fetch: Fetch) -> Generator[list[SourceRow], None, None]:
    noticed = Noticed()
    pairs: set[tuple[str, int | None]] = set()
    columns: set[str] = set()
    rows = _joined(folder, source, noticed, fetch.notes)
    while batch := list(islice(rows, _BATCH)):
        for one in batch:
            pairs.update(source.pairs(one.row))
            columns.update(_columns(one.row))
        yield batch
    fetch.notes += noticed.notes()
    fetch.coverage = Coverage(frozenset(pairs), frozenset(columns))


def _columns(row: object, at: str = "") -> Iterator[str]:
    """The paths of the elements that say something."""
    if isinstance(row, Mapping):
        for name, value in row.items():
            yield from _columns(value, f"{at}/{name}" if at else name)
    elif isinstance(row, list):
        for one in row:
            yield from _columns(one, at)
    elif row != "":
        yield at


def _joined(folder: Path, source: Source, noticed: Noticed, notes: list[str]) -> Iterator[SourceRow]:
    """The rows of an entity with what is joined to them."""
    own, organizations = _files(folder, source)
    if not organizations:
        notes.append(f"there is no {ORGANIZATION_INTERCHANGE} file: nobody knows which number is a school's")
    joins = _held(own, organizations, source)
    for path in own:
        for record in records(path, source.elements, noticed):
            yield from source.join(joins, record)
    yield from source.rest(joins)
    if joins.alone:
        notes.append(f"contacts of no student of the folder, left out: {joins.alone}")
    if joins.unresolved:
        notes.append(f"references to records that are not in their file: {joins.unresolved}")


def _held(own: Sequence[Path], organizations: Sequence[Path], source: Source) -> Joins:
    """What has to be known before the first record is given: identities, organisations, what is joined."""
    joins = Joins()
    unnoticed = Noticed()
    waiting: list[Record] = []
    for path in dict.fromkeys((*organizations, *own)):
        referred = REFERRED if path in own else frozenset[str]()
        for record in records(path, ORGANIZATIONS | source.held, unnoticed, referred):
            joins.hold_identity(record)
            if record.name in source.held:
                waiting.append(record)
    for record in waiting:
        source.hold(joins, record)
    return joins


def _files(folder: Path, source: Source) -> tuple[list[Path], list[Path]]:
    """The files that hold the entity, and those that hold organisations; raises SourceFault if there are none."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".xml")
    found = {path: interchange_of(path) for path in files}
    own = [path for path, name in found.items() if name in source.interchanges]
    if not own:
        raise SourceFault(f"the folder has no file of {' or '.join(sorted(source.interchanges))}; export it too")
    return own, [path for path, name in found.items() if name == ORGANIZATION_INTERCHANGE]
