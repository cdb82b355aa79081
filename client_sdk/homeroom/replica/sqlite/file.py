"""A SQLite file as a replica needs it: one writer, transactions that name what went wrong, a lock for the loop."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeroom.replica.storage import StorageError, StorageFull, StorageInUse

_BUSY_SECONDS = 30.0
_CACHE_KIBIBYTES = 32 * 1024
_PAGE_BYTES = 8192
_WAL_BYTES_KEPT = 64 * 1024 * 1024
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC)
_NO_REPLICA = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class File:
    """A file that is written to by this object alone. Opening it makes it, unless `read_only`; raises StorageError."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if read_only:
            self.db = connect_to_read(path)
            return
        with translated(path):
            self.db = sqlite3.connect(path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self.db.execute(f"pragma page_size = {_PAGE_BYTES}")
            self.db.execute("pragma journal_mode = wal")
            self.db.execute(f"pragma cache_size = -{_CACHE_KIBIBYTES}")
            self.db.execute(f"pragma journal_size_limit = {_WAL_BYTES_KEPT}")

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; `durable`: on the disk before this ends. Raises StorageError.

        What is not durable may be lost with the machine, cursor and records together: it is fetched again.
        """
        with translated(self.path):
            self.db.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
            self.db.execute("begin immediate")
            try:
                yield self.db
                self.db.execute("commit")
            finally:
                if self.db.in_transaction:
                    self.db.execute("rollback")

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Statements that read all see the file as it is now, whatever another process writes meanwhile."""
        with translated(self.path):
            self.db.execute("begin")
            try:
                yield
            finally:
                self.db.execute("rollback")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Statements that only read; raises StorageError."""
        with translated(self.path):
            yield self.db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for queries; raises StorageError where there is no file."""
    with translated(path):
        uri = f"{path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, _BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """What SQLite says, as a StorageError that says what to do."""
    try:
        yield
    except sqlite3.Error as fault:
        code = getattr(fault, "sqlite_errorcode", None)
        if code in _NO_ROOM:
            raise StorageFull(f"{path}: the disk is full ({fault}); free some space, nothing was lost") from fault
        if code in _NO_REPLICA:
            raise StorageError(
                f"{path} is not a replica or is damaged ({fault}); move it away and sync anew"
            ) from fault
        raise StorageError(f"{path}: {fault}") from fault


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Keep any other loop off the file, in this process or another; raises StorageInUse at once.

    The lock is that of a SQLite file beside it: the same on every system, and gone with the process that held it.
    """
    beside = path.with_name(path.name + ".lock")
    with translated(beside):
        connection = sqlite3.connect(beside, 0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("begin exclusive")
    except sqlite3.OperationalError as fault:
        connection.close()
        raise StorageInUse(f"{path} is being kept in step by another process already") from fault
    try:
        yield
    finally:
        connection.close()
