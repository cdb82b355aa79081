"""Who is behind, and why."""

from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.frame.files import PER_PAGE, as_file, asked_for, camel, is_file, limits, page_number
from homeroom_merge.console.frame.rendering import ago
from homeroom_server.catalogue import Catalogue
from homeroom_server.console.visit import Visit
from homeroom_server.store import followers
from homeroom_server.store.followers import BEHIND_MAX, Follower

SILENT_MINUTES = 10
"""Clients ask at least every few minutes; one that has not for so long has stopped."""
_COLUMNS = [camel(name) for name in Follower._fields]


async def clients(visit: Visit) -> Response:
    """Every client and type, who needs help first; `?client=` one of them, `?as=csv` or `json` as a file."""
    client = asked_for(visit.request, "client") or None
    public = public_types(visit.services.catalogue)
    async with visit.services.console_pool.acquire() as connection:
        counts = await followers.counts(connection, visit.scope, SILENT_MINUTES)
        found = await followers.followers(
            connection, visit.scope, SILENT_MINUTES, public, client, *limits(visit.request)
        )
    if is_file(visit.request):
        return as_file(visit.request, "clients", _COLUMNS, [_told(each) for each in found])
    now = datetime.now(UTC)
    return visit.page(
        "clients.html",
        counts=counts,
        client=client,
        rows=[(each, said_of(each, now)) for each in found[:PER_PAGE]],
        number=page_number(visit.request),
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


def _told(each: Follower) -> dict[str, object]:
    return dict(zip(_COLUMNS, each, strict=True))
