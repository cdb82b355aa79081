"""A primary and a hot standby that follows it, with what a node needs, and what happens to both meanwhile."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.footprint import cpu_seconds
from bench.rig import Bed, prepared_bed
from homeroom_server import database
from homeroom_server.settings import Settings
from tests.cluster import ACCOUNT, Cluster, Postgres, running_cluster

_CATCH_UP_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """Both servers run; `bed` is what nodes are started on."""

    bed: Bed
    cluster: Cluster

    async def caught_up(self) -> None:
        """Return once the standby shows all that the primary has."""
        async with asyncio.timeout(_CATCH_UP_SECONDS_MAX):
            while not self.cluster.caught_up():
                await asyncio.sleep(0.05)

    def wal_bytes(self) -> int:
        """How much log the primary has written since it was made."""
        return int(float(self.cluster.primary.sql("select pg_current_wal_lsn() - '0/0'::pg_lsn")))


class Meter:
    """CPU seconds of processes, by name, since the meter was last read."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = self._now()

    def read(self) -> dict[str, float]:
        before, self._before = self._before, self._now()
        return {name: now - before[name] for name, now in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


@contextmanager
def prepared_pair(organizations: str) -> Iterator[Pair]:
    """Two servers in a folder that goes away; commits are durable."""
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root, and has to come through
        if ACCOUNT is not None:
            with database.open_database(Settings(data_dir=str(folder / "first"))):
                pass  # the embedded one makes the account, and what that needs to run PostgreSQL's programs
        with running_cluster(folder) as cluster:
            for server in (cluster.primary, cluster.standby):
                _make_durable(server)
            yield Pair(prepared_bed(folder, cluster.url, cluster.primary.pid, organizations=organizations), cluster)


def _make_durable(server: Postgres) -> None:
    server.sql("alter system set fsync = on")
    server.sql("select pg_reload_conf()")
