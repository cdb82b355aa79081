"""The database's servers: who answers, who is the primary, and whether the standbys follow it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import asyncpg

from homeroom_server.doctor.finding import Finding, fix, ok, warning
from homeroom_server.primary import place_of, urls_of_hosts
from homeroom_server.store import examination, history
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.history import Server
from homeroom_server.trouble import UNREACHABLE, advice_on

CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_DATABASE, _STANDBY = "database", "standbys"


@dataclass(slots=True)
class Found:
    """A server that answers."""

    url: str
    server: Server
    connection: asyncpg.Connection


@dataclass(slots=True)
class Servers:
    """Those that answer, and what was found of all. `primary`: None unless there is just one to be used."""

    answering: list[Found] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def primaries(self) -> list[Found]:
        return [each for each in self.answering if each.server.timeline]

    @property
    def primary(self) -> Found | None:
        return self.primaries[0] if len(self.primaries) == 1 else None


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Servers]:
    """To all hosts of the URL, without what nodes do when they connect: no history is begun, nobody is fenced."""
    async with AsyncExitStack() as stack:
        servers = Servers()
        for url in urls_of_hosts(database_url):
            found = await _connect(url, stack, partial(fix, _DATABASE))
            if isinstance(found, Finding):
                servers.findings.append(found)
            else:
                servers.answering.append(found)
        servers.findings += _who_is_primary(servers)
        yield servers


async def check_standbys(read_urls: Sequence[str], primary: Found, seconds_max: float) -> list[Finding]:
    """Each that nodes read from: it is one, of this primary, and shows soon what the primary has."""
    findings = []
    for url in read_urls:
        async with AsyncExitStack() as stack:
            found = await _connect(url, stack, partial(warning, _STANDBY))
            findings.append(found if isinstance(found, Finding) else await _follows(found, primary, seconds_max))
    return findings


async def _follows(standby: Found, primary: Found, seconds_max: float) -> Finding:
    place = place_of(standby.url)
    if standby.server.timeline:
        todo = "name hot standbys alone in HOMEROOM_READ_DATABASE_URL, or make it follow the primary again"
        return fix(_STANDBY, f"{place} is a primary itself", todo)
    if standby.server.system_identifier != primary.server.system_identifier:
        return fix(_STANDBY, f"{place} follows another primary", "make it anew with pg_basebackup from the right one")
    written = await examination.written_up_to(primary.connection)
    behind = await examination.bytes_behind(standby.connection, written)
    for _ in range(int(seconds_max / _LOOK_SECONDS)):
        if not behind:
            break
        await anyio.sleep(_LOOK_SECONDS)
        behind = await examination.bytes_behind(standby.connection, written)
    if not behind:
        return ok(_STANDBY, f"{place} shows within {seconds_max:g} s what the primary has")
    todo = "see its log and pg_stat_replication of the primary; meanwhile nodes read elsewhere"
    return warning(_STANDBY, f"{place} is {behind:,} bytes of WAL behind, after {seconds_max:g} s", todo)


async def _connect(url: str, stack: AsyncExitStack, finding: Callable[[str, str], Finding]) -> Found | Finding:
    """`finding`: made of what was found, and what to do, if it does not answer."""
    try:
        connection = await connect(url)
        stack.push_async_callback(connection.close)
        return Found(url, await history.read_server(connection), connection)
    except FAILURES as failure:
        said = str(failure) or type(failure).__name__
        advice = advice_on(failure)
        todo = "see that it runs and takes connections from here, and that the URL is right"
        return finding(f"{place_of(url)} does not answer: {said}", todo if advice == UNREACHABLE else advice)


async def connect(url: str) -> asyncpg.Connection:
    """Without prepared statements that outlive their use, so that a pooler in between is found and not run into."""
    connection: asyncpg.Connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    return connection


def _who_is_primary(servers: Servers) -> list[Finding]:
    places = [place_of(each.url) for each in servers.primaries]
    standbys = [place_of(each.url) for each in servers.answering if not each.server.timeline]
    if len(places) > 1:
        found = f"{' and '.join(places)} are primaries, each for itself"
        return [fix(_DATABASE, found, "stop the older one and make it a standby: nodes fence it once they see both")]
    if places:
        return [ok(_DATABASE, f"the primary is {places[0]}" + (f", standby {', '.join(standbys)}" if standbys else ""))]
    if standbys:
        todo = "promote one (pg_ctl promote), or name the primary in HOMEROOM_DATABASE_URL"
        return [fix(_DATABASE, f"{', '.join(standbys)}: standbys, and no primary: nobody takes submits", todo)]
    return []
