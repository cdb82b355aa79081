"""What a suite found: for machines, for a terminal, and as a page to print and hand on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case. `said`: why it failed or was skipped."""

    case: str
    title: str
    section: str
    outcome: Outcome
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts of one run. `suite` is "Core" or "client", `subject` what was tried."""

    suite: str
    subject: str
    begun_at: datetime
    verdicts: Sequence[Verdict]

    @property
    def passed(self) -> bool:
        """None failed, and at least one was tried."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        return Outcome.FAILED not in outcomes and Outcome.PASSED in outcomes


_STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "yellow"}


def as_json(report: Report) -> dict[str, Any]:
    """The whole report, for machines."""
    return {
        "suite": report.suite,
        "subject": report.subject,
        "begunAt": report.begun_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "passed": report.passed,
        "verdicts": [
            {
                "case": verdict.case,
                "title": verdict.title,
                "section": verdict.section,
                "outcome": verdict.outcome.value,
                "said": verdict.said,
                "seconds": round(verdict.seconds, 3),
            }
            for verdict in report.verdicts
        ],
    }


def as_html(report: Report) -> str:
    """A page of its own, to be kept or printed: it loads nothing from anywhere."""
    text = resources.files("homeroom_server.conformance").joinpath("certificate.html.jinja").read_text(encoding="utf-8")
    # Autoescaped: what a server or client answered is somebody else's text.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text).render(
        report=report,
        begun_at=report.begun_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        counts=_counts(report),
        seconds=sum(verdict.seconds for verdict in report.verdicts),
        failed=[verdict for verdict in report.verdicts if verdict.outcome is Outcome.FAILED],
        skipped=[verdict for verdict in report.verdicts if verdict.outcome is Outcome.SKIPPED],
    )


def show(report: Report, console: Console) -> None:
    """The same as a table, and the sum below it."""
    table = Table(
        Column("case", no_wrap=True), "section", "outcome", "seconds", Column("what was seen", overflow="fold")
    )
    for verdict in report.verdicts:
        outcome = Text(verdict.outcome.value, style=_STYLES[verdict.outcome])
        # Text: what was seen is somebody else's, and no markup.
        table.add_row(verdict.case, verdict.section, outcome, f"{verdict.seconds:.1f}", Text(verdict.said))
    console.print(table)
    counts = _counts(report)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    words = f"{report.suite} {report.subject}: {'passed' if report.passed else 'not passed'} ({told})"
    console.print(words, style="green" if report.passed else "bold red", markup=False, highlight=False, soft_wrap=True)


def _counts(report: Report) -> Counter[Outcome]:
    return Counter(verdict.outcome for verdict in report.verdicts)
