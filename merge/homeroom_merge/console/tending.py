"""What there is about a feed's conflicts, its health and its settings."""

from starlette.routing import Route

from homeroom_merge.console.comparing import compare
from homeroom_merge.console.conflict import conflict
from homeroom_merge.console.conflict import decide as decide_one
from homeroom_merge.console.conflicts import conflicts, decide
from homeroom_merge.console.health import health, lost
from homeroom_merge.console.host import Host
from homeroom_merge.console.pushing import edit, push, use_again
from homeroom_merge.console.settings import difference, pause, resume, settings, version
from homeroom_merge.console.visit import for_all, for_feed

_FEED = "/console/merges/{feed}"


def routes(host: Host) -> list[Route]:
    """Those that name no feed first: a feed may have any name."""
    shown = {
        "/conflicts": conflicts,
        "/conflicts/{record}": conflict,
        "/health": health,
        "/settings": settings,
        "/settings/version": version,
        "/settings/difference": difference,
    }
    acts = {
        "/conflicts": decide,
        "/conflicts/{record}": decide_one,
        "/health": lost,
        "/settings/edit": push,
        "/settings/again": use_again,
        "/settings/pause": pause,
        "/settings/resume": resume,
    }
    return [
        Route("/console/merges/compare", for_all(host, compare)),
        *(Route(_FEED + place, for_feed(host, page), methods=["GET"]) for place, page in shown.items()),
        Route(_FEED + "/settings/edit", for_feed(host, edit, acts=True), methods=["GET"]),
        *(Route(_FEED + place, for_feed(host, act, acts=True), methods=["POST"]) for place, act in acts.items()),
    ]
