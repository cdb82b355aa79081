"""What of late kept a node from its database, in the words of who can mend it."""

import errno
from time import monotonic

import asyncpg

from homeroom_server.store.connection import STALLED

_LATE_SECONDS = 30.0
"""For so long it is said after it was last met: long enough for who looks now and then, and over soon after it is."""

UNREACHABLE = "the database cannot be reached"
"""What is said where nothing better is known."""

_ADVICE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (asyncpg.DiskFullError, "the database has no space left: make room on its disk"),
    (asyncpg.OutOfMemoryError, "the database is out of memory: give it more, or fewer connections"),
    (
        asyncpg.TooManyConnectionsError,
        "the database takes no more connections: raise its max_connections, or lower the nodes' ..._connections_max",
    ),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "the database is read-only: if it is a standby, name the primary too; else look at "
        "default_transaction_read_only",
    ),
    (asyncpg.CannotConnectNowError, "the database is starting or stopping: wait, or read its log"),
    (STALLED, "the database is slow: look for locks that are held, and at its disk and CPU"),
)


class Troubles:
    """Told by whoever met with a failure; read by /readyz."""

    def __init__(self) -> None:
        self._met_at: dict[str, float] = {}

    def met(self, failure: BaseException) -> str:
        """Remember a failure of the database; what an operator should do about it."""
        advice = advice_on(failure)
        self._met_at[advice] = monotonic()
        return advice

    @property
    def of_late(self) -> list[str]:
        """What was met within the last half minute, each once."""
        since = monotonic() - _LATE_SECONDS
        return [advice for advice, met_at in self._met_at.items() if met_at > since]


def advice_on(failure: BaseException) -> str:
    """What a failure of the database means, and what to do."""
    if isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE):
        return "this node has no open files left: raise LimitNOFILE, or lower connections_max"
    found = (advice for kinds, advice in _ADVICE if isinstance(failure, kinds))
    return next(found, UNREACHABLE)
