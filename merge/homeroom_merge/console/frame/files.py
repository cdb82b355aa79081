"""Tables page by page, and whole as files."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from homeroom_merge.report.sheet import plain

PER_PAGE = 50
PAGE_MAX = 10_000
DOWNLOAD_MAX = 100_000
"""Rows of a file."""


def page_number(request: Request) -> int:
    """`?page=`, from 1."""
    said = request.query_params.get("page", "1")
    return min(int(said), PAGE_MAX) if said.isdecimal() and len(said) < 9 and int(said) else 1


def asked_for(request: Request, name: str, longest: int = 200) -> str:
    """What a query says there, as PostgreSQL can be asked for it; empty: nothing."""
    return request.query_params.get(name, "").replace("\0", "")[:longest]


def is_file(request: Request) -> bool:
    """`?as=csv` or `json`."""
    return request.query_params.get("as") in ("csv", "json")


def limits(request: Request) -> tuple[int, int]:
    """Rows to read at most, and to leave out before: one more than a page shows, or all for a file."""
    return (DOWNLOAD_MAX, 0) if is_file(request) else (PER_PAGE + 1, (page_number(request) - 1) * PER_PAGE)


def as_file(request: Request, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> Response:
    """What `?as=` says: JSON, or CSV for spreadsheets, in which no cell is a formula."""
    if request.query_params.get("as") == "json":
        return JSONResponse([_plain(row) for row in rows], headers=file_headers(f"{name}.json"))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: plain(_cell(value)) for key, value in row.items()})
    return Response("\ufeff" + text.getvalue(), media_type="text/csv", headers=file_headers(f"{name}.csv"))


def file_headers(name: str) -> dict[str, str]:
    """A file to be kept under that name, and in no cache."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def camel(name: str) -> str:
    """As JSON has it."""
    head, *tail = name.split("_")
    return head + "".join(map(str.title, tail))


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


def _cell(value: object) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
