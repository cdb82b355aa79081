"""A report for a terminal: how it ended, what needs somebody, and the steps."""

from collections.abc import Iterator

from homeroom_merge.report.model import ISSUES, Report, Status, Step, StepName, StepStatus
from homeroom_merge.report.words import STEPS, VERDICTS, cut, took

_LINE_MAX = 300
_FAILURES_MAX = 10
"""Groups of failures shown."""


def as_text(report: Report) -> Iterator[str]:
    """Lines to be read."""
    dry = ", a dry run: nothing was written" if report.dry_run else ""
    yield f"{report.entity} of {report.feed}: {VERDICTS[report.status]} ({report.status}{dry})"
    ended = f", ended {report.ended_at:%H:%M:%S}" if report.ended_at else ""
    yield f"{report.runner} run {report.run} of {report.begun_at:%Y-%m-%d %H:%M:%S %Z}{ended}"
    version = f"{report.settings_state} version {report.settings_version}" if report.settings_version else "none kept"
    yield f"settings: {version}{''.join(f', {path} = {value!r}' for path, value in report.overrides.items())}"
    held = "held" if report.status is Status.HELD else "it was held"
    said = (step.message for step in report.steps if (step.name, step.status) == (StepName.MERGE, StepStatus.ISSUES))
    for line in (*(f"{held}: {reason}" for reason in report.guard_reasons), *said, *report.notes):
        yield f"  {cut(line, _LINE_MAX)}"
    yield ""
    yield "Writes:"
    yield from [f"  {count:>9,}  {what}" for what, count in report.summary.writes.items()] or ["  none"]
    yield "Records:"
    yield from [
        f"  {count:>9,}  {outcome}{'  (needs somebody)' if outcome in ISSUES else ''}"
        for outcome, count in report.summary.outcomes.items()
    ] or ["  none had to change"]
    yield from [cut(f"  {count:>9,}  noted: {note}", _LINE_MAX) for note, count in report.summary.notes.items()]
    if report.summary.fields:
        said = (f"{pointer or 'the record itself'} {count:,}" for pointer, count in report.summary.fields.items())
        yield cut(f"Conflicts by field: {', '.join(said)}", _LINE_MAX)
    yield from _failures(report)
    yield ""
    yield "Steps:"
    yield from map(_step, report.steps)


def _failures(report: Report) -> Iterator[str]:
    for group in report.summary.failures[:_FAILURES_MAX]:
        yield ""
        times = "once" if group.count == 1 else f"{group.count:,} times"
        yield cut(f"{times}: {group.message}{f' ({group.code})' if group.code else ''}", _LINE_MAX)
        if group.advice:
            yield f"  {group.advice.title}. {group.advice.text}"
        if group.examples:
            yield cut(f"  {', '.join(group.examples)}{', …' if group.count > len(group.examples) else ''}", _LINE_MAX)


def _step(step: Step) -> str:
    if step.status is StepStatus.NOT_RUN:
        return f"  {STEPS[step.name]:<32} not run"
    counts = ", ".join(f"{count:,} {what}" for what, count in step.counts.items())
    said = "; ".join(filter(None, (counts, cut(step.message, _LINE_MAX))))
    return f"  {STEPS[step.name]:<32} {step.status:<7} {took(step):>9}  {said}".rstrip()
