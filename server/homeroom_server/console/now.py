"""How the Core is at this moment: its nodes, who is held, what is written, how soon those who wait are woken."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from homeroom_merge.console.frame.files import as_file, asked_for, camel, is_file
from homeroom_server.console.charts import Chart, lines
from homeroom_server.console.rendering import pages
from homeroom_server.console.visit import Visit
from homeroom_server.pulse import SILENT_SECONDS, Picture, Pulse
from homeroom_server.services import Services
from homeroom_server.store.pulse import NodeRow, Point

_WAIT_SECONDS = 25
"""Below what proxies and browsers take for a request that hangs."""
_RETRY_SECONDS = 10


class Now:
    """The page, for those who may see all organisations; what lives of it is the same for all of them."""

    def __init__(self, services: Services) -> None:
        self._pulse: Pulse = services.pulse
        self._living: tuple[Picture, Response] | None = None

    async def page(self, visit: Visit) -> Response:
        """`?still=1`: as it is, without living on; `?as=csv` or `json`: the charts' points, `&of=nodes` the nodes."""
        if visit.visitor.organizations is not None:
            return visit.nothing()
        picture = await self._pulse.look()
        if is_file(visit.request):
            of_nodes = asked_for(visit.request, "of") == "nodes"
            rows: Sequence[NodeRow | Point] = picture.nodes if of_nodes else picture.points
            columns = [camel(name) for name in (NodeRow if of_nodes else Point)._fields]
            told = [dict(zip(columns, row, strict=True)) for row in rows]
            return as_file(visit.request, "nodes" if of_nodes else "now", columns, told)
        return visit.page("now.html", is_still=bool(asked_for(visit.request, "still")), **_told(picture))

    async def next(self, visit: Visit) -> Response:
        """The living part, as soon as there is something newer than `?after=`, a sample; 204: not within the wait."""
        if visit.visitor.organizations is not None:
            return visit.nothing()
        said = asked_for(visit.request, "after", 18)
        if not self._pulse.takes_watchers:
            return _elsewhere()
        picture = await self._pulse.after(int(said) if said.isdecimal() else 0, _WAIT_SECONDS)
        if picture is None:
            return _elsewhere() if self._pulse.ended else Response(status_code=204)
        if self._living is None or self._living[0] is not picture:
            self._living = picture, pages().page("now_living.html", None, is_still=False, **_told(picture))
        return self._living[1]


def _elsewhere() -> Response:
    return Response(status_code=503, headers={"Retry-After": str(_RETRY_SECONDS)})


def _told(picture: Picture) -> Mapping[str, Any]:
    heard = [node for node in picture.nodes if node.is_heard]
    return {
        "picture": picture,
        "charts": _charts(heard, picture.points),
        "silent": len(picture.nodes) - len(heard),
        "silent_seconds": SILENT_SECONDS,
    }


def _charts(heard: Sequence[NodeRow], points: Sequence[Point]) -> list[Chart]:
    changes = [point.changes_per_second for point in points]
    commits = [point.commits_per_second for point in points]
    half, most = [point.wake_p50_ms for point in points], [point.wake_p99_ms for point in points]
    return [
        lines("Requests held", "", {"held": [point.held for point in points]}, sum(node.held for node in heard)),
        lines("Changes a second", "", {"changes": changes}, sum(node.changes_per_second for node in heard)),
        lines("Commits a second", "", {"commits": commits}, sum(node.commits_per_second for node in heard)),
        lines("Woken after", "ms", {"p50": half, "p99": most}),
    ]
