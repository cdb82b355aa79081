"""What a client has to show besides its key: from where it calls, which certificate. An operator says so."""

import binascii
import hashlib
import re
import ssl
from collections.abc import Sequence
from ipaddress import ip_network

from homeroom_server.operations import OperationError
from homeroom_server.peers import Network
from homeroom_server.store import registry
from homeroom_server.store.connection import Conn

_PEM = re.compile(f"{re.escape(ssl.PEM_HEADER)}.*?{re.escape(ssl.PEM_FOOTER)}", re.DOTALL)


def fingerprint_of(pem: str) -> bytes:
    """SHA-256 of the first certificate of a PEM file, which is the client's own; OperationError if there is none."""
    found = _PEM.search(pem)
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0]) if found else b""
    except binascii.Error:
        der = b""
    if not der:
        raise OperationError("there is no certificate in this file: it takes one as PEM")
    return hashlib.sha256(der).digest()


async def set_networks(connection: Conn, name: str, said: Sequence[str]) -> None:
    """From where a client may call from now on; none: from everywhere. OperationError names every fault."""
    faults: list[str] = []
    networks: list[Network] = []
    for each in said:
        try:
            networks.append(ip_network(each))
        except ValueError as fault:
            faults.append(str(fault))
    async with connection.transaction():
        client = await registry.find_client(connection, name)
        if client is None:
            faults.append(f"there is no client named {name!r}")
        if client is None or faults:
            raise OperationError("; ".join(faults))
        await registry.replace_networks(connection, client, networks)
        await registry.announce_directory(connection)


async def add_certificate(connection: Conn, name: str, fingerprint: bytes, label: str) -> None:
    """From now on a client shows this certificate, or another of its own; OperationError if it is one already."""
    async with connection.transaction():
        client = await _find(connection, name)
        if not await registry.insert_certificate(connection, client, fingerprint, label):
            raise OperationError(f"{fingerprint.hex()} is a certificate of {name!r} already")
        await registry.announce_directory(connection)


async def remove_certificate(connection: Conn, name: str, fingerprint: bytes, *, last: bool) -> None:
    """From now on a client may not show this one.

    OperationError if it is none of its own, or unless `last` the only one: the key alone would count.
    """
    async with connection.transaction():
        client = await _find(connection, name)
        if not await registry.delete_certificate(connection, client, fingerprint):
            raise OperationError(f"{fingerprint.hex()} is no certificate of {name!r}")
        if not last and not await registry.has_certificates(connection, client):
            raise OperationError(f"it is the last one of {name!r}, whose key alone would count: add another, or --last")
        await registry.announce_directory(connection)


async def _find(connection: Conn, name: str) -> int:
    client = await registry.find_client(connection, name)
    if client is None:
        raise OperationError(f"there is no client named {name!r}")
    return client
