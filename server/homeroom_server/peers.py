"""From where a request comes: what its connection says and, of proxies that are ours, what they say."""

import hashlib
import itertools
import re
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import Request
from starlette.types import Scope

PEER_EXTENSION = "homeroom.peer"
"""The ASGI extension: its `address` tells the connection's other end, which costs memory and is asked for seldom.

Its `certificate` tells, as DER, which certificate that end has shown and TLS has verified; None if none.
"""
REQUEST_ID = "homeroom.request_id"
"""In a request's scope: by what name the log tells of it."""
REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{8,128}")
_ADDRESSES_KEPT = 256
"""Of which it is remembered whether they are proxies of ours: asked with each call, and slow to tell."""
_FINGERPRINT = re.compile("[0-9a-f]{64}")

Network = IPv4Network | IPv6Network


class Peers:
    """`proxies`: networks whose `X-Forwarded-For`, `X-Forwarded-Proto` and `certificate_header` are believed."""

    def __init__(self, proxies: Sequence[Network], certificate_header: str = "") -> None:
        self._proxies = proxies
        self._certificate_header = certificate_header
        self._is_proxy = lru_cache(_ADDRESSES_KEPT)(lambda said: self._is_ours(_canonical(said)))
        self._process = secrets.token_hex(6).encode()
        self._numbers = itertools.count(1)

    def address(self, request: Request) -> str:
        """The caller's; empty if nobody can tell. A proxy's own address is a caller's where it names none."""
        here = _connected(request)
        if not self._is_ours(here):
            return here
        named = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
        for said in reversed(named):
            if not (found := _canonical(said)):
                break
            here = found
            if not self._is_ours(here):
                break
        return here

    def certificate(self, request: Request) -> bytes | None:
        """SHA-256 of the certificate that the caller has shown, to this node or to the proxy before it."""
        said = request.headers.getlist(self._certificate_header) if self._certificate_header else []
        if said and self._is_ours(_connected(request)):
            return fingerprint(said[0]) if len(said) == 1 else None  # twice: one of them is not our proxy's
        extension = request.scope.get("extensions", {}).get(PEER_EXTENSION)
        tell: Callable[[], bytes | None] | None = None if extension is None else extension["certificate"]
        shown = None if tell is None else tell()
        return None if shown is None else hashlib.sha256(shown).digest()

    def request_id(self, request: Request) -> bytes:
        """What a proxy that is ours calls a request, where that is well-formed; else a name that no other has."""
        said = [value for name, value in request.scope["headers"] if name == REQUEST_ID_HEADER]
        if len(said) == 1 and _REQUEST_ID.fullmatch(said[0]) and self._is_proxy(_other_end(request)):
            return bytes(said[0])
        return b"%s-%x" % (self._process, next(self._numbers))

    def is_secure(self, request: Request) -> bool:
        """Whether the caller speaks TLS, to this node or to the proxy before it."""
        if request.url.scheme == "https":
            return True
        said = request.headers.get("x-forwarded-proto", "")
        return self._is_ours(_connected(request)) and said.rpartition(",")[2].strip().lower() == "https"

    def counted_as(self, said: str) -> bytes:
        """What connections of an address are counted under, those of IPv6 by their /64 network.

        Empty for proxies that are ours, and where nobody can tell.
        """
        address = _canonical(said)
        if not address or self._is_ours(address):
            return b""
        packed = ip_address(address).packed
        return packed if len(packed) == 4 else packed[:8]

    def _is_ours(self, address: str) -> bool:
        return bool(address) and is_within(address, self._proxies)


class Origin:
    """From where one request comes: found out when it is asked for."""

    __slots__ = ("_peers", "_request")

    def __init__(self, peers: Peers, request: Request) -> None:
        self._peers = peers
        self._request = request

    def address(self) -> str:
        """As `Peers.address`."""
        return self._peers.address(self._request)

    def certificate(self) -> bytes | None:
        """As `Peers.certificate`."""
        return self._peers.certificate(self._request)

    def request_id(self) -> str:
        """By what name the log tells of the request."""
        return request_id_of(self._request.scope)


def request_id_of(scope: Scope) -> str:
    """By what name the log tells of a request; empty outside the application."""
    return str(scope.get(REQUEST_ID, b""), "ascii")


def fingerprint(said: str) -> bytes | None:
    """A SHA-256 as it is written, in hex with or without colons; None if it is none."""
    plain = said.strip().replace(":", "").lower()
    return bytes.fromhex(plain) if _FINGERPRINT.fullmatch(plain) else None


def networks(said: str) -> list[Network]:
    """Addresses and networks with spaces between; ValueError names the first that is none."""
    return [ip_network(each) for each in said.split()]


def is_within(address: str, among: Sequence[Network]) -> bool:
    """Whether an address lies in one of these networks."""
    parsed = ip_address(address)
    return any(parsed in network for network in among)


def _connected(request: Request) -> str:
    return _canonical(_other_end(request))


def _other_end(request: Request) -> str:
    """As the connection says it; empty if nobody can tell."""
    extension = request.scope.get("extensions", {}).get(PEER_EXTENSION)
    tell: Callable[[], str] | None = None if extension is None else extension["address"]
    if tell is not None:
        return tell()
    return request.client.host if request.client is not None else ""


def _canonical(said: str) -> str:
    """As `ipaddress` writes it; an IPv4 address in IPv6's clothes as itself; empty if it is none."""
    try:
        address: IPv4Address | IPv6Address = ip_address(said.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
