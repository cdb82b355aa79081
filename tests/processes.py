"""Real nodes: `homeroom serve` in processes of their own, on a data directory."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import anyio
import anyio.abc

from homeroom import Client

HOMEROOM = str(Path(sys.executable).parent / "homeroom")


def homeroom(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    surroundings = {**os.environ, **environment}
    done = subprocess.run(
        [HOMEROOM, *arguments], capture_output=True, text=True, timeout=60, check=False, env=surroundings
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@dataclass(frozen=True)
class Node:
    """Where a node keeps its data, how it is started, and, while it runs, where it answers."""

    data_dir: str
    flags: tuple[str, ...]
    key: str
    url: str = ""
    pid: int = 0

    def client(self) -> Client:
        return Client(self.url, self.key)


def prepare_node(folder: Path, organizations: str, *flags: str) -> Node:
    """A data directory with organisations and one client of the ministry."""
    made, key = _made(organizations)
    data_dir = folder / "data"
    subprocess.run(["cp", "-a", made, data_dir], check=True)  # PostgreSQL's files stay its account's
    return Node(str(data_dir), flags, key)


@cache
def _made(organizations: str) -> tuple[Path, str]:
    """Such a directory, made once: its PostgreSQL has stopped. And the client's key."""
    folder = Path(tempfile.mkdtemp(prefix="homeroom-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data_dir, file = folder / "data", folder / "organizations.csv"
    file.write_text(organizations, encoding="utf-8")
    homeroom("load-organizations", str(file), "--data-dir", str(data_dir))
    created = homeroom("client", "create", "tests", "--organization", "O.1", "--data-dir", str(data_dir), "--json")
    return data_dir, json.loads(created.stdout)["key"]


@asynccontextmanager
async def running_node(node: Node) -> AsyncIterator[Node]:
    """The node as a process, ready; ended by SIGTERM if it still runs at the end of the block."""
    command = [HOMEROOM, "serve", "--port", "0", "--data-dir", node.data_dir, *node.flags]
    environment = {"HOMEROOM_DRAIN_SECONDS": "0.2", **os.environ, "COLUMNS": "200"}
    async with await anyio.open_process(command, stdout=subprocess.DEVNULL, env=environment) as process:
        assert process.stderr is not None
        said = ""
        with anyio.fail_after(60):
            async for chunk in process.stderr:
                said += chunk.decode()
                if "http://" in said and said.endswith("\n"):
                    break
        assert "http://" in said, said
        url = said[said.index("http://") :].split()[0]
        try:
            yield replace(node, url=url, pid=process.pid)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30, shield=True):
                async for _ in process.stderr:
                    pass
                await process.wait()
