"""`homeroom-merge formatter test`: what the hub would get of a SIS's rows, and what would not come back."""

import asyncio
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from homeroom_merge.command.invocation import EXPECTED, AsJson, err, out
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_free import free_form
from homeroom_merge.feed_secrets import secrets_of_connector
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.sources.choosing import source_of
from homeroom_merge.sources.mapped import mapped_by
from homeroom_merge.sources.source import Source, SourceError
from homeroom_merge.terminal import visible
from homeroom_merge.trial import Trial, Trials, tried

app = typer.Typer(no_args_is_help=True, help="Formatters: between the shape of a SIS and the hub's.")

_CELL_LENGTH_MAX = 120
_GROUPS_SHOWN = 20


@app.callback()
def formatter() -> None:
    """A group with one command, so that it keeps its name."""


@app.command("test")
def try_rows(
    file: Annotated[Path, typer.Argument(help="Settings of a feed, or a mapping file.", exists=True, dir_okay=False)],
    rows: Annotated[
        Path | None, typer.Option(help="With a mapping: the CSV file, or the folder of its files.", exists=True)
    ] = None,
    entity: Annotated[list[str] | None, typer.Option(help="Just this one; may be given several times.")] = None,
    key: Annotated[str, typer.Option(help="Show the record of this key.")] = "",
    limit: Annotated[int, typer.Option(min=0, max=1_000, help="How many records are shown.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Read every row and write it back, without a Core and without writing anything; exit code 1 if there are faults.

    Shown are the first records, what the hub would get of them, what is wrong and what would be lost.
    """
    try:
        source, wanted = _source(file, rows, entity or ())
        found = asyncio.run(_tried(source, wanted, key, 1 if key else limit))
        if key and not any(each.shown for each in found):
            raise RefusedError(f"no record has the key {key}")
    except EXPECTED as refused:
        err.print(f"homeroom-merge: {refused}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for each in found:
        if as_json:
            typer.echo(json.dumps(_json(each), default=str))
        else:
            _show(each)
    if not all(each.is_fine for each in found):
        raise typer.Exit(1)


async def _tried(source: Source, wanted: Sequence[str], key: str, limit: int) -> list[Trials]:
    try:
        return [
            await tried(source.formatters[name], await source.connector.fetch(name), key=key, limit=limit)
            for name in wanted
        ]
    finally:
        if source.close is not None:
            await source.close()


def _source(file: Path, rows: Path | None, entities: Sequence[str]) -> tuple[Source, Sequence[str]]:
    """The SIS, and the entities to be tried. Raises SourceError and what else is expected."""
    try:
        text = file.read_text(encoding="utf-8")
        is_settings = "feed" in tomllib.loads(text)
    except UnicodeDecodeError as fault:
        raise SourceError(f"{file.name}: it is not UTF-8; save it as such") from fault
    except tomllib.TOMLDecodeError:
        is_settings = "[feed]" in text
    if is_settings and rows is not None:
        raise RefusedError("settings name where the rows are: leave out --rows")
    if is_settings:
        settings = read_settings(text)
        source = source_of(settings, secrets_of_connector(settings))
        named = [name for name, each in settings.entity.items() if each.enabled]
    else:
        source = _mapped(file, file.parent if rows is None else rows, entities)
        named = list(source.formatters)
    lacking = sorted(set(entities or named) - (set(named) & source.formatters.keys()))
    if lacking:
        raise SourceError(f"{file.name} carries no {', '.join(lacking)}; there are {', '.join(source.formatters)}")
    return source, entities or named


def _mapped(file: Path, rows: Path, entities: Sequence[str]) -> Source:
    mapped = mapped_by(file)
    if rows.is_dir():
        return Source(CsvFolder(rows, free_form(mapped)), mapped.formatters())
    chosen = {name: replace(each, place=rows.name) for name, each in mapped.entities.items() if name in entities}
    if not entities:
        named = {name: each for name, each in mapped.entities.items() if each.place.casefold() == rows.name.casefold()}
        chosen = named or {name: replace(each, place=rows.name) for name, each in mapped.entities.items()}
    if len({each.place for each in mapped.entities.values()}) > 1 and len(chosen) != 1:
        raise SourceError(f"several entities are mapped: say with --entity of which {rows.name} has the rows")
    mapped = replace(mapped, entities=chosen)
    return Source(CsvFolder(rows.parent, free_form(mapped)), mapped.formatters())


def _json(trials: Trials) -> Mapping[str, object]:
    return {
        "entity": trials.entity,
        "records": trials.records,
        "withFaults": trials.faulty,
        "failure": trials.failure,
        "notes": trials.notes,
        "faults": [
            {**asdict(group.fault), "count": group.count, "places": group.places} for group in trials.groups.values()
        ],
        "lost": dict(trials.lost),
        "unsaid": trials.unsaid,
        "shown": [
            {
                "place": each.place,
                "key": each.key,
                "row": each.row,
                "body": each.body,
                "back": each.back,
                "lost": each.lost,
                "faults": [asdict(fault) for fault in each.faults],
            }
            for each in trials.shown
        ],
    }


def _show(trials: Trials) -> None:
    for trial in trials.shown:
        _say(f"{trials.entity}, {trial.place}" + (f", key {trial.key}" if trial.key else ""), "bold")
        both = Table.grid(padding=(0, 2))
        both.add_row(_cells(trial), _table(("the hub gets", "value"), trial.body.items()))
        out.print(both)
        for fault in trial.faults:
            _say(f"  {_told(fault.pointer, fault.detail, fault.cure)}", "red")
    _say(f"{trials.entity}: {trials.records} records, {trials.faulty} with faults", "bold")
    if trials.failure:
        _say(f"  cannot be read as a whole: {trials.failure}", "red")
    for note in trials.notes:
        _say(f"  {note}")
    groups = sorted(trials.groups.values(), key=lambda group: -group.count)
    for group in groups[:_GROUPS_SHOWN]:
        where = ", ".join(group.places) + (", ..." if group.count > len(group.places) else "")
        _say(f"  {group.count} x {_told(group.fault.pointer, group.fault.detail, group.fault.cure)} ({where})", "red")
    if len(groups) > _GROUPS_SHOWN:
        _say(f"  and {len(groups) - _GROUPS_SHOWN} other faults: --json has them", "red")
    for column, count in trials.lost.most_common():
        _say(f"  {column}: does not come back from the hub as it was, in {count} records")
    if trials.unsaid and trials.records:
        _say(f"  carried, and said by no record: {', '.join(trials.unsaid)}")


def _cells(trial: Trial) -> Table:
    back = trial.back or {}
    lost = set(trial.lost)
    cells = ((name, cell, back.get(name, "-") if name in lost else "") for name, cell in trial.row.items())
    return _table(("the SIS says", "cell", "comes back as"), cells)


def _table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> Table:
    table = Table(*titles)
    for line in lines:
        table.add_row(*(Text(_visible(cell)) for cell in line))
    return table


def _told(pointer: str, detail: str, cure: str) -> str:
    said = f"{pointer} {detail}".strip()
    return f"{said}; {cure}" if cure else said


def _say(text: str, style: str = "") -> None:
    out.print(_visible(text, len(text)), style=style, markup=False, highlight=False, soft_wrap=True)


def _visible(cell: object, length_max: int = _CELL_LENGTH_MAX) -> str:
    """What a terminal would obey, or nobody could see, is escaped; what is long is cut."""
    text = cell if isinstance(cell, str) else json.dumps(cell, default=str, ensure_ascii=False)
    cut = text if len(text) <= length_max else f"{text[:length_max]}..."
    return visible(cut)
