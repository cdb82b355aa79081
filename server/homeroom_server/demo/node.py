"""The Core of a demo: a node in a process of its own, on the demo's database."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from homeroom_server.refusal import RefusedError

_START_SECONDS_MAX = 60


class NodeError(RefusedError):
    """The node did not start; the message is what it said."""


@asynccontextmanager
async def running_node(database_url: str, catalogue: str, port: int) -> AsyncIterator[str]:
    """The URL of a node that runs while the block does."""
    command = [sys.executable, "-m", "homeroom_server", "serve", "--port", str(port)]
    command += ["--database-url", database_url, "--catalogue", catalogue]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        said = ""
        with anyio.move_on_after(_START_SECONDS_MAX):
            async for chunk in process.stderr:
                said += chunk.decode()
                if "http://" in said and said.endswith("\n"):
                    break
        if "http://" not in said:
            raise NodeError(f"the Core did not start: {said.strip()}")
        try:
            yield said[said.index("http://") :].split()[0]
        finally:
            process.terminate()
