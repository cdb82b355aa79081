"""`homeroom user`: people of the console."""

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from homeroom_server import people
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    out,
    settings_of,
    with_connection,
)
from homeroom_server.people import PersonRole

users_app = typer.Typer(no_args_is_help=True, help="People who sign in to the console.")


@users_app.command("create")
def create(
    name: str,
    role: Annotated[PersonRole, typer.Option(help="Operators see everything, the others their organisations.")],
    organization: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Make an account; its password is asked for, or read from standard input."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    password = _password()
    codes = organization or ()
    with_connection(
        settings,
        lambda connection: people.create(connection, name, role, codes, password),
        f"made the account {name}: {role} {' '.join(codes)}".rstrip(),
    )
    out.print(f"{name} may sign in at /console", markup=False, highlight=False)


@users_app.command("password")
def password(name: str, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Give somebody another password; they are signed out everywhere."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    said = _password()
    did = f"gave {name} another password"
    with_connection(settings, lambda connection: people.set_password(connection, name, said), did)
    out.print(f"{name} has a new password", markup=False, highlight=False)


@users_app.command("disable")
def disable(name: str, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Sign somebody out everywhere, and let them in no more."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    did = f"disabled {name}"
    with_connection(settings, lambda connection: people.set_disabled(connection, name, disabled=True), did)
    out.print(f"{name} is disabled", markup=False, highlight=False)


@users_app.command("enable")
def enable(name: str, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Let somebody in again."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    did = f"enabled {name}"
    with_connection(settings, lambda connection: people.set_disabled(connection, name, disabled=False), did)
    out.print(f"{name} is enabled", markup=False, highlight=False)


@users_app.command("list")
def list_users(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Everybody, with what they may see."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    found = with_connection(settings, people.list_people)
    if as_json:
        told = [
            {
                "name": each.name,
                "role": each.role,
                "organizations": list(each.organizations),
                "disabled": each.disabled,
                "createdAt": each.created_at.isoformat(timespec="seconds"),
            }
            for each in found
        ]
        typer.echo(json.dumps(told))
        return
    table = Table("name", "role", "organizations", "disabled")
    for each in found:
        table.add_row(each.name, each.role, ", ".join(each.organizations), "yes" if each.disabled else "")
    out.print(table)


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
