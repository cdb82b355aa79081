"""What every benchmark stands on: a node of its own with organisations and keys, and a way to say what came out."""

import json
import os
import platform
import re
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

SCHOOLS = 50
_START_SECONDS = 30
_END_SECONDS = 40
_RESULTS = Path(__file__).parent / "results"
_CATALOGUE = """
[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"

[types.Message]
school_year = "none"
id_format = "code"
audience = "owner"

[types.Timetable]
school_year = "none"
id_format = "code"
audience = "owner"

[types.Bulletin]
school_year = "none"
id_format = "code"
audience = "public"
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """A PostgreSQL with organisations, a key of the ministry, and the catalogue that its nodes are to use."""

    database_url: str
    postgres_pid: int
    key: str
    catalogue: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Rig:
    """A running node, the database it uses, and a key of the ministry, which acts for every school."""

    host: str
    port: int
    pid: int
    database_url: str
    key: str
    trust: ssl.SSLContext | None = None
    """For a node that serves https."""

    @property
    def url(self) -> str:
        return f"{'https' if self.trust else 'http'}://{self.host}:{self.port}"


@contextmanager
def running_node(catalogue: str = "", organizations: str = "") -> Iterator[Rig]:
    """A node in a process of its own, on an embedded PostgreSQL in a folder that goes away.

    Without arguments it has the types of `_CATALOGUE`, and 50 schools of one authority.
    """
    with prepared_database(catalogue, organizations) as bed, serving(bed) as rig:
        yield rig


@contextmanager
def prepared_database(catalogue: str = "", organizations: str = "") -> Iterator[Bed]:
    """What a node needs, in a folder that goes away; one node after the other may serve it."""
    from homeroom_server import database
    from homeroom_server.settings import Settings

    with tempfile.TemporaryDirectory(prefix="homeroom-bench-") as name:
        folder = Path(name)
        with database.open_database(Settings(data_dir=str(folder / "data"))) as url:
            postmaster = int((folder / "data/postgres/postmaster.pid").read_text().split()[0])
            yield prepared_bed(folder, url, postmaster, catalogue, organizations)


def prepared_bed(folder: Path, url: str, postgres_pid: int, catalogue: str = "", organizations: str = "") -> Bed:
    """What a node needs, on an empty database that runs already."""
    types, province = folder / "catalogue.toml", folder / "organizations.csv"
    types.write_text(_CATALOGUE, encoding="utf-8")
    rows = ["code,name,parent", "O.1,Ministry,", "A.1,Authority,O.1"]
    rows += [f"S.{i:04},School {i},A.1" for i in range(SCHOOLS)]
    province.write_text(organizations or "\n".join(rows), encoding="utf-8")
    homeroom("load-organizations", str(province), "--database-url", url)
    made = homeroom("client", "create", "bench", "--organization", "O.1", "--json", "--database-url", url)
    return Bed(url, postgres_pid, json.loads(made)["key"], catalogue or str(types), folder)


@contextmanager
def serving(bed: Bed, *options: str, certificate: Path | None = None) -> Iterator[Rig]:
    """A node in a process of its own on a prepared database, started with these options of `serve` besides.

    With a certificate, whose file holds the key and the authority too, it serves https.
    """
    allow_many_files()
    command = [sys.executable, "-m", "homeroom_server", "serve", "--port", "0", "--database-url", bed.database_url]
    limits = {"HELD_REQUESTS_PER_CLIENT_MAX": "100000", "CALLS_PER_CLIENT_PER_SECOND_MAX": "0"}
    ours = {**limits, "TLS_CERTIFICATE": str(certificate or "")}
    environment = {**os.environ, **{f"HOMEROOM_{name}": value for name, value in ours.items()}, "COLUMNS": "300"}
    log = bed.folder / "node.log"
    with log.open("w", encoding="utf-8") as said:
        node = subprocess.Popen([*command, "--catalogue", bed.catalogue, *options], stderr=said, env=environment)
    try:
        host, port = _address(node, log)
        yield Rig(host, port, node.pid, bed.database_url, bed.key, trusting(certificate))
    finally:
        node.terminate()
        try:
            node.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def _address(node: "subprocess.Popen[bytes]", log: Path) -> tuple[str, int]:
    """Where the node says it serves; RuntimeError with what it says instead."""
    deadline = time.monotonic() + _START_SECONDS
    while (found := re.search(r"serves at https?://(\S+):(\d+)", log.read_text(encoding="utf-8"))) is None:
        if node.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the node did not start: {log.read_text(encoding='utf-8')}")
        time.sleep(0.05)
    return found[1], int(found[2])


def trusting(certificate: Path | None) -> ssl.SSLContext | None:
    """What a client needs to speak TLS with who has that certificate; None without one."""
    return ssl.create_default_context(cafile=certificate) if certificate else None


def allow_many_files() -> None:
    """As many open files as this process may have; those it starts inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def homeroom(*arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "homeroom_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spread(values: Sequence[float], digits: int = 0) -> str:
    """`median (lowest-highest)`."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def report(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], figures: dict[str, Any]) -> None:
    """Print a table and keep the figures as JSON, with what they were measured on."""
    table = Table(*columns, title=name)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    about = {
        "measuredAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "versions": {package: version(package) for package in ("uvicorn", "starlette", "asyncpg", "uvloop")},
    }
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps({**about, "figures": figures}, indent=2), encoding="utf-8")
