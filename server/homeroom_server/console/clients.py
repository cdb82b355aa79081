"""Who is behind, and why."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.responses import JSONResponse, Response

from homeroom_server.catalogue import Catalogue
from homeroom_server.console.rendering import ago, page
from homeroom_server.console.visit import Visit
from homeroom_server.store import followers
from homeroom_server.store.followers import BEHIND_MAX, Follower

PER_PAGE = 50
PAGE_MAX = 10_000
SILENT_MINUTES = 10
"""Clients ask at least every few minutes; one that has not for so long has stopped."""
_DOWNLOAD_MAX = 100_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def clients(visit: Visit) -> Response:
    """Every client and type, who needs help first; `?client=` one of them, `?as=csv` or `json` as a file."""
    asked = visit.request.query_params
    client, number = asked.get("client", "").replace("\0", "") or None, _page_number(asked.get("page", "1"))
    is_file = asked.get("as") in ("csv", "json")
    limit, offset = (_DOWNLOAD_MAX, 0) if is_file else (PER_PAGE + 1, (number - 1) * PER_PAGE)
    public = public_types(visit.services.catalogue)
    async with visit.services.pool.acquire() as connection:
        counts = await followers.counts(connection, visit.scope, SILENT_MINUTES)
        found = await followers.followers(connection, visit.scope, SILENT_MINUTES, public, client, limit, offset)
    if asked.get("as") == "json":
        return JSONResponse([_told(each) for each in found], headers=_as_file("clients.json"))
    if asked.get("as") == "csv":
        return Response(_sheet(found), media_type="text/csv", headers=_as_file("clients.csv"))
    now = datetime.now(UTC)
    return page(
        "clients.html",
        session=visit.session,
        counts=counts,
        client=client,
        rows=[(each, said_of(each, now)) for each in found[:PER_PAGE]],
        page=number,
        has_more=len(found) > PER_PAGE,
        behind_max=BEHIND_MAX,
    )


def said_of(each: Follower, now: datetime) -> str:
    """How it stands, and what to do; nothing of one that is in step."""
    match each.state:
        case "mismatch":
            since = ago(each.mismatch_since or now, now)
            return (
                f"Its hash differs from ours, first seen {since}, {each.mismatch_count:,} times: it holds something "
                "else than it may see. It is told all there is, to repair itself; if that does not help, "
                "homeroom explain-mismatch says which records differ."
            )
        case "silent":
            return (
                f"It last asked {ago(each.asked_at, now)}: it has stopped, or cannot get here. "
                "Look whether it runs, and whether its key and network still hold."
            )
        case "behind":
            many = f"{BEHIND_MAX:,} or more" if each.behind == BEHIND_MAX else f"{each.behind:,}"
            oldest = ago(each.behind_since or now, now)
            return f"It has not taken {many} changes, the oldest from {oldest}; it asks, so it may be on its way."
    return ""


def public_types(catalogue: Catalogue) -> list[str]:
    """Types that everybody sees: their streams are the records themselves."""
    return [name for name, definition in catalogue.types.items() if definition.audience == "public"]


def _page_number(said: str) -> int:
    return min(int(said), PAGE_MAX) if said.isdecimal() and len(said) < 9 and int(said) else 1


def _told(each: Follower) -> dict[str, object]:
    told: dict[str, object] = {}
    for name, value in each._asdict().items():
        head, *tail = name.split("_")
        told[head + "".join(map(str.title, tail))] = value.isoformat() if isinstance(value, datetime) else value
    return told


def _sheet(found: Sequence[Follower]) -> str:
    """For spreadsheets, in which no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_told(found[0]) if found else Follower._fields)
    for each in found:
        cells = ["" if value is None else str(value) for value in _told(each).values()]
        writer.writerow(["'" + cell if cell.startswith(_FORMULA) else cell for cell in cells])
    return text.getvalue()


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
