"""How runs ended, in the words of tables: for a terminal and for mails."""

from collections.abc import Sequence

from homeroom_merge.plan import Kind
from homeroom_merge.report.model import Report, Status, StepStatus, Summary

_TELLING_MAX = 3
"""Reports that are proposed to be read."""
_CREATED = (Kind.CREATE, Kind.UNDELETE)
_DELETED = (Kind.DELETE, Kind.DEACTIVATE)


def writes_of(report: Report, side: str) -> str:
    """What became of one side, or would become of it: so many created, updated, deleted."""
    result = "planned" if report.dry_run or report.status is Status.HELD else "done"
    named = {"created": _CREATED, "updated": (Kind.UPDATE,), "deleted": _DELETED}
    counts = {
        name: sum(report.summary.writes.get(f"{side} {kind} {result}", 0) for kind in kinds)
        for name, kinds in named.items()
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def others_of(summary: Summary) -> str:
    """What somebody has to know of: all that is neither planned nor done."""
    named = {"conflict": "in conflict", "waits": "waiting", "stale": "moved", "invalid": "with faults"}
    return ", ".join(
        f"{count:,} {named.get(outcome, outcome)}"
        for outcome, count in summary.outcomes.items()
        if outcome not in ("planned", "done")
    )


def reasons_of(report: Report) -> list[str]:
    """Why a run is held or failed."""
    steps = [step.message for step in report.steps if step.status is StepStatus.FAILED]
    cures = [group.advice.text for group in report.summary.failures if group.advice and steps]
    held = report.guard_reasons if report.status is Status.HELD else ()
    return list(dict.fromkeys((*held, *steps, *cures)))


def next_commands(reports: Sequence[Report], where: str = "") -> list[str]:
    """The commands that somebody would type next, ready to be copied. `where`: options that they need."""
    held = [each for each in reports if each.status is Status.HELD]
    telling = [each for each in reports if each.status is not Status.SUCCESS or others_of(each.summary)]
    files = {each.run: f"{each.feed}-{each.entity}.html" for each in telling[:_TELLING_MAX]}
    lines = [f"homeroom-merge report {run} --html {file}{where}" for run, file in files.items()]
    if held:
        runs = " ".join(each.run for each in held)
        lines.append(f"homeroom-merge approve {runs} --feed {held[0].feed} --by YOU{where}")
    if conflicting := [each for each in reports if each.summary.outcomes.get("conflict")]:
        lines.append(f"homeroom-merge conflicts --feed {conflicting[0].feed}{where}")
    if reports[0].dry_run and not held:
        lines.append(f"homeroom-merge run --feed {reports[0].feed}{where}")
    return lines
