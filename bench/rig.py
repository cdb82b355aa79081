"""What every benchmark stands on: a node of its own with organisations and keys, and a way to say what came out."""

import json
import os
import platform
import subprocess
import sys
import tempfile
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
_RESULTS = Path(__file__).parent / "results"
_CATALOGUE = """
[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"

[types.Bulletin]
school_year = "none"
id_format = "code"
audience = "public"
"""


@dataclass(frozen=True, slots=True)
class Rig:
    """A running node, the database it uses, and a key of the ministry, which acts for every school."""

    host: str
    port: int
    pid: int
    database_url: str
    key: str


@contextmanager
def running_node(catalogue: str = "", organizations: str = "") -> Iterator[Rig]:
    """A node in a process of its own, on an embedded PostgreSQL in a folder that goes away.

    Without arguments it has the types Note and Bulletin, and 50 schools of one authority.
    """
    from homeroom_server import database
    from homeroom_server.settings import Settings

    with tempfile.TemporaryDirectory(prefix="homeroom-bench-") as folder:
        data_dir = f"{folder}/data"
        types, province = Path(folder, "catalogue.toml"), Path(folder, "organizations.csv")
        types.write_text(_CATALOGUE, encoding="utf-8")
        rows = ["code,name,parent", "O.1,Ministry,", "A.1,Authority,O.1"]
        rows += [f"S.{i:04},School {i},A.1" for i in range(SCHOOLS)]
        province.write_text(organizations or "\n".join(rows), encoding="utf-8")
        with database.open_database(Settings(data_dir=data_dir)) as url:
            homeroom("load-organizations", str(province), "--database-url", url)
            made = homeroom("client", "create", "bench", "--organization", "O.1", "--json", "--database-url", url)
            key = json.loads(made)["key"]
            command = [sys.executable, "-m", "homeroom_server", "serve", "--port", "0", "--database-url", url]
            environment = {**os.environ, "HOMEROOM_HELD_REQUESTS_PER_CLIENT_MAX": "100000", "COLUMNS": "300"}
            with subprocess.Popen(
                [*command, "--catalogue", catalogue or str(types)], stderr=subprocess.PIPE, text=True, env=environment
            ) as node:
                assert node.stderr is not None
                said = node.stderr.readline()
                host, _, port = said[said.index("http://") + 7 :].strip().rpartition(":")
                try:
                    yield Rig(host, int(port), node.pid, url, key)
                finally:
                    node.terminate()


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
