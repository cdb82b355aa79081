"""The command `homeroom-replica`: a replica in a file, kept, looked at, proved and queried without a program."""

import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import assert_never

import anyio

from homeroom.command.arguments import Arguments, read_arguments
from homeroom.command.configuration import call_configuration, file_of, local_settings, settings_of
from homeroom.command.endings import Ending, WrongUse, ending_of, explained
from homeroom.command.query import query
from homeroom.command.repair import repair
from homeroom.command.status import status
from homeroom.command.sync import sync
from homeroom.command.verify import verify
from homeroom.errors import HomeroomError
from homeroom.replica.storage import StorageError

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the system makes of a pipe
    raise SystemExit(_ended(read_arguments(sys.argv[1:]), os.environ))


def _ended(arguments: Arguments, environment: Mapping[str, str]) -> int:
    """Run a command; its exit code, after saying what kept it from its end."""
    try:
        ending = _run(arguments, environment)
        sys.stdout.flush()
        return ending
    except (HomeroomError, StorageError, WrongUse) as failure:
        _say(explained(failure))
        return ending_of(failure)
    except BrokenPipeError:
        # Who reads has had enough; nothing more may be written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Ending.FINE
    except (OSError, sqlite3.Error) as failure:
        _say([f"{arguments.file or 'the file'}: {failure}"])
        return Ending.FILE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(arguments: Arguments, environment: Mapping[str, str]) -> Ending:
    file = file_of(arguments, environment)
    match arguments.command:
        case "status":
            return status(file, as_json=arguments.json)
        case "query":
            return query(file, arguments)
        case "sync":
            configuration = call_configuration(arguments, environment, settings_of(file), types_needed=True)
            return anyio.run(sync, configuration, arguments.once, arguments.json)
        case "verify":
            configuration = call_configuration(arguments, environment, local_settings(file))
            return anyio.run(verify, configuration, arguments.json)
        case "repair":
            configuration = call_configuration(arguments, environment, local_settings(file))
            return anyio.run(repair, configuration, arguments.json)
        case _:
            assert_never(arguments.command)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        sys.stderr.write(f"homeroom-replica: {line}\n")
