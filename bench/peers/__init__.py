"""Other servers that hold requests, each started and stopped by the benchmark that compares with it."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 30
_END_SECONDS = 10


class MissingPeerError(Exception):
    """It is not installed here; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server. `pid` is the process that holds."""

    name: str
    host: str
    port: int
    pid: int
    ask: bytes
    publish: bytes
    mark: bytes = b""
    """Not empty: it answers with a stream, in which each piece with the mark is an answer."""


Opened = Callable[[int], AbstractContextManager[Peer]]
"""Starts a server with a message of so many bytes to publish."""


def cache_folder(name: str) -> Path:
    """Where a peer that was installed for the benchmarks lives; `HOMEROOM_BENCH_PEERS` names another place."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(os.environ.get("HOMEROOM_BENCH_PEERS", cache / "homeroom-bench")) / name


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def running(command: list[str], port: int, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process from when its port accepts until the end of the block."""
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
