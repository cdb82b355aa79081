"""The whole examination: everything looked at, one thing after the other, and nothing changed."""

import resource
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from homeroom_server import database
from homeroom_server.access.calendar import read_access_day
from homeroom_server.doctor import configuration, core, machine, node, postgres, servers
from homeroom_server.doctor.finding import Finding, fix, ok
from homeroom_server.doctor.servers import Found
from homeroom_server.pulse import SILENT_SECONDS
from homeroom_server.settings import Settings
from homeroom_server.store import examination, history, pulse
from homeroom_server.store.connection import FAILURES, connections_allowed
from homeroom_server.trouble import advice_on

_HEAR_SECONDS = 3.0


async def examine(settings: Settings, url: str | None, environment: Mapping[str, str]) -> list[Finding]:
    """What there is to say without the database; `url`: of a running node, if one is to be asked."""
    findings = [*configuration.check_variables(environment), configuration.check_proxies(settings)]
    findings += configuration.check_certificate(settings, url, datetime.now(UTC))
    findings += configuration.check_catalogue(settings)
    if url:
        return [*findings, *await node.look_at(url)]
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [*findings, machine.check_open_files(settings.held_requests_per_node_max, allowed, "a process started here")]


def has_database(settings: Settings) -> Finding | None:
    """What is wrong if there is none to look at: none is made."""
    folder = database.embedded_folder(Path(settings.data_dir))
    if settings.database_url or (folder / "PG_VERSION").exists():
        return None
    todo = "name the right one (--data-dir, HOMEROOM_DATA_DIR), or let homeroom serve make it"
    return fix("database", f"there is none in {folder}", todo)


async def examine_database(settings: Settings, database_url: str) -> list[Finding]:
    """What there is to say of its servers, and of the Core in it."""
    async with servers.connected(database_url) as found:
        findings = found.findings
        if found.primary is None:
            return findings
        try:
            findings += await _of_primary(settings, found.primary)
            findings += await servers.check_standbys(
                settings.read_database_url.split(), found.primary, settings.standby_behind_seconds_max
            )
        except FAILURES as failure:
            findings.append(fix("database", f"it failed: {failure or type(failure).__name__}", advice_on(failure)))
        return findings


async def _of_primary(settings: Settings, primary: Found) -> list[Finding]:
    before = datetime.now(UTC)
    server = await examination.read_server(primary.connection)
    findings = [
        postgres.check_version(server),
        *postgres.check_durability(server),
        machine.check_clock(before, server.clock, datetime.now(UTC)),
        machine.check_disk(server.data_directory),
        *postgres.check_vacuum(server),
        *postgres.check_slots(await examination.read_idle_slots(primary.connection)),
        await _check_listening(primary),
        *await _check_usable(primary),
    ]
    nodes = settings.workers
    if primary.server.has_core and not primary.server.is_half_restored:
        heard = await pulse.read_nodes(primary.connection, SILENT_SECONDS)
        nodes = max(nodes, sum(node.is_heard for node in heard))
        findings += await _of_core(settings, primary.connection, heard)
    allowed, each = await connections_allowed(primary.connection), database.connections_of_node(settings)
    return [*findings, postgres.check_connections(each, nodes, allowed, server.connections)]


async def _of_core(settings: Settings, connection: asyncpg.Connection, heard: Sequence[pulse.NodeRow]) -> list[Finding]:
    return [
        *core.check_types(settings.catalogue, await examination.read_types_with_records(connection)),
        core.check_work(await examination.read_work(connection)),
        core.check_access_day(await read_access_day(connection, settings)),
        *core.check_nodes(heard),
        core.check_backup(await examination.read_last_backup_at(connection), datetime.now(UTC)),
    ]


async def _check_usable(primary: Found) -> list[Finding]:
    """Whether nodes would take it for theirs: they refuse one that is fenced, or half restored."""
    if primary.server.is_half_restored:
        return [fix("schema", "a restore into this database did not end", "run the same homeroom restore again")]
    if not primary.server.has_core:
        return [core.check_schema(None)]
    fenced = (await history.read_origin(primary.connection)).fenced
    if fenced is not None:
        todo = "bring it back as a standby (pg_rewind), and name the server that took over"
        return [fix("database", f"it is fenced: {fenced}", todo)]
    return [core.check_schema(await examination.read_schema_version(primary.connection))]


async def _check_listening(primary: Found) -> Finding:
    """Nodes hear of each other's commits by LISTEN, which a pooler of transactions swallows."""
    speaking = await servers.connect(primary.url)
    try:
        hears = await examination.hears(primary.connection, speaking, _HEAR_SECONDS)
    finally:
        await speaking.close()
    if hears:
        return ok("LISTEN", "what one connection announces, another hears")
    todo = "connect past the pooler, or have it pool sessions: as it is, commits of other nodes are told a second late"
    return fix("LISTEN", "what one connection announces, another does not hear: a transaction pooler in between", todo)
