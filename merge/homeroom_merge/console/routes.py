"""What there is at /console/merges."""

from starlette.routing import Route

from homeroom_merge.console import asks, jobs, run, run_now, tending
from homeroom_merge.console.feeds import feeds
from homeroom_merge.console.host import Host
from homeroom_merge.console.living import Watching
from homeroom_merge.console.run_files import report_file
from homeroom_merge.console.runs import runs
from homeroom_merge.console.visit import for_all, for_feed

_MERGES = "/console/merges"
_FEED = f"{_MERGES}/{{feed}}"
_RUN = f"{_FEED}/runs/{{run}}"
_JOB = f"{_FEED}/jobs/{{job}}"


def routes(host: Host) -> list[Route]:
    """For a console that shows them."""
    watching = Watching()
    return [
        Route(_MERGES, for_all(host, feeds)),
        *tending.routes(host),
        Route(_FEED, for_feed(host, runs)),
        Route(f"{_FEED}/run", for_feed(host, run_now.ask, acts=True)),
        Route(f"{_FEED}/run", for_feed(host, run_now.run_now, acts=True), methods=["POST"]),
        Route(_RUN, for_feed(host, run.run)),
        Route(f"{_RUN}/next", watching.part(host, run.part)),
        Route(f"{_RUN}/report.{{form}}", for_feed(host, report_file)),
        Route(f"{_RUN}/approve", for_feed(host, asks.approve, acts=True), methods=["POST"]),
        Route(f"{_RUN}/discard", for_feed(host, asks.discard, acts=True), methods=["POST"]),
        Route(f"{_RUN}/undo", for_feed(host, asks.undo, acts=True), methods=["POST"]),
        Route(f"{_FEED}/jobs", for_feed(host, jobs.jobs)),
        Route(_JOB, for_feed(host, jobs.job)),
        Route(f"{_JOB}/next", watching.part(host, jobs.part)),
        Route(f"{_JOB}/cancel", for_feed(host, jobs.cancel, acts=True), methods=["POST"]),
    ]
