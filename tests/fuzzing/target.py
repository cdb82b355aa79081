"""A node in a process of its own, with callers of every kind: what is fuzzed, and what it must still be afterwards."""

import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg
import httpx
import psutil

from homeroom_server import operations
from homeroom_server.auth import Role
from tests.conftest import ANY_CATALOGUE, TEMPLATE, database_url, make_template
from tests.processes import HOMEROOM

UNKNOWN_KEY = "hr_" + "x" * 43


@dataclass(frozen=True)
class Target:
    """`keys`: by caller; `log` is all that the node has said."""

    url: str
    log: Path
    keys: Mapping[str, str]
    process: psutil.Process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def in_use(self) -> dict[str, float]:
        """What counts towards limits now, by its limit, and how many files are open."""
        said = httpx.get(f"{self.url}/metrics").text
        found = re.findall(r'^homeroom_limit_in_use{limit="(\w+)"} (\S+)$', said, re.MULTILINE)
        return {**{limit: float(value) for limit, value in found}, "files": self.process.num_fds()}

    def assert_is_well(self) -> None:
        """It runs, and has met nothing that it did not expect."""
        assert self.process.is_running()
        assert "Traceback" not in self.log.read_text(encoding="utf-8")


@contextmanager
def running_target(postgres_url: str, folder: Path) -> Iterator[Target]:
    """A node on a database of its own; it must end well."""
    name = f"fuzzed{os.getpid()}"
    keys = anyio.run(_prepare, postgres_url, name)
    log, catalogue = folder / "log", folder / "catalogue.toml"
    catalogue.write_text(ANY_CATALOGUE, encoding="utf-8")
    command = [HOMEROOM, "serve", "--port", "0", "--data-dir", str(folder), "--catalogue", str(catalogue)]
    settings = {
        "HOMEROOM_DATABASE_URL": database_url(postgres_url, name),
        "HOMEROOM_DRAIN_SECONDS": "0",
        "HOMEROOM_CATCH_UP_SECONDS": "0.1",
    }
    try:
        with (
            log.open("w") as said,
            subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | settings) as node,
        ):
            try:
                yield Target(_url_in(log), log, keys, psutil.Process(node.pid))
            finally:
                node.send_signal(signal.SIGTERM)
    finally:
        anyio.run(_drop, postgres_url, name)


def _url_in(log: Path) -> str:
    until = time.monotonic() + 60
    while "http://" not in (said := log.read_text(encoding="utf-8")) or not said.endswith("\n"):
        assert time.monotonic() < until, said
        time.sleep(0.05)
    return said[said.index("http://") :].split()[0]


async def _prepare(postgres_url: str, name: str) -> dict[str, str]:
    """The keys of its callers."""
    await make_template(postgres_url)
    async with _connection(postgres_url) as connection:
        await connection.execute(f"create database {name} template {TEMPLATE}")
    async with _connection(database_url(postgres_url, name)) as connection:
        found = {
            caller: await operations.create_client(connection, caller, organizations, role)
            for caller, organizations, role in (
                ("school", ["S.0982"], Role.WRITER),
                ("authority", ["A.3020"], Role.WRITER),
                ("ministry", ["O.1"], Role.WRITER),
                ("reader", ["S.0990"], Role.READER),
                ("several", ["S.0983", "S.0990"], Role.WRITER),
                ("disabled", ["S.0982"], Role.WRITER),
            )
        }
        await operations.set_client_disabled(connection, "disabled", disabled=True)
    return {**found, "unknown": UNKNOWN_KEY}


async def _drop(postgres_url: str, name: str) -> None:
    async with _connection(postgres_url) as connection:
        await connection.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
