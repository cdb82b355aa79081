"""`homeroom client`: systems that call, their keys, and what they have to show besides."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, assert_never

import typer
from rich.table import Table

from homeroom_server import bounds, operations
from homeroom_server.auth import Role
from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    err,
    note,
    out,
    refusals,
    settings_of,
    with_connection,
)
from homeroom_server.operations import OperationError
from homeroom_server.peers import fingerprint
from homeroom_server.store.connection import Conn

clients_app = typer.Typer(no_args_is_help=True, help="Systems that call the Core.")

_DAYS_MAX, _HOURS_MAX = 3_660, 24 * 366
ExpiresDays = Annotated[
    int | None,
    typer.Option(min=1, max=_DAYS_MAX, help="For how many days the key counts.", show_default="until it is disabled"),
]


class CertificateAction(StrEnum):
    """What can be done about a client's certificates."""

    ADD = "add"
    REMOVE = "remove"
    LIST = "list"


@clients_app.command("create")
def create(
    name: str,
    organization: Annotated[list[str], typer.Option(help="May be given several times.")],
    role: Annotated[Role, typer.Option(help="Writers also submit and acknowledge.")] = Role.WRITER,
    expires_days: ExpiresDays = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register a system and print its API key, once."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    key = with_connection(
        settings,
        lambda connection: operations.create_client(connection, name, organization, role, expires_days),
        f"made the client {name}: {role} of {' '.join(organization)}",
    )
    _print_key(name, key, as_json)


@clients_app.command("rotate")
def rotate(
    name: str,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=_HOURS_MAX, help="For so long the keys it had count too.")
    ] = 0,
    expires_days: ExpiresDays = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give a client a new key; those it had are disabled, at once or after an overlap."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    key = with_connection(
        settings,
        lambda connection: operations.rotate_key(connection, name, overlap_hours, expires_days),
        f"rotated the key of {name}",
    )
    _print_key(name, key, as_json)


@clients_app.command("disable")
def disable(name: str, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Turn a client away from now on."""
    _set_disabled(name, data_dir, database_url, config, disabled=True)


@clients_app.command("enable")
def enable(name: str, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Let a disabled client in again."""
    _set_disabled(name, data_dir, database_url, config, disabled=False)


@clients_app.command("networks")
def networks(
    name: str,
    network: Annotated[list[str] | None, typer.Argument(metavar="[CIDR]...", help="In place of those it had.")] = None,
    anywhere: Annotated[bool, typer.Option("--any", help="From everywhere again.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Say from where a client may call; without a network, show from where."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    if network and anywhere:
        raise typer.BadParameter("name networks or say --any, not both")

    async def set_and_show(connection: Conn) -> dict[str, Any]:
        if network or anywhere:
            async with connection.transaction():
                await bounds.set_networks(connection, name, network or ())
                await note(connection, f"lets {name} call from {' '.join(network or ()) or 'everywhere'}")
        return await operations.show_client(connection, name)

    found = with_connection(settings, set_and_show)
    out.print(f"{name} may call from {', '.join(found['networks']) or 'everywhere'}", markup=False, highlight=False)


@clients_app.command("certificate")
def certificate(
    name: str,
    action: CertificateAction,
    shown: Annotated[
        str | None,
        typer.Argument(metavar="[FINGERPRINT]", help="SHA-256 in hex, with or without colons, or a PEM file."),
    ] = None,
    label: Annotated[str, typer.Option(help="What you call it.")] = "",
    last: Annotated[bool, typer.Option("--last", help="Remove the last one too: the key alone counts then.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Say which certificates a client may show: once it has one, its key alone no longer counts."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    with refusals():
        digest = b"" if action is CertificateAction.LIST else _fingerprint(shown)

    async def change_and_show(connection: Conn) -> dict[str, Any]:
        async with connection.transaction():
            match action:
                case CertificateAction.ADD:
                    await bounds.add_certificate(connection, name, digest, label)
                case CertificateAction.REMOVE:
                    await bounds.remove_certificate(connection, name, digest, last=last)
                case CertificateAction.LIST:
                    pass
                case _:
                    assert_never(action)
            if action is not CertificateAction.LIST:
                await note(connection, f"{action}: certificate {digest.hex()} of {name}")
        return await operations.show_client(connection, name)

    found = with_connection(settings, change_and_show)
    for each in found["certificates"]:
        out.print(f"{each['fingerprint']} {each['label']}", markup=False, highlight=False, soft_wrap=True)
    if not found["certificates"]:
        out.print(f"{name} needs no certificate", markup=False, highlight=False)


@clients_app.command("list")
def list_clients(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Every client: organisations, keys, from where it may call, what it has to show."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    clients = with_connection(settings, operations.list_clients)
    if as_json:
        typer.echo(json.dumps(clients))
        return
    table = Table("name", "role", "organizations", "disabled", "keys", "networks", "certificates")
    for client in clients:
        table.add_row(
            client["name"],
            client["role"],
            ", ".join(client["organizations"]),
            "yes" if client["disabled"] else "",
            "\n".join(_in_words(key) for key in client["keys"] if not key["disabled"]),
            "\n".join(client["networks"]),
            "\n".join(each["label"] or f"{each['fingerprint'][:16]}…" for each in client["certificates"]),
        )
    out.print(table)


def _fingerprint(shown: str | None) -> bytes:
    if shown is None:
        raise OperationError("name a certificate: its SHA-256 in hex, or a PEM file")
    digest = fingerprint(shown)
    if digest is None and not Path(shown).is_file():
        raise OperationError(f"{shown!r} is neither a SHA-256 (64 hex digits) nor a file")
    return digest or bounds.fingerprint_of(Path(shown).read_text(encoding="utf-8", errors="replace"))


def _in_words(key: dict[str, Any]) -> str:
    """One line about a key, to the minute."""
    words = [f"of {key['createdAt'][:10]}"]
    if key["expiresAt"]:
        words.append(f"{'expired' if key['expired'] else 'expires'} {key['expiresAt'][:16]}")
    words.append(f"used {key['lastUsedAt'][:16]}" if key["lastUsedAt"] else "never used")
    return ", ".join(words)


def _set_disabled(
    name: str, data_dir: str | None, database_url: str | None, config: Path | None, *, disabled: bool
) -> None:
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    done = "disabled" if disabled else "enabled"
    with_connection(
        settings,
        lambda connection: operations.set_client_disabled(connection, name, disabled=disabled),
        f"{done} the client {name}",
    )
    out.print(f"{name} is {done}")


def _print_key(name: str, key: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"name": name, "key": key}))
        return
    err.print(f"The key of {name}; it is shown this once:", highlight=False)
    typer.echo(key)
