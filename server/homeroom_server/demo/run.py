"""A demo from an empty folder to its end."""

import shutil
import signal
from contextlib import suppress
from pathlib import Path

import uvloop
from rich.console import Console

from homeroom_server import database
from homeroom_server.demo.district import District
from homeroom_server.demo.story import Story
from homeroom_server.settings import Settings

_CORE = "core"


def run_demo(district: District, folder: Path, port: int, out: Console, *, serve: bool) -> None:
    """Tell the story in `folder`; what an earlier demo left there is removed first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended in good order, Core and PostgreSQL too
    settings = Settings(data_dir=str(folder / _CORE))
    if (folder / _CORE).exists():
        with database.open_database(settings):
            pass  # if it still runs, this was the last to use it
        shutil.rmtree(folder / _CORE)
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.sqlite"):
        file.unlink()
    with database.open_database(settings) as url, suppress(KeyboardInterrupt):  # how one that serves is ended
        uvloop.run(Story(district, folder, out).tell(url, port, serve))
