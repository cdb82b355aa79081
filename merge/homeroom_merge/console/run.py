"""One run: its report, and its records page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from starlette.responses import Response

from homeroom_merge.console.frame.files import PER_PAGE, asked_for
from homeroom_merge.console.living import stamp_of
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.console.words import words
from homeroom_merge.report.logbook import logbook_of
from homeroom_merge.report.model import ISSUES, Report, Step, StepStatus
from homeroom_merge.report.page import TITLES, counts_of
from homeroom_merge.report.words import VERDICTS
from homeroom_merge.reporting import kept
from homeroom_merge.run_records import Wanted, place_of, read
from homeroom_merge.store import reports, run_lists
from homeroom_merge.store.reports import Head
from homeroom_merge.store.run_lists import GoingRow

PLANNED_MAX = 20_000
"""Records of a plan that are counted while it is carried out."""
_ENTITY_MAX = 200


@dataclass(frozen=True, slots=True)
class Going:
    """A run as it goes."""

    row: GoingRow
    steps: Sequence[Step]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Records that people look for together. `count`: None where only reading them would tell."""

    key: str
    title: str
    hint: str
    count: int | None


async def run(visit: FeedVisit) -> Response:
    """`?group=` and `?key=` choose records, `?after=` says beyond which."""
    found = await the_run(visit)
    return none_such(visit) if found is None else await shown(visit, *found)


async def part(visit: FeedVisit) -> Response | None:
    """A run that goes on, or did: its steps so far. What has ended is not asked for again: the page is another then."""
    found = await the_run(visit)
    if found is None:
        return none_such(visit)
    going = await _going(visit, found[0])
    stamp = stamp_of(going)
    if stamp == visit.request.query_params.get("after"):
        return None
    return visit.page("merges/run_going.html", **words(visit), going=going, stamp=stamp)


async def the_run(visit: FeedVisit) -> tuple[UUID, Head] | None:
    """The one that the path names, if it is one of the feed's."""
    try:
        number = UUID(visit.request.path_params["run"])
    except ValueError:
        return None
    head = await reports.head(visit.connection, number)
    return None if head is None or head.feed != visit.feed else (number, head)


def none_such(visit: FeedVisit) -> Response:
    return visit.not_found("There is no such run of this feed.")


async def shown(visit: FeedVisit, number: UUID, head: Head, status: int = 200, refused: str = "") -> Response:
    """Its page. `refused`: why what was asked for was not done."""
    report = await kept(visit.connection, number)
    told = {**words(visit), "run": number, "head": head, "refused": refused}
    if report is None:
        going = await _going(visit, number)
        return visit.page("merges/run_begun.html", status, **told, going=going, stamp=stamp_of(going))
    wanted = Wanted(asked_for(visit.request, "group"), asked_for(visit.request, "key", _ENTITY_MAX))
    records = await read(visit.connection, number, place_of(asked_for(visit.request, "after")), PER_PAGE, wanted)
    return visit.page(
        "merges/run.html",
        status,
        **told,
        report=report,
        verdict=VERDICTS[report.status],
        counts=counts_of(report),
        groups=_groups(report),
        wanted=wanted,
        records=records,
        is_first=not visit.request.query_params.get("after"),
        undone_by=await run_lists.undone_by(visit.connection, number),
        can_be_undone=can_be_undone(report),
    )


def can_be_undone(report: Report) -> bool:
    """Whether it wrote something."""
    return not report.dry_run and any(said.endswith(" done") for said in report.summary.writes)


def going_of(row: GoingRow) -> Going:
    log = logbook_of(row.log)
    return Going(row, [step for step in log.steps if step.status is not StepStatus.NOT_RUN], log.notes)


async def _going(visit: FeedVisit, number: UUID) -> Going:
    row = await run_lists.going(visit.connection, number, PLANNED_MAX + 1)
    assert row is not None, "it was found"
    return going_of(row)


def _groups(report: Report) -> list[Group]:
    """Those of which there are some."""
    outcomes, kinds = report.summary.outcomes, {said.split(" ")[1] for said in report.summary.writes}
    found = []
    for key, (title, hint) in TITLES.items():
        if key in ISSUES:
            if count := outcomes.get(key, 0):
                found.append(Group(key, title, hint, count))
        elif key in kinds or (key == "noted" and any(outcomes.values())):
            found.append(Group(key, title, hint, None))
    return found
