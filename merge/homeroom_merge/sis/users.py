"""Users that runs have to themselves, where the system lets us give them out: we are root."""

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USERS = "HOMEROOM_MERGE_SANDBOX_USERS"
_USUAL = "60600-60999"
"""Numbers that neither distributions nor systemd give to anybody."""
_TAKEN = Path("/run/homeroom-merge/users")


class UsersError(Exception):
    """No user can be given to a run; the message says what to do."""


def users() -> range | None:
    """Those for runs. None: runs have the user of their parent. UsersError."""
    told = os.environ.get(USERS, "") or _USUAL
    if os.geteuid() != 0 or told == "none":
        return None
    first, _, last = told.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last)):
        raise UsersError(f'{USERS} is "{told}": write the first and the last number, as in {_USUAL}, or none')
    return range(int(first), int(last) + 1)


@contextmanager
def own_user() -> Iterator[tuple[int | None, int | None]]:
    """A user that no other run has meanwhile, and the group of them all. None, None: that of the parent.

    What it still runs from before, and at the end, is for the caller to kill. UsersError, OSError.
    """
    among = users()
    if among is None:
        yield None, None
        return
    _TAKEN.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, user = _taken(among)
    try:
        yield user, among[0]
    finally:
        os.close(descriptor)


def _taken(among: range) -> tuple[int, int]:
    """A locked file for one of the users, which the system lets go of should we be killed."""
    for user in random.sample(among, len(among)):
        descriptor = os.open(_TAKEN / str(user), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor, user
    raise UsersError(f"all {len(among)} users of {USERS} have runs: give more")
