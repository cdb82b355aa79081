"""One PostgreSQL for the whole run, one database a test, and Cores on it with the clients of a small province."""

import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import asyncpg
import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from starlette.applications import Starlette

from homeroom import Client
from homeroom_server import database, operations, people
from homeroom_server.app import create_app
from homeroom_server.auth import Role
from homeroom_server.server import create_server
from homeroom_server.services import Services, open_services
from homeroom_server.settings import Settings
from homeroom_server.store import schema
from tests.cluster import Cluster, running_cluster
from tests.processes import Node, homeroom, prepare_node

os.environ["COLUMNS"] = "200"  # lines that commands print stay whole

PROVINCE = """\
code,name,parent
O.1,Ministry,
A.3020,Foothills,O.1
A.3030,Prairie,O.1
S.0982,Maple Ridge School,A.3020
S.0983,Elk Valley School,A.3020
S.0990,Plainview School,A.3030
"""
ANY_CATALOGUE = """\
[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"
status = true

[types.Plan]
school_year = "required"
id_format = "uuid"
audience = "owner"

[types.Bulletin]
school_year = "optional"
id_format = "code"
audience = "public"
"""
TEMPLATE = "homeroom_template"
_MEMORY = "/dev/shm"
_ROOM_BYTES_MIN = 8 * 1024**3

_numbers = itertools.count(1)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Each test has people of its own: their passwords cost a thousandth of what real ones do."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(people, "_hasher", cheap)
        patch.setattr(people, "_NOBODYS", cheap.hash("nobody"))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The maintenance database of a PostgreSQL of this run (or of HOMEROOM_TEST_DATABASE_URL)."""
    with tempfile.TemporaryDirectory(prefix="homeroom-tests-", dir=quick_place()) as data_dir:
        settings = Settings(data_dir=data_dir, database_url=os.environ.get("HOMEROOM_TEST_DATABASE_URL", ""))
        with database.open_database(settings) as url:
            if not settings.database_url:
                anyio.run(hurry, url)
            yield url


async def hurry(postgres_url: str) -> None:
    """These databases need not outlive the machine. Each that goes has a checkpoint: a second, were it on the disk."""
    connection = await asyncpg.connect(postgres_url)
    for setting in ("fsync", "full_page_writes"):
        await connection.execute(f"alter system set {setting} = off")
    await connection.execute("select pg_reload_conf()")
    await connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """For data directories: pytest's own folders are closed to PostgreSQL's account by the next run that starts."""
    with tempfile.TemporaryDirectory(prefix="homeroom-tests-", dir=quick_place()) as name:
        yield Path(name)


def quick_place() -> str | None:
    """Memory, where the system has enough of it as a folder: a database is hundreds of files, and each test has one."""
    has_room = os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES_MIN
    return _MEMORY if has_room else None


@pytest.fixture
def cluster(folder: Path) -> Iterator[Cluster]:
    """A primary and a hot standby of this test alone."""
    folder.chmod(0o755)
    with running_cluster(folder) as cluster:
        yield cluster


def database_url(postgres_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    head, _, query = postgres_url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


async def make_template(postgres_url: str) -> None:
    """A database with the schema and the province, to make others of; unless there is one."""
    connection = await asyncpg.connect(postgres_url)
    try:
        if await connection.fetchval("select 1 from pg_database where datname = $1", TEMPLATE):
            return
        await connection.execute(f"create database {TEMPLATE}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(database_url(postgres_url, TEMPLATE))
    try:
        await schema.apply(connection)
        await operations.load_organizations(connection, PROVINCE)
    finally:
        await connection.close()


@pytest.fixture
async def database_of_test(postgres_url: str) -> AsyncIterator[str]:
    """A database with the schema and the province, of this test alone."""
    await make_template(postgres_url)
    name = f"t{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    try:
        yield database_url(postgres_url, name)
    finally:
        await connection.execute(f"drop database {name} with (force)")
        await connection.close()


class Core:
    """A node in this process, with clients that speak to it over ASGI, or over sockets where it is served."""

    def __init__(self, services: Services, app: Starlette, url: str) -> None:
        self.services = services
        self.app = app
        self.database_url = url
        self.base_url = "http://core"
        self.server: uvicorn.Server
        self._stack = AsyncExitStack()

    async def key(self, organization: str, role: Role = Role.WRITER) -> str:
        """The key of a new client of that organisation."""
        async with self.services.reading.connections_to_primary("usual").acquire() as connection:
            return await operations.create_client(connection, f"{organization} {next(_numbers)}", [organization], role)

    async def client(self, organization: str, role: Role = Role.WRITER) -> Client:
        """A new client of that organisation."""
        return await self._stack.enter_async_context(self.client_with(await self.key(organization, role)))

    def client_with(self, key: str, organization: str | None = None) -> Client:
        """A client with a key that exists, to be opened by the test."""
        served = self.base_url != "http://core"
        transport = None if served else httpx.ASGITransport(self.app, raise_app_exceptions=True)
        return Client(self.base_url, key, organization, transport=transport)

    @asynccontextmanager
    async def served(self, send_buffer_bytes: int = 0) -> AsyncIterator[uvicorn.Server]:
        """On a socket, by the server that a node of its own process runs; its clients end first."""
        self.server = server = create_server(self.services)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if send_buffer_bytes:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [listener])
                scheme = "https" if self.services.settings.tls_certificate else "http"
                self.base_url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
                try:
                    yield server
                finally:
                    await self.close()
                    server.should_exit = True

    async def close(self) -> None:
        await self._stack.aclose()

    async def connect(self) -> asyncpg.Connection:
        """A connection of the test's own to this Core's database."""
        connection: asyncpg.Connection = await asyncpg.connect(self.database_url)
        self._stack.push_async_callback(connection.close)
        return connection


@asynccontextmanager
async def open_core(url: str, settings: Settings) -> AsyncIterator[Core]:
    async with open_services(settings, url) as services:
        core = Core(services, create_app(services), url)
        try:
            yield core
        finally:
            await core.close()


@pytest.fixture
def settings() -> Settings:
    """What a test may override by a fixture of its own."""
    return Settings(read_connections_max=4, write_connections_max=3)


@pytest.fixture
async def core(database_of_test: str, settings: Settings) -> AsyncIterator[Core]:
    async with open_core(database_of_test, settings) as core:
        yield core


@pytest.fixture
def any_catalogue(tmp_path: Path) -> str:
    """A catalogue whose bodies may be any JSON object: for tests of the protocol alone."""
    path = tmp_path / "catalogue.toml"
    path.write_text(ANY_CATALOGUE, encoding="utf-8")
    return str(path)


@pytest.fixture
async def plain_core(database_of_test: str, settings: Settings, any_catalogue: str) -> AsyncIterator[Core]:
    """A Core with types Note (status, owner), Plan.YYYY (owner, uuid) and Bulletin (public)."""
    async with open_core(database_of_test, replace(settings, catalogue=any_catalogue)) as core:
        yield core


@pytest.fixture
def node_files(folder: Path, any_catalogue: str) -> Iterator[Node]:
    """A data directory of its own, and PostgreSQL in it no longer running afterwards."""
    node = prepare_node(folder, PROVINCE, "--catalogue", any_catalogue)
    yield node
    homeroom("status", "--data-dir", node.data_dir)  # the last to leave stops it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long is left to `make torture`, so that `make test` ends within minutes."""
    if "HOMEROOM_EVERYTHING" not in os.environ:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With HOMEROOM_NO_SKIPS a test that cannot run is a test that fails: CI has all that tests want.

    Programs of the system's own packages apart: where they may not be installed, their tests say so.
    """
    report = yield
    if os.environ.get("HOMEROOM_NO_SKIPS") and report.skipped and "is not installed" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr}"
    return report
