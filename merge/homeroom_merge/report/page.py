"""A report as one HTML file for people: what happened, what needs them, and the details folded away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from importlib import resources

import orjson
from jinja2 import Environment, StrictUndefined

from homeroom_merge.plan import Kind
from homeroom_merge.report.model import (
    ISSUES,
    Outcome,
    RecordEntry,
    Report,
    Status,
    StepStatus,
    name_of,
    problems_of,
)
from homeroom_merge.report.words import STEPS, VERDICTS, cut, took, value_text

SHOWN_MAX = 100
"""Records shown of each group."""
FIELDS_MAX = 30
"""Fields shown of a record."""
BODY_MAX = 2_000
"""Characters shown of a body."""

TITLES: Mapping[str, tuple[str, str]] = {
    Outcome.CONFLICT: ("Both sides changed it", "Take a side in the conflict inbox; the record waits until then."),
    Outcome.UNKNOWN: ("Perhaps written", "Nobody can tell. Look into the SIS; it is not tried again unasked."),
    Outcome.FAILED: ("Could not be written", "Nothing of these records has changed."),
    Outcome.INVALID: (
        "Left out: the record has a fault",
        "Correct it where it comes from. It is never deleted for it.",
    ),
    Outcome.WAITS: ("Waiting for another record", "They are written once the record that they name is there."),
    Outcome.STALE: ("Moved meanwhile", "Somebody changed them during the run; the next one takes them up."),
    Kind.CREATE: ("New", ""),
    Kind.UPDATE: ("Changed", ""),
    Kind.DELETE: ("Deleted", ""),
    Kind.DEACTIVATE: ("Deactivated", ""),
    Kind.UNDELETE: ("Brought back", ""),
    "alerts": ("With alerts of the hub", ""),
    "noted": ("Only noted", "Nothing was written."),
}
"""Groups of records: what they are called, and what is to be done."""


@dataclass(slots=True)
class RecordGroup:
    """Records of one kind: how many there are, and the first of them."""

    title: str
    hint: str
    total: int = 0
    shown: list[RecordEntry] = field(default_factory=list)


def to_html(report: Report, entries: Iterable[RecordEntry], zone: tzinfo = UTC) -> str:
    """The file; times are told in `zone`. Reads the records once and keeps SHOWN_MAX of each group."""
    groups = Groups()
    for entry in entries:
        groups.add(entry)
    return render(report, groups, zone)


def render(report: Report, groups: "Groups", zone: tzinfo = UTC) -> str:
    """The file, of records that have been grouped as they came."""
    needing, others = groups.told()
    text = resources.files("homeroom_merge.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    page = _environment(zone).from_string(text)
    return page.render(
        report=report,
        verdict=VERDICTS[report.status],
        is_good=report.status is Status.SUCCESS,
        needing=needing,
        others=others,
        counts=counts_of(report),
        steps=[step for step in report.steps if step.status is not StepStatus.NOT_RUN],
        not_run=[step for step in report.steps if step.status is StepStatus.NOT_RUN],
    )


class Groups:
    """Records by what people look for, counted as they come; SHOWN_MAX of each group are kept."""

    def __init__(self) -> None:
        self._groups = {key: RecordGroup(title, hint) for key, (title, hint) in TITLES.items()}

    def add(self, entry: RecordEntry) -> None:
        group = self._groups[group_of(entry)]
        group.total += 1
        if len(group.shown) < SHOWN_MAX:
            group.shown.append(entry)

    def told(self) -> tuple[list[RecordGroup], list[RecordGroup]]:
        """The records that need a person, and the others, in the order in which they are told."""
        found = [(key, group) for key, group in self._groups.items() if group.total]
        needing = [group for key, group in found if key in ISSUES]
        return needing, [group for key, group in found if key not in ISSUES]


def group_of(entry: RecordEntry) -> str:
    """Of TITLES, the one under which people look for it."""
    if entry.outcome in ISSUES:
        return entry.outcome
    kinds = {each.write.kind for each in entry.writes}
    by_kind = next((kind for kind in Kind if kind in kinds), None)
    return by_kind or ("alerts" if entry.alerts else "noted")


def counts_of(report: Report) -> list[tuple[str, int, int]]:
    """By kind, the writes that were done (or, of what was not carried out, planned) on the hub and in the SIS."""
    result = "planned" if report.dry_run or report.status is Status.HELD else "done"
    writes = report.summary.writes
    rows = (
        (TITLES[kind][0], writes.get(f"hub {kind} {result}", 0), writes.get(f"sis {kind} {result}", 0)) for kind in Kind
    )
    return [(title, hub, sis) for title, hub, sis in rows if hub or sis]


def _body_text(body: object) -> str:
    return cut(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode(), BODY_MAX)


def _environment(zone: tzinfo) -> Environment:
    """Autoescaped: every text of a record or of a server is somebody else's."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["value"] = value_text
    environment.filters["body"] = _body_text
    environment.filters["moment"] = lambda moment: _moment(moment, zone)
    environment.filters["zone"] = lambda moment: moment.astimezone(zone).strftime("%Z")
    environment.filters["took"] = took
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["name"] = name_of
    environment.filters["problems"] = problems_of
    environment.filters["step"] = lambda step: STEPS[step.name]
    environment.globals["fields_max"] = FIELDS_MAX
    return environment


def _moment(moment: datetime | None, zone: tzinfo) -> str:
    return "" if moment is None else moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
