"""Runs in a mail: a subject, a text and a table. Of records it says nothing: how many, and why in general."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined

from homeroom_merge.report.digest import next_commands, others_of, reasons_of, writes_of
from homeroom_merge.report.model import Report
from homeroom_merge.report.summary import alike

ROWS_MAX = 100
"""Runs that a mail has rows for."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent. `html`: the same as `text`, with the table as one."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Row:
    """One run of the table."""

    entity: str
    status: str
    on_hub: str
    in_sis: str
    others: str
    why: tuple[str, ...]
    next: tuple[str, ...]
    link: str


def mail_of(feed: str, reports: Sequence[Report], said: str = "", report_url: str = "") -> Mail:
    """`said`: what is no run's. `report_url`: `{run}` in it becomes a run's id; empty: no links."""
    counts = Counter(str(each.status) for each in reports)
    news = ", ".join(f"{count:,} {status}" for status, count in counts.items()) or said
    subject = " ".join(f"homeroom-merge {feed}: {news}".split())
    rows = [_row(each, report_url) for each in reports[:ROWS_MAX]]
    left = len(reports) - len(rows)
    template = resources.files("homeroom_merge.report").joinpath("mail.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(subject=subject, said=said, rows=rows, left=left)
    return Mail(subject, _text(said, rows, left), html)


def _row(report: Report, report_url: str) -> Row:
    sides = writes_of(report, "hub"), writes_of(report, "sis")
    link = report_url.replace("{run}", report.run)
    # What a step says may quote a value.
    why = dict.fromkeys(each if each in report.guard_reasons else alike(each) for each in reasons_of(report))
    return Row(report.entity, str(report.status), *sides, others_of(report.summary), tuple(why), _next(report), link)


def _next(report: Report) -> tuple[str, ...]:
    return tuple(next_commands([report]))


def _text(said: str, rows: Sequence[Row], left: int) -> str:
    lines = [said, ""] if said else []
    for row in rows:
        lines += [f"{row.entity}: {row.status}", f"  on the hub: {row.on_hub}", f"  in the SIS: {row.in_sis}"]
        lines += [f"  records: {row.others}"] if row.others else []
        lines += [f"  why: {each}" for each in row.why] + [f"  next: {each}" for each in row.next]
        lines += [f"  {row.link}"] if row.link else []
        lines.append("")
    lines += [f"and {left:,} runs more"] if left else []
    return "\n".join(lines)
