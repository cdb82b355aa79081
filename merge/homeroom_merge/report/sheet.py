"""A report as CSV for a spreadsheet: a row a record."""

import csv
import io
from collections.abc import Iterable, Iterator

from homeroom_merge.report.model import RecordEntry, problems_of

COLUMNS = (
    "SIS key",
    "Hub id",
    "School",
    "School year",
    "Outcome",
    "Writes",
    "Fields changed",
    "Conflicts",
    "Waits for",
    "Problems",
    "Alerts",
    "Note",
)
_FORMULAS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""The wide ones, too, which some take for the same."""
_CELL_MAX = 32_000
"""Characters; spreadsheets take no more than 32,767."""


def to_csv(entries: Iterable[RecordEntry]) -> Iterator[str]:
    """Lines, the first with the columns and a byte order mark, by which spreadsheets know that it is UTF-8.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    yield first_line()
    yield from map(entry_line, entries)


def first_line() -> str:
    """The columns, after the byte order mark."""
    return "\ufeff" + _line(COLUMNS)


def entry_line(entry: RecordEntry) -> str:
    """One record, with its end of line."""
    return _line([plain(cell[:_CELL_MAX]) for cell in _cells(entry)])


def plain(cell: str) -> str:
    """A text that no spreadsheet calculates."""
    starts_so = cell.lstrip().startswith(_FORMULAS) or cell.startswith(("\t", "\r", "\n"))
    return f"'{cell}" if starts_so else cell


def _cells(entry: RecordEntry) -> list[str]:
    return [
        entry.sis_key or "",
        entry.hub_id or "",
        entry.school or "",
        "" if entry.school_year is None else str(entry.school_year),
        entry.outcome,
        "; ".join(f"{each.write.side} {each.write.kind} {each.result}" for each in entry.writes),
        "; ".join(each.pointer or "(record)" for each in entry.fields),
        "; ".join(each.pointer or "(record)" for each in entry.conflicts),
        "; ".join(f"{entity} {key}" for entity, key in entry.waits_for),
        "; ".join(" ".join(filter(None, (each.pointer, each.message))) for each in problems_of(entry)),
        "; ".join(entry.alerts),
        entry.note,
    ]


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(cells)
    return text.getvalue()
