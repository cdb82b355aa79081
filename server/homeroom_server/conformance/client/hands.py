"""A hand on the client: who starts it for a case, passes on what it is to do, and ends it."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import orjson

from homeroom_server.conformance.client.scripted_core import SCHOOL, Json
from homeroom_server.conformance.client.stage import WRITTEN_BYTES_KEPT, Stage

_END_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.5
_SECONDS_TO_COME = 600.0
"""A person may take so long to start a client."""

Hand = Callable[[Stage, str], Coroutine[Any, Any, None]]
"""Handles the client for one case at a URL: starts it when the stage is ready, passes orders on; cancelled, ends it."""


async def by_command(arguments: Sequence[str], stage: Stage, url: str) -> None:
    """Start a command in an empty folder; orders go to its standard input, a line each."""
    await stage.ready.wait()
    with tempfile.TemporaryDirectory(prefix="homeroom-conformance-", ignore_cleanup_errors=True) as folder:
        try:
            process = await anyio.open_process(
                arguments,
                stdin=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=os.environ | environment(stage, url),
                start_new_session=True,
            )
        except OSError as failure:
            stage.fail(f"{arguments[0]} cannot be started: {failure}")
            return
        stage.come()
        try:
            await _accompany(stage, process)
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def by_person(say: Callable[[str], None], stage: Stage, url: str) -> None:
    """Have a person start the client and do what it should; `say` shows them the words."""
    await stage.ready.wait()
    say("Start the client with an empty store:")
    for name, value in environment(stage, url).items():
        say(f"  {name}={value}")
    with anyio.move_on_after(_SECONDS_TO_COME):
        while not stage.calls:
            await stage.watch().wait()
    if not stage.calls:
        stage.fail(f"nobody has called within {_SECONDS_TO_COME:.0f} s")
    stage.come()
    told = 0
    while True:
        changed = stage.watch()
        for order in stage.orders[told:]:
            say(f"Have the client do this: {orjson.dumps(order).decode()}")
        told = len(stage.orders)
        await changed.wait()


def environment(stage: Stage, url: str) -> Mapping[str, str]:
    """What a client has to know."""
    return {
        "HOMEROOM_URL": url,
        "HOMEROOM_KEY": stage.key,
        "HOMEROOM_ORGANIZATION": SCHOOL,
        "HOMEROOM_TYPES": ",".join(stage.types),
    }


async def _accompany(stage: Stage, process: anyio.abc.Process) -> None:
    """Until it ends, which few cases allow."""
    heard = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_hear, stage, process, heard)
        tasks.start_soon(_pass_on, stage, process)
        code = await process.wait()
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await heard.wait()
        if not stage.may_end:
            stage.fail(f"it ended, with exit code {code}")
        tasks.cancel_scope.cancel()


async def _hear(stage: Stage, process: anyio.abc.Process, heard: anyio.Event) -> None:
    assert process.stdout is not None
    async for chunk in process.stdout:
        stage.written = (stage.written + chunk)[-WRITTEN_BYTES_KEPT:]
    heard.set()


async def _pass_on(stage: Stage, process: anyio.abc.Process) -> None:
    """Write each order to the client; one that does not read, or has ended, shows it by what it does not do."""
    assert process.stdin is not None
    passed = 0
    while True:
        changed = stage.watch()
        waiting: list[Json] = stage.orders[passed:]
        for order in waiting:
            try:
                await process.stdin.send(orjson.dumps(order) + b"\n")
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
        passed += len(waiting)
        if not waiting:
            await changed.wait()


async def _end(process: anyio.abc.Process) -> None:
    """End the command and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with anyio.move_on_after(_END_SECONDS):
            await process.wait()
    await process.aclose()
