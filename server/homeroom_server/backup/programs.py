"""PostgreSQL's own programs: where they are, and running them."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import anyio

from homeroom_server.backup.files import BackupError
from homeroom_server.database import embedded_programs

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def find(program: str, major: int) -> tuple[Path, int]:
    """The oldest such program that is not older than `major`, and its version. BackupError.

    A newer one writes and speaks what an older server may not understand.
    """
    found: dict[int, Path] = {}
    for path in _places(program):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
        if match := _VERSION.search(said):
            found.setdefault(int(match[1]), path)
    fit = [each for each in found if each >= major]
    if not fit:
        there = ", ".join(f"{path} is version {each}" for each, path in sorted(found.items())) or "there is none"
        raise BackupError(
            f"{program} of PostgreSQL {major} or newer is needed, and {there}: install the client programs of "
            f"PostgreSQL {major} and put them on PATH"
        )
    return found[min(fit)], min(fit)


async def run(path: Path, url: str, *arguments: str) -> None:
    """Run a program on a database to its end; files that it makes are for their owner alone. BackupError."""
    place, password = _without_password(url)
    environment = {**os.environ, "PGAPPNAME": "homeroom backup"} | ({"PGPASSWORD": password} if password else {})
    command = [str(path), "--no-password", f"--dbname={place}", *arguments]
    async with await anyio.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment, umask=0o077
    ) as process:
        assert process.stderr is not None
        said = b"".join([piece async for piece in process.stderr]).decode(errors="replace")
    if process.returncode:
        raise BackupError(f"{path.name} failed: {(said.splitlines() or ['it says nothing'])[0]}")


def _places(program: str) -> Sequence[Path]:
    """Where such a program is: beside the embedded PostgreSQL, and first of all on PATH."""
    on_path = shutil.which(program)
    beside = [folder / program for folder in embedded_programs()]
    return [*([Path(on_path)] if on_path else []), *(path for path in beside if path.exists())]


def _without_password(url: str) -> tuple[str, str]:
    """A URL that others may see in the list of processes, and the password that it had."""
    parts = urlsplit(url)
    if not parts.password:
        return url, ""
    account, _, hosts = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account.partition(':')[0]}@{hosts}")), unquote(parts.password)
