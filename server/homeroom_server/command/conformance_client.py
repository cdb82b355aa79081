"""`homeroom conformance client`: a vendor's client, put through the cases that matter."""

import json
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from homeroom_server.command.invocation import AsJson, err, out, refusals
from homeroom_server.conformance.client import suite
from homeroom_server.conformance.client.case import Case
from homeroom_server.conformance.client.cases import CASES, chosen
from homeroom_server.conformance.client.hands import by_command, by_person
from homeroom_server.conformance.report import Outcome, Report, Verdict, as_html, as_json, show

_INTERRUPTED = 130
_SECONDS = 30
_SECONDS_BY_HAND = 600


def client(
    command: Annotated[
        str | None, typer.Option(help="Starts the client, anew for each case. Without it a person does what is asked.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="The client does not write.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CASE", help="This case; may be given several times.")
    ] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="Name the cases and what each is about.")] = False,
    seconds_per_case: Annotated[
        float | None, typer.Option(min=1, max=3600, show_default=f"{_SECONDS}, by hand {_SECONDS_BY_HAND}")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="Cases played at the same time; by command only.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the Core answers; 0 takes a free one.")] = 0,
    name: Annotated[str, typer.Option(help="Vendor and version, for the report.")] = "",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there as well.")] = None,
    as_json_: AsJson = False,
) -> None:
    """Put a client through the cases that matter, by a Core that follows a script. Exit code 1 if any case fails."""
    if list_cases:
        _list(machine=as_json_)
        return
    cases = _chosen(only or [])
    hand = partial(by_person, _say) if command is None else partial(by_command, _split(command))
    begun_at = datetime.now(UTC)
    with refusals(), _shown(len(cases)) as watching:
        play = partial(
            suite.play,
            cases,
            hand,
            port=port,
            seconds_per_case=seconds_per_case or (_SECONDS_BY_HAND if command is None else _SECONDS),
            at_once=1 if command is None else at_once,
            read_only=read_only,
            watching=watching,
        )
        verdicts = anyio.run(_played, play)
    if verdicts is None:
        raise typer.Exit(_INTERRUPTED)
    _tell(Report("client", name or command or "a client", begun_at, verdicts), html, machine=as_json_)


async def _played(play: Callable[[], Awaitable[Sequence[Verdict]]]) -> Sequence[Verdict] | None:
    """The verdicts; None if a signal came first. The clients are ended either way."""
    verdicts = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                await anext(signals)
                tasks.cancel_scope.cancel()

            tasks.start_soon(end)
            verdicts = await play()
            tasks.cancel_scope.cancel()
    return verdicts


def _tell(report: Report, html: Path | None, *, machine: bool) -> None:
    if machine:
        typer.echo(json.dumps(as_json(report)))
    else:
        show(report, out)
    if html is not None:
        with refusals():
            html.write_text(as_html(report), encoding="utf-8")
    if not report.passed:
        raise typer.Exit(1)


def _list(*, machine: bool) -> None:
    if machine:
        found = [{"case": c.name, "title": c.title, "section": c.section, "writes": c.writes} for c in CASES]
        typer.echo(json.dumps(found))
        return
    table = Table(Column("case", no_wrap=True), "section", "what it is about", "the client")
    for case in CASES:
        table.add_row(case.name, case.section, case.title, "writes" if case.writes else "reads")
    out.print(table)


def _chosen(names: Sequence[str]) -> Sequence[Case]:
    try:
        return chosen(names)
    except KeyError as unknown:
        raise typer.BadParameter(
            f"there is no case {unknown.args[0]}; --list names them", param_hint="--only"
        ) from None


def _split(command: str) -> Sequence[str]:
    try:
        found = shlex.split(command)
    except ValueError as fault:
        raise typer.BadParameter(str(fault), param_hint="--command") from None
    if not found:
        raise typer.BadParameter("it names no program", param_hint="--command")
    return found


@contextmanager
def _shown(count: int) -> Iterator[suite.Watching]:
    """Shows the case that is played; a line for each where nobody watches a terminal."""
    columns = SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task: TaskID = bar.add_task("", total=count)

        def ended(verdict: Verdict) -> None:
            bar.advance(task)
            if not err.is_terminal or verdict.outcome is Outcome.FAILED:
                _say(f"{verdict.case}: {verdict.outcome}")

        yield suite.Watching(lambda case: bar.update(task, description=f"{case.name}: {case.title}"), ended)


def _say(words: str) -> None:
    err.print(words, markup=False, highlight=False, soft_wrap=True)
