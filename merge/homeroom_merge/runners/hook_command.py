"""News to a program: JSON on its stdin, no shell, and nothing of this process but where programs and homes are."""

import os
import signal
import subprocess
from contextlib import suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from homeroom_merge.runners.news import HookError, News
from homeroom_merge.settings.hooks import Command

OUTPUT_BYTES_MAX = 1_000
"""Of what it says; the rest is read and dropped."""
_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""Not the environment as it is: secrets are there."""


async def call(hook: Command, news: News) -> None:
    """Raises HookError where it fails or takes too long, after which nothing of it runs; OSError."""
    environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    async with await anyio.open_process(
        hook.command, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        code = None
        try:
            with anyio.fail_after(hook.seconds_max):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_give, process.stdin, news.as_json())
                    said = await _take(process.stdout)
                code = await process.wait()
        except TimeoutError:
            raise HookError(f"it did not end in {hook.seconds_max} seconds, and was ended") from None
        finally:
            if code is None:  # what it began may still run, where it has ended itself
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if code:
        raise HookError(f"it ended with exit code {code}: {said}".rstrip(": "))


async def _give(stdin: ByteSendStream, news: bytes) -> None:
    with suppress(anyio.BrokenResourceError, OSError):  # it need not read it
        await stdin.send(news)
        await stdin.aclose()


async def _take(stdout: ByteReceiveStream) -> str:
    said = b""
    async for chunk in stdout:
        said = (said + chunk)[:OUTPUT_BYTES_MAX]
    return " ".join(said.decode("utf-8", "replace").split())
