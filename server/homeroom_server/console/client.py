"""One client: who it is, what is wrong and what to do, its streams, what its calls came to."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
from starlette.responses import Response

from homeroom.errors import HomeroomError
from homeroom_merge.console.frame.files import PER_PAGE, as_file, asked_for, camel, is_file, page_number
from homeroom_server.console.advice import STATES, said_of_client, title_of
from homeroom_server.console.charts import Chart, bars
from homeroom_server.console.clients import streams_as_file, streams_of, told_once
from homeroom_server.console.visit import Visit
from homeroom_server.explanation import Effort, TooLargeError, explain_mismatch
from homeroom_server.store import client_traffic, registry
from homeroom_server.store.client_traffic import Hour
from homeroom_server.store.connection import Conn
from homeroom_server.store.followers import BEHIND_MAX, Follower

_NAME_LENGTH_MAX = 100
_HOURS = 24
_EXPLAINED_MAX = 3
"""Types, of those shown with another hash."""
_EXPLAINED_SECONDS_MAX = 3.0
"""For all of them; what takes longer is for the command line."""
_EFFORT = Effort(hashed_max=1_000_000, records_max=50_000)
"""Some tenths of a second of one core."""
_HOUR_COLUMNS = [camel(name) for name in Hour._fields]


async def client(visit: Visit) -> Response:
    """By its name; `?as=csv` or `json`: its streams as a file, `&of=hours` what its calls came to."""
    name = visit.request.path_params["client"]
    if "\0" in name or len(name) > _NAME_LENGTH_MAX:
        return _none(visit)
    async with visit.services.console_pool.acquire() as connection:
        seen = await registry.see_client(connection, name, visit.scope)
        if seen is None:
            return _none(visit)
        hours = await client_traffic.by_hour(connection, seen.number, _HOURS)
        if is_file(visit.request) and asked_for(visit.request, "of") == "hours":
            told = [dict(zip(_HOUR_COLUMNS, hour, strict=True)) for hour in hours]
            return as_file(visit.request, "calls", _HOUR_COLUMNS, told)
        found = await streams_of(connection, visit, name)
        if is_file(visit.request):
            return streams_as_file(visit, found)
        late = await client_traffic.of_late(connection, seen.number)
        refusal = await client_traffic.last_refusal(connection, seen.number)
        explained = await _explained(connection, visit, name, found[:PER_PAGE])
    now = datetime.now(UTC)
    return visit.page(
        "client.html",
        client=seen,
        troubles=said_of_client(seen, late, now),
        rows=told_once(found[:PER_PAGE], now),
        explained=explained,
        hours=hours,
        chart=_chart(hours),
        refusal=refusal,
        title_of=title_of,
        number=page_number(visit.request),
        has_more=len(found) > PER_PAGE,
        behind_max=BEHIND_MAX,
        states=STATES,
    )


def _none(visit: Visit) -> Response:
    return visit.not_found("There is no client of this name that you may see.")


def _chart(hours: Sequence[Hour]) -> Chart:
    return bars(
        "Calls an hour", "", {"calls": [hour.calls for hour in hours], "refused": [hour.refused for hour in hours]}
    )


async def _explained(
    connection: Conn, visit: Visit, name: str, found: Sequence[Follower]
) -> Mapping[str, Sequence[Mapping[str, Any]] | None]:
    """Why hashes differ, by type; None: that takes too long to be said here."""
    types = list(dict.fromkeys(each.notification_type for each in found if each.state == "mismatch"))
    explained: dict[str, Sequence[Mapping[str, Any]] | None] = dict.fromkeys(types)
    with anyio.move_on_after(_EXPLAINED_SECONDS_MAX):
        for each in types[:_EXPLAINED_MAX]:
            try:
                wanted, definition = visit.services.catalogue.resolve(each)
                explained[each] = await explain_mismatch(connection, name, wanted, definition, visit.scope, _EFFORT)
            except (TooLargeError, HomeroomError):
                continue  # the second: a type that the catalogue no longer has
    return explained
