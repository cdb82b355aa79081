"""All feeds that somebody may see."""

from starlette.responses import Response

from homeroom_merge.console.visit import Visit, may_see, settings_of
from homeroom_merge.store import nights


async def feeds(visit: Visit) -> Response:
    """By name."""
    found = {name: (await settings_of(visit.connection, name))[1] for name in await nights.feeds(visit.connection)}
    seen = {name: settings for name, settings in found.items() if may_see(visit.visitor, settings)}
    return visit.page("merges/feeds.html", feeds=seen)
