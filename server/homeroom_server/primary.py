"""Which of the database's servers is the primary, and which history it is in (architecture 3.8, decision 13)."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import structlog

from homeroom_server.store import history
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.history import Server

_CONNECT_SECONDS = 10.0
_EXAMINE_SECONDS = 3.0
_HOST = re.compile(r"[^,]+")

log = structlog.get_logger()


class NoPrimaryError(OSError):
    """None of the servers is a primary that may be written to; the message says what each of them is."""


class Primary:
    """Connects to the primary among the hosts of a URL, wherever it is by now.

    A database that has come to another server or timeline since it was last written to begins a new history before
    anybody reads or writes there. Two primaries of one history: the one with the lower timeline is fenced for good.
    """

    def __init__(self, database_url: str) -> None:
        self.urls = urls_of_hosts(database_url)
        self._url: str | None = None
        self._system_identifier = 0
        self._timeline = 0
        self.moved: list[Callable[[], Awaitable[None]]] = []
        """Called when the primary is found elsewhere: connections to the one before are of no use."""

    async def connect(self, *_: object, **options: Any) -> asyncpg.Connection:
        """A connection to the primary; takes what asyncpg.connect takes, the URL apart. OSError, PostgresError."""
        options = {"timeout": _CONNECT_SECONDS} | options
        if self._url is not None:
            try:
                return await self._connect(self._url, options)
            except FAILURES as failure:
                if len(self.urls) == 1:
                    raise
                log.warning("the primary is not where it was", kind=type(failure).__name__)
        return await self._connect(await self.find(), options)

    async def find(self) -> str:
        """The URL of the primary, after a look at every server; NoPrimaryError if there is none."""
        if len(self.urls) == 1:
            self._url = self.urls[0]
            return self._url
        seen: dict[str, Server | str] = {}
        async with anyio.create_task_group() as tasks:
            for url in self.urls:
                tasks.start_soon(self._examine, url, seen)
        primaries = {url: found for url, found in seen.items() if isinstance(found, Server) and found.timeline}
        if not primaries:
            raise NoPrimaryError("; ".join(f"{place_of(url)}: {_said(seen[url])}" for url in self.urls))
        newest = max(primaries, key=lambda url: primaries[url].timeline)
        for url, server in primaries.items():
            if server.system_identifier == primaries[newest].system_identifier and (
                server.timeline < primaries[newest].timeline
            ):
                await self._fence(url, f"{place_of(newest)} took over on timeline {primaries[newest].timeline}")
        moved, self._url = self._url not in (None, newest), newest
        if moved:
            log.warning("the primary has moved", place=place_of(newest), timeline=primaries[newest].timeline)
            for call in self.moved:
                await call()
        return newest

    async def watch(self, seconds: float) -> None:
        """Look at every server again and again, for ever: a primary that was left behind is to be fenced soon."""
        while len(self.urls) > 1:
            await anyio.sleep(seconds)
            try:
                await (await self.connect()).close()
                await self.find()
            except FAILURES as failure:
                log.warning("no primary can be reached", kind=type(failure).__name__)

    async def _connect(self, url: str, options: dict[str, Any]) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(url, **options)
        try:
            await self._check(url, connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _check(self, url: str, connection: asyncpg.Connection) -> None:
        server = await history.read_server(connection)
        if not server.timeline:
            raise NoPrimaryError(f"{place_of(url)}: a standby")
        if server.is_half_restored:
            raise NoPrimaryError(f"{place_of(url)}: half restored; run 'homeroom restore' into it again")
        if server.system_identifier == self._system_identifier and server.timeline < self._timeline:
            raise NoPrimaryError(f"{place_of(url)}: on timeline {server.timeline}, and {self._timeline} has been seen")
        if server.has_core:
            origin = await history.read_origin(connection)
            if origin.fenced is not None:
                raise NoPrimaryError(f"{place_of(url)}: fenced, {origin.fenced}")
            if (origin.system_identifier, origin.timeline) != (server.system_identifier, server.timeline):
                epoch = await history.settle(connection, server)
                if epoch is not None:
                    log.warning("a new history has begun", epoch=epoch, timeline=server.timeline)
        self._system_identifier, self._timeline = server.system_identifier, server.timeline

    async def _examine(self, url: str, seen: dict[str, Server | str]) -> None:
        seen[url] = "does not answer"
        with anyio.move_on_after(_EXAMINE_SECONDS):
            try:
                connection = await asyncpg.connect(url, timeout=_EXAMINE_SECONDS)
                try:
                    seen[url] = await history.read_server(connection)
                finally:
                    connection.terminate()
            except FAILURES as failure:
                seen[url] = type(failure).__name__

    async def _fence(self, url: str, why: str) -> None:
        with anyio.move_on_after(_EXAMINE_SECONDS):
            try:
                connection = await asyncpg.connect(url, timeout=_EXAMINE_SECONDS)
                try:
                    if (await history.read_origin(connection)).fenced is None:
                        await history.fence(connection, why)
                        log.warning("an old primary is fenced", place=place_of(url), why=why)
                finally:
                    connection.terminate()
            except FAILURES as failure:
                log.warning("an old primary cannot be fenced", place=place_of(url), kind=type(failure).__name__)


def urls_of_hosts(database_url: str) -> Sequence[str]:
    """One URL for each host that a PostgreSQL URL names, in its order; itself if it names none or one."""
    parts = urlsplit(database_url)
    account, at, hosts = parts.netloc.rpartition("@")
    each = _HOST.findall(hosts)
    if len(each) < 2:
        return [database_url]
    return [urlunsplit(parts._replace(netloc=f"{account}{at}{host}")) for host in each]


def place_of(url: str) -> str:
    """Host and port, without whose they are."""
    return urlsplit(url).netloc.rpartition("@")[2] or "the local server"


def _said(found: Server | str) -> str:
    return found if isinstance(found, str) else "a standby"
