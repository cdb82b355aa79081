"""Every limit and choice of a node, named with its unit; read once at start."""

import os
import re
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from homeroom_server.peers import networks
from homeroom_server.tracing.spans import is_installed

WORKERS_MAX = 64


_ONE_OR_MORE = {
    "retention_days",  # statuses and nodes may lag behind, though never for a day
    "connections_per_address_max",
    "header_bytes_max",
    "header_seconds_max",
    "body_seconds_max",
    "stalled_seconds_max",
    "tls_handshake_seconds_max",
    "requests_at_once_max",
    "read_connections_max",
    "write_connections_max",
    "bulk_connections_max",
    "console_connections_max",
}


class SettingsError(Exception):
    """Settings that cannot be used; the message names every fault."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Set by flag, then `HOMEROOM_<NAME>` in the environment, then the TOML file, then the default here."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    """Nodes behind the port; what is "per node" below each of them has."""
    data_dir: str = "homeroom-data"
    database_url: str = ""
    """Empty: PostgreSQL embedded in `data_dir`. Where it names several hosts, the primary is found among them."""
    read_database_url: str = ""
    """Hot standbys to read from, separated by spaces, the preferred one first. Empty: reads go to the primary too."""
    catalogue: str = "alberta"
    """The name of a catalogue that ships, or the path of a TOML file."""
    time_zone: str = "America/Edmonton"
    """In which a calendar day ends."""

    tls_certificate: str = ""
    """A PEM file, the chain included. Empty: plain HTTP, for a proxy on the same machine."""
    tls_key: str = ""
    """A PEM file; empty if the certificate's file holds the key too."""

    tls_handshake_seconds_max: float = 10.0
    """Until TLS is agreed upon a connection counts towards no limit."""

    tls_client_authority: str = ""
    """A PEM file of authorities: clients are asked for a certificate, and one that none of these has signed is refused.

    Who must show one, and which, is said of each client. Empty: nobody is asked.
    """

    proxies: str = "127.0.0.0/8 ::1"
    """Addresses and networks, with spaces between, of proxies that are believed who calls and whether by TLS."""
    client_certificate_header: str = ""
    """In which they say the SHA-256 of the certificate that a client has shown them, in hex. Empty: they do not."""

    metrics_networks: str = "127.0.0.0/8 ::1"
    """Addresses and networks, with spaces between, from which /metrics may be asked for."""

    traces_url: str = ""
    """Where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces. Empty: no spans are made."""

    connections_max: int = 0
    """0: as many as the process may have open files, less 256."""
    connections_per_address_max: int = 5_000
    """Those of `proxies` are not counted; of IPv6, a /64 network is one address."""
    header_bytes_max: int = 16 * 1024
    header_seconds_max: float = 10.0
    body_seconds_max: float = 60.0
    stalled_seconds_max: float = 60.0
    """A connection whose client takes nothing of what it was sent for so long is cut."""
    body_bytes_max: int = 8 * 1024 * 1024
    """Of a body as it comes, and of what is in it if it was compressed."""
    bodies_bytes_max: int = 128 * 1024 * 1024
    """Of all calls in hand together, those up to 64 KiB apart; beyond it they are told to come again."""
    calls_per_client_per_second_max: int = 1_000
    """On this node, twice that in a burst. 0: no limit."""
    turns_waiting_max: int = 10_000
    """Connections that wait for their turn; those whose requests have been held before are let in beyond it."""
    turn_seconds_max: float = 0.05
    """Who would wait longer for a turn, and neither asks to be held nor was, is refused."""
    requests_at_once_max: int = 64
    """Requests that are worked on; those of other connections wait in turn. Held ones do not count."""
    held_requests_per_client_max: int = 64
    held_requests_per_node_max: int = 50_000
    writes_waiting_max: int = 10_000
    records_per_commit_max: int = 5_000
    read_connections_max: int = 8
    write_connections_max: int = 4
    bulk_connections_max: int = 1
    """For snapshots and reconciliation: a pool of their own, so that first loads cannot starve the held.

    Each keeps a core of the database busy: about half of its cores is a good number.
    """
    primary_read_connections_max: int = 2
    """For reads on the primary while no standby keeps up with it. 0: the node is not ready meanwhile."""
    standby_behind_seconds_max: float = 2.0
    """A standby that does not show what the primary showed so long ago is not read from."""
    primary_look_seconds: float = 5.0
    """How often a node with several hosts in its database URL looks at all of them: two primaries must not stay."""
    console_connections_max: int = 2
    """For people at the console, and as many again for pages about merges: pools of their own, too."""
    console_watchers_max: int = 100
    """Pages of the console that live: each holds a request of its person's browser."""
    bulk_readers_max: int = 16
    hot_streams_bytes_max: int = 256 * 1024 * 1024
    """Memory for the versions of streams whose hashes are asked for as they move: 26 bytes a record."""

    catch_up_seconds: float = 5.0
    """How long a call waits for a version that this node has not seen yet (protocol 3 and 5)."""
    feed_poll_seconds: float = 1.0
    drain_notice_seconds: float = 0.0
    """How long /readyz alone says that the node drains: longer than the proxy before it takes to see that."""
    drain_seconds: float = 1.0
    """Over which held requests are then released."""
    statement_seconds_max: float = 30.0
    write_transaction_seconds_max: float = 5.0
    status_lease_seconds: float = 30.0
    status_batch_records_max: int = 500
    idempotency_days: int = 30
    access_lease_seconds: float = 30.0
    access_batch_students_max: int = 100
    access_batch_records_max: int = 500
    """Of an organisation that has moved: records looked at in one transaction."""
    access_lapse_share_max: float = 0.2
    """A day on which more than this share of all associations would lapse is not begun until an operator says so."""
    access_lapse_held_min: int = 1_000
    """So many may always lapse."""
    access_gains_alarm: int = 1_000
    """An organisation that comes to be associated with so many students within 24 hours is named in the log."""
    audit_days: int = 730
    """After which it is forgotten who read and wrote what."""
    retention_days: int = 400
    """After which tombstones and revocations are collected, one at least: a client away for longer gets full lists."""


def read_settings(flags: Mapping[str, object | None] | None = None, file: Path | None = None) -> Settings:
    """Flags over environment over file over defaults; SettingsError names every value of the wrong form."""
    given: dict[str, object] = {}
    if file is not None:
        given.update(_from_file(file))
    given.update(_from_environment(os.environ))
    given.update({name: value for name, value in (flags or {}).items() if value is not None})
    faults: list[str] = []
    values: dict[str, Any] = {}
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(Settings)}
    for name, value in given.items():
        if name not in kinds:
            faults.append(f"{name}: no such setting")
            continue
        try:
            values[name] = kinds[name](value)
        except (TypeError, ValueError):
            faults.append(f"{name}: {value!r} is not a value of type {kinds[name].__name__}")
        else:
            lowest = 1 if name in _ONE_OR_MORE else 0
            if isinstance(values[name], int | float) and values[name] < lowest:
                faults.append(f"{name}: {value!r} is below {lowest}")
    settings = replace(Settings(), **values)
    faults += _faults(settings)
    if faults:
        raise SettingsError("these settings cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
    return settings


def _faults(settings: Settings) -> Iterator[str]:
    """What is wrong with values of the right types."""
    yield from _faults_of_tls(settings)
    for name in ("proxies", "metrics_networks"):
        try:
            networks(getattr(settings, name))
        except ValueError as fault:
            yield f"{name}: {fault}"
    if not re.fullmatch("[A-Za-z0-9-]*", settings.client_certificate_header):
        yield f"client_certificate_header: {settings.client_certificate_header!r} cannot be the name of a header"
    if settings.client_certificate_header and not settings.proxies.split():
        yield "client_certificate_header: names a header that nobody is believed, as there are no proxies"
    if settings.traces_url and not is_installed():
        yield "traces_url: the library for it is not installed: pip install 'homeroom-server[traces]'"
    if not 1 <= settings.workers <= WORKERS_MAX:
        yield f"workers: {settings.workers!r} is not within 1 to {WORKERS_MAX}"
    try:
        ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"time_zone: {settings.time_zone!r} is not a time zone known here"


def _faults_of_tls(settings: Settings) -> Iterator[str]:
    if settings.tls_certificate:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
        except OSError as fault:  # what is wrong with the files themselves included
            yield f"tls_certificate, tls_key: no certificate with its key can be read from them: {fault}"
    if settings.tls_client_authority:
        if not settings.tls_certificate:
            yield "tls_client_authority: only where the node itself speaks TLS (tls_certificate)"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(settings.tls_client_authority)
        except OSError as fault:
            yield f"tls_client_authority: no authority can be read from it: {fault}"


def to_environment(settings: Settings) -> dict[str, str]:
    """What a process must have in its environment to read these settings."""
    return {variable: str(getattr(settings, name)) for name, variable in variables().items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    return {name: environment[variable] for name, variable in variables().items() if variable in environment}


def variables() -> dict[str, str]:
    """The environment variable of every setting, by the setting's name."""
    return {field.name: f"HOMEROOM_{field.name.upper()}" for field in fields(Settings)}


def _from_file(file: Path) -> dict[str, object]:
    try:
        return dict(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as fault:
        raise SettingsError(f"{file} cannot be read as TOML: {fault}") from fault
