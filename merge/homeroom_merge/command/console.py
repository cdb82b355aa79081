"""`homeroom-merge console`: pages about the merges of this machine."""

import asyncio
import signal
import socket
from typing import Annotated

import anyio
import typer

from homeroom_merge.command.invocation import (
    DATA_DIR,
    EXPECTED,
    DatabaseUrl,
    DataDir,
    err,
    out,
    tell_aside,
)
from homeroom_merge.console.own import OwnHost, app_of, is_of_this_machine
from homeroom_merge.log_lines import log_to_stderr
from homeroom_merge.runners.serving import serve
from homeroom_merge.store import place, queue_schema
from homeroom_merge.store.connection import pooled

_CONNECTIONS_MAX = 4

app = typer.Typer()


@app.command()
def console(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any that is free.")] = 8400,
    host: Annotated[str, typer.Option(help="An address of this machine alone.")] = "127.0.0.1",
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Show merges in the browser, until Ctrl-C. Prints the link that lets you in."""
    if not is_of_this_machine(host):
        hint = f"from another machine, come through SSH: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE"
        raise typer.BadParameter(f"the console is for this machine alone; {hint}", param_hint="--host")
    log_to_stderr()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with (
            place.database(database_url, data_dir, tell_aside) as url,
            socket.create_server((host, port), family=family) as listening,
        ):
            asyncio.run(_served(url, listening))
    except EXPECTED as refused:
        err.print(f"homeroom-merge: {refused}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


async def _served(database_url: str, listening: socket.socket) -> None:
    """Until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with place.opened(database_url) as connection:
        await queue_schema.apply(connection)
    async with pooled(database_url, _CONNECTIONS_MAX) as pool, anyio.create_task_group() as tasks:
        host = OwnHost(database_url, pool)
        tasks.start_soon(serve, app_of(host), listening)
        name, port = listening.getsockname()[:2]
        said = f"http://{f'[{name}]' if ':' in name else name}:{port}{host.link}"
        out.print(f"Open this, once: {said}", markup=False, highlight=False, soft_wrap=True)
        await stop.wait()
        tasks.cancel_scope.cancel()
