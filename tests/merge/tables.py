"""CSV folders of a few lines, what is fetched of them, and what formatters make of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from homeroom_merge.connectors.connector import Fetch, SourceRow
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.verification import Verified, Verifier, verify
from homeroom_server.catalogue import load_catalogue

ROSTER = load_catalogue("roster").types


def put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")


async def fetched(connector: CsvFolder, entity: str) -> tuple[Fetch, Sequence[SourceRow]]:
    """A whole fetch: its rows, and what is known once they have ended."""
    fetch = await connector.fetch(entity)
    return fetch, [row async for row in fetch.rows]


async def verified(connector: CsvFolder, formatter: Formatter) -> tuple[Fetch, list[Verified]]:
    """What is read of a whole fetch, judged."""
    fetch, rows = await fetched(connector, formatter.entity)
    schema = ROSTER[formatter.entity].schema
    assert schema is not None
    return fetch, verify([(formatter.read(row.row), row.place) for row in rows], Verifier(schema, formatter.fields))
