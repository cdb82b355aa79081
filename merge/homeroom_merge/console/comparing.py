"""The settings of two feeds side by side."""

from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.frame.files import as_file, asked_for, is_file
from homeroom_merge.console.pushing import text
from homeroom_merge.console.visit import Visit, may_see
from homeroom_merge.in_force import many_in_force
from homeroom_merge.settings.diff import diff, flat
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import nights

_FEEDS_MAX = 2_000


async def compare(visit: Visit) -> Response:
    """`?a=FEED&b=FEED`, in force today: what differs; with `all=1` what is the same after that."""
    a, b = (asked_for(visit.request, name) for name in ("a", "b"))
    feeds = await _seen(visit)
    for name in filter(None, (a, b)):
        if name not in feeds:
            return visit.not_found(f"There is no feed {name} that you may see, with settings that can be read.")
    rows = _rows(feeds[a], feeds[b], shows_all=asked_for(visit.request, "all") == "1") if a and b else []
    if is_file(visit.request):
        return as_file(visit.request, "settings", ["path", "a", "b", "differs"], rows)
    return visit.page("merges/compare.html", feeds=list(feeds), a=a, b=b, rows=rows)


async def _seen(visit: Visit) -> dict[str, Settings]:
    """The feeds that somebody may see, by name, with settings that can be read."""
    names = (await nights.feeds(visit.connection))[:_FEEDS_MAX]
    found = await many_in_force(visit.connection, names, datetime.now(UTC))
    return {name: found[name] for name in names if name in found and may_see(visit.visitor, found[name])}


def _rows(a: Settings, b: Settings, *, shows_all: bool) -> list[dict[str, object]]:
    differing = diff(a, b)
    rows: list[dict[str, object]] = [
        {"path": each.path, "a": text(each.old), "b": text(each.new), "differs": True} for each in differing
    ]
    if shows_all:
        paths = {each.path for each in differing}
        alike = ((path, text(value)) for path, value in flat(a) if path not in paths)
        rows += [{"path": path, "a": value, "b": value, "differs": False} for path, value in alike]
    return rows
