"""What there is at /console/merges."""

from starlette.routing import Route

from homeroom_merge.console.feeds import feeds
from homeroom_merge.console.host import Host
from homeroom_merge.console.visit import for_all


def routes(host: Host) -> list[Route]:
    """For a console that shows them."""
    return [
        Route("/console/merges", for_all(host, feeds)),
    ]
