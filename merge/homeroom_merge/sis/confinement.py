"""What a child lays on itself before it runs anything that a school brought; none of it can be taken off again."""

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path

_FILES_MAX = 256
_FILE_BYTES_MAX = 2**30
_PROCESSES_MAX = 64
_PROCESSES_BESIDE_MAX = 512
"""Where the user is not the child's own, beside those that the user has already: they come and go."""
_TO_END_SECONDS = 5
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


class ConfinementError(Exception):
    """This system does not let the child be confined as it is to be."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """`user`, `group`: its own; None: those of the parent."""

    memory_bytes_max: int
    cpu_seconds_max: int
    user: int | None
    group: int | None


def confine(told: Confinement, parent: int) -> None:
    """Raises ConfinementError. Ends the process if its parent is gone."""
    try:
        processes = _PROCESSES_MAX if told.user is not None else _tasks_of_user() + _PROCESSES_BESIDE_MAX
        _limit(resource.RLIMIT_NPROC, processes)
        if told.user is not None and told.group is not None:
            os.setgroups([])
            os.setresgid(told.group, told.group, told.group)
            os.setresuid(told.user, told.user, told.user)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, _FILES_MAX)
        _limit(resource.RLIMIT_FSIZE, _FILE_BYTES_MAX)
        _limit(resource.RLIMIT_AS, told.memory_bytes_max)
        _limit(resource.RLIMIT_CPU, told.cpu_seconds_max, told.cpu_seconds_max + _TO_END_SECONDS)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)
        die_with(parent)
    except (OSError, ValueError) as fault:
        raise ConfinementError(f"the system does not let a run be confined: {fault}") from fault


def die_with(parent: int) -> None:
    """End with the parent, however it ends; at once if it is gone already. OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def close_to_others() -> None:
    """Nobody of the same user reads this process's memory and environment from now on. ConfinementError."""
    try:
        _prctl(_PR_SET_DUMPABLE, 0)
    except OSError as fault:
        raise ConfinementError(f"the system does not let the memory of this process be closed: {fault}") from fault


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    """No more than this; less, where less is in force."""
    _, there = resource.getrlimit(which)
    wanted = soft if hard is None else hard
    hard = wanted if there == resource.RLIM_INFINITY else min(wanted, there)
    resource.setrlimit(which, (min(soft, hard), hard))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _tasks_of_user() -> int:
    """The processes and threads of this user, as the system counts them."""
    mine, count = os.getuid(), 0
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid == mine:
                count += len(list((folder / "task").iterdir()))
        except OSError:
            continue  # it has ended meanwhile
    return count
