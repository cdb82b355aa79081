"""`homeroom catalogue`: the notification types that nodes are to know."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from homeroom_server.catalogue import TypeDefinition, load_catalogue, shipped_folder
from homeroom_server.command.invocation import AsJson, out, refusals

catalogues_app = typer.Typer(no_args_is_help=True, help="The notification types that nodes know.")


@catalogues_app.command("check")
def check(
    catalogue: Annotated[str, typer.Argument(help="alberta, roster, or a TOML file.")], as_json: AsJson = False
) -> None:
    """Say what a catalogue holds, or all of its faults at once, as `homeroom serve` would."""
    with refusals():
        types = load_catalogue(catalogue).types.values()
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in types]))
        return
    table = Table("type", "school year", "ids", "audience", "schema", "status")
    for each in types:
        table.add_row(*map(str, (each.name, each.school_year, each.id_format, each.audience)), *_extras(each))
    out.print(table)


@catalogues_app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="alberta or roster.")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a catalogue that ships, with its schemas, into a new folder, to be changed there."""
    with refusals():
        shutil.copytree(shipped_folder(name), folder)
    out.print(
        f"{folder / 'catalogue.toml'} is written: change it, then homeroom catalogue check {folder}/catalogue.toml"
    )


def _extras(definition: TypeDefinition) -> tuple[str, str]:
    if definition.source is not None:
        return "", f"of {definition.source}"
    return "yes" if definition.schema else "any object", "" if definition.rules is None else "yes"


def _as_json(definition: TypeDefinition) -> dict[str, str | bool | None]:
    return {
        "notificationType": definition.name,
        "schoolYear": definition.school_year,
        "idFormat": definition.id_format,
        "audience": definition.audience,
        "hasSchema": definition.schema is not None,
        "statusOf": definition.source,
    }
