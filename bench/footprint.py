"""What a process and those it has started take: memory and CPU, from /proc."""

import asyncio
import time
from pathlib import Path

import psutil

QUIET_SHARE = 0.08
"""Of a core: a node that holds, and its PostgreSQL, take less."""
_QUIET_SECONDS = 1.0


class NotQuietError(Exception):
    """Something went on working for longer than it was given."""


def rss_bytes(pid: int) -> int:
    """VmRSS of a process and all below it."""
    return sum(_kib_of(process.pid, "VmRSS:") for process in _family(pid)) * 1024


def shared_bytes(pid: int) -> int:
    """The part of VmRSS that is shared memory (RssShmem), of a process by itself; 0 where the kernel does not say."""
    return _kib_of(pid, "RssShmem:") * 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, those that have ended included; to 10 ms each."""
    me = psutil.Process(pid).cpu_times()
    spent = me.user + me.system + me.children_user + me.children_system
    for process in _family(pid)[1:]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its time is with its parent's children now
        spent += times.user + times.system
    return float(spent)


async def settled(*pids: int, quiet_share: float = QUIET_SHARE, seconds_max: float = 300) -> None:
    """Until none of them has had much to do for a second; NotQuietError when that takes too long."""
    deadline = time.monotonic() + seconds_max
    before = sum(map(cpu_seconds, pids))
    while True:
        await asyncio.sleep(_QUIET_SECONDS)
        now = sum(map(cpu_seconds, pids))
        if now - before < quiet_share * _QUIET_SECONDS:
            return
        if time.monotonic() > deadline:
            raise NotQuietError(f"still busy after {seconds_max} s")
        before = now


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _kib_of(pid: int, line_name: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(line_name)]
    return int(found[0]) if found else 0
