"""Who is behind, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.frame.files import PER_PAGE, as_file, asked_for, camel, is_file, limits, page_number
from homeroom_server.catalogue import Catalogue
from homeroom_server.console.advice import STATES, said_of
from homeroom_server.console.visit import Visit
from homeroom_server.store import followers
from homeroom_server.store.connection import Conn
from homeroom_server.store.followers import BEHIND_MAX, Follower

SILENT_MINUTES = 10
"""Clients ask at least every few minutes; one that has not for so long has stopped."""
_COLUMNS = [camel(name) for name in Follower._fields]


async def clients(visit: Visit) -> Response:
    """Every client and type, who needs help first; `?client=` one of them, `?as=csv` or `json` as a file."""
    client = asked_for(visit.request, "client") or None
    async with visit.services.console_pool.acquire() as connection:
        counts = await followers.counts(connection, visit.scope, SILENT_MINUTES)
        found = await streams_of(connection, visit, client)
    if is_file(visit.request):
        return streams_as_file(visit, found)
    return visit.page(
        "clients.html",
        counts=counts,
        client=client,
        rows=told_once(found[:PER_PAGE], datetime.now(UTC)),
        number=page_number(visit.request),
        has_more=len(found) > PER_PAGE,
        behind_max=BEHIND_MAX,
        states=STATES,
    )


async def streams_of(connection: Conn, visit: Visit, client: str | None) -> list[Follower]:
    """The page of streams that a visit asks for; `client` None: of all."""
    public = public_types(visit.services.catalogue)
    return await followers.followers(connection, visit.scope, SILENT_MINUTES, public, client, *limits(visit.request))


def streams_as_file(visit: Visit, found: Sequence[Follower]) -> Response:
    return as_file(visit.request, "clients", _COLUMNS, [dict(zip(_COLUMNS, each, strict=True)) for each in found])


def told_once(found: Sequence[Follower], now: datetime) -> list[tuple[Follower, str]]:
    """Each with how it stands, unless the row above says the same of the same client."""
    rows: list[tuple[Follower, str]] = []
    above = None
    for each in found:
        said = said_of(each, now)
        rows.append((each, "" if (each.client, said) == above else said))
        above = each.client, said
    return rows


def public_types(catalogue: Catalogue) -> list[str]:
    """Types that everybody sees: their streams are the records themselves."""
    return [name for name, definition in catalogue.types.items() if definition.audience == "public"]
