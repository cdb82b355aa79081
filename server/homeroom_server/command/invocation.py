"""What all commands share: their options, how they reach the database, how they say what is refused."""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import asyncpg
import typer

from homeroom.errors import HomeroomError
from homeroom_merge.terminal import Terminal
from homeroom_server import database, operations
from homeroom_server.catalogue import CatalogueError
from homeroom_server.organizations import OrganizationsError
from homeroom_server.refusal import RefusedError
from homeroom_server.settings import Settings, SettingsError, read_settings
from homeroom_server.store import audit
from homeroom_server.store.connection import Conn

T = TypeVar("T")

out = Terminal()
err = Terminal(stderr=True)

DataDir = Annotated[
    str | None,
    typer.Option(help="Where the embedded PostgreSQL keeps its files.", show_default="homeroom-data"),
]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL of your own instead of the embedded one.")]
NodesCatalogue = Annotated[str | None, typer.Option(help="The catalogue that the nodes use.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file of settings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

_EXPECTED = (
    SettingsError,
    CatalogueError,
    OrganizationsError,
    operations.OperationError,
    database.DatabaseError,
    HomeroomError,
    RefusedError,
    OSError,
)


class refusals:  # noqa: N801 - reads as a statement
    """Says what was refused in one line and exits with 1, where a traceback would not help."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: object) -> None:
        if isinstance(failure, _EXPECTED):
            _refuse(failure)


def settings_of(flags: Mapping[str, object | None], config: Path | None) -> Settings:
    """The settings of a command that was given these flags."""
    with refusals():
        return read_settings(flags, config)


def with_connection(settings: Settings, work: Callable[[asyncpg.Connection], Awaitable[T]], did: str = "") -> T:
    """Do one piece of work on the database, whether or not a server runs on it; `did`: what the audit says of it."""

    async def connected(url: str) -> T:
        await database.apply_schema(url)
        connection = await database.connect_to_primary(url)
        try:
            if not did:
                return await work(connection)
            async with connection.transaction():
                done = await work(connection)
                await note(connection, did)
            return done
        finally:
            await connection.close()

    with refusals(), database.open_database(settings) as url:
        return asyncio.run(connected(url))


async def note(connection: Conn, did: str) -> None:
    """What an operator did, for the audit."""
    await audit.note(connection, "operator", account(), None, did)


def account() -> str:
    """The account that runs the command; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _refuse(failure: BaseException) -> NoReturn:
    err.print(f"homeroom: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1) from None
