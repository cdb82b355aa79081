"""Who calls, for whom, and whether they may: API keys, clients, organisations.

No comparison here tells by its time how much of a guess is right: a key is looked for by its hash, keyed with a secret
that nobody outside knows, so what a guesser sends says nothing about what is compared.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from homeroom.errors import Code, error
from homeroom.protocol import MINISTRY
from homeroom_server.guessing import Guesses
from homeroom_server.peers import Origin, is_within
from homeroom_server.single_flight import SingleFlight
from homeroom_server.store import registry

_KEY_PREFIX = "hr_"


class Role(StrEnum):
    """What a client may do: readers read, writers also submit and acknowledge."""

    READER = "reader"
    WRITER = "writer"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows besides its key: from where it calls (empty: nobody can tell), and which certificate."""

    address: str
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, acting for one of the organisations that it represents; true as of that version of the directory.

    `shown`: None where the client needs its key alone.
    """

    directory_version: int
    client: int
    client_name: str
    key_hash: bytes
    key_expires_at: datetime | None
    role: Role
    organization: registry.OrganizationRow
    shown: Shown | None

    @property
    def is_ministry(self) -> bool:
        return self.organization.code == MINISTRY

    def may_write_for(self, writers: Sequence[int]) -> bool:
        """Whether it is one of the organisations that write a record, or the ministry (protocol 6)."""
        return self.is_ministry or self.organization.number in writers


def new_key() -> str:
    """A key of 256 random bits."""
    return _KEY_PREFIX + secrets.token_urlsafe(32)


def hash_key(secret: bytes, key: str) -> bytes:
    return hmac.digest(secret, key.encode("utf-8", "surrogateescape"), hashlib.sha256)


def has_expired(expires_at: datetime | None) -> bool:
    """Whether that moment has come, by this machine's clock."""
    return expires_at is not None and expires_at <= datetime.now(UTC)


class Directory:
    """All organisations, clients and keys in memory, read again when the database's directory version moves.

    `used`: hashes of the keys that were used since somebody took them from here.
    """

    def __init__(self, flights: SingleFlight, looks: SingleFlight) -> None:
        """Through `looks` it asks whether its version has moved, for the sake of a key that it does not know."""
        self._flights = flights
        self._looks = looks
        self._guesses = Guesses()
        self.used: set[bytes] = set()
        self._content = registry.DirectoryContent(0, b"", {}, {}, {})
        self._by_number: Mapping[int, registry.OrganizationRow] = {}
        self.version = 0

    async def refresh(self) -> None:
        """Read everything again."""
        content = await self._flights.read("directory", registry.read_directory)
        if content.version >= self._content.version:
            self._content, self.version = content, content.version
            self._by_number = {row.number: row for row in content.organizations.values()}

    def organization(self, code: str) -> registry.OrganizationRow | None:
        return self._content.organizations.get(code)

    def codes_below(self, numbers: Sequence[int]) -> frozenset[str] | None:
        """Codes of these organisations and of all below them; None: of the ministry too, so of all."""
        if any(number in self._by_number and self._by_number[number].code == MINISTRY for number in numbers):
            return None
        rows = self._content.organizations.values()
        return frozenset(row.code for row in rows if not set(numbers).isdisjoint(row.lineage))

    async def identify(self, authorization: str | None, origin: Origin) -> registry.KeyRow:
        """The key with which somebody calls.

        Raises StopCalling: 1001 no such key, 1002 and 1003 disabled; RetryLater 2004 if its address sends too many
        unknown keys.
        """
        scheme, _, said = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not said.strip():
            raise error(Code.NO_SUCH_KEY, "send the API key as 'Authorization: Bearer <key>'")
        hashed = hash_key(self._content.key_secret, said.strip())
        if hashed not in self._content.keys:
            await self._look_again(hashed, origin)
        _, key = self._client_of(hashed)
        return key  # its own hash, not a copy for each request that is held

    def caller(self, key: registry.KeyRow, acting_for: str | None, origin: Origin) -> Caller:
        """Who calls with a key, and for whom.

        Raises StopCalling: 1007 called from elsewhere or without its certificate, 1008 organisation not represented.
        """
        client = self._content.clients[key.client]
        shown = None
        if client.is_bound:
            shown = Shown(origin.address(), origin.certificate())
            _check_bounds(client, shown)
        organization = self._acting(client, acting_for)
        self.used.add(key.hash)
        role = Role(client.role)
        return Caller(self.version, client.number, client.name, key.hash, key.expires_at, role, organization, shown)

    def check_again(self, caller: Caller) -> None:
        """Raises as `identify` and `caller` if key or client do not count any more.

        Raises RetryLater 2001 if its client has to show more than it had to then.
        """
        if caller.directory_version == self.version and not has_expired(caller.key_expires_at):
            return
        client, _ = self._client_of(caller.key_hash)
        if client.is_bound:
            _check_bounds(client, caller.shown)
        self._acting(client, caller.organization.code)

    def represented(self, caller: Caller) -> list[registry.OrganizationRow]:
        """Every organisation that this caller's client may act for, by code."""
        client = self._content.clients[caller.client]
        rows = self._content.organizations.values()
        return sorted((row for row in rows if self._represents(client, row)), key=lambda row: row.code)

    async def _look_again(self, hashed: bytes, origin: Origin) -> None:
        """An unknown key may have been made a moment ago, on another node; who guesses learns no more than others."""
        address = origin.address()
        self._guesses.check(address)
        if await self._looks.read("directory version", registry.read_directory_version) > self.version:
            await self.refresh()
        if hashed not in self._content.keys:
            self._guesses.note(address, origin.request_id())

    def _client_of(self, hashed: bytes) -> tuple[registry.ClientRow, registry.KeyRow]:
        key = self._content.keys.get(hashed)
        if key is None:
            raise error(Code.NO_SUCH_KEY, "this API key is not known here")
        if key.disabled:
            raise error(Code.KEY_DISABLED, "this API key has been disabled")
        if key.expires_at is not None and has_expired(key.expires_at):
            raise error(Code.KEY_DISABLED, f"this API key expired on {key.expires_at:%Y-%m-%d}: rotate it")
        client = self._content.clients[key.client]
        if client.disabled:
            raise error(Code.CLIENT_DISABLED, "this client has been disabled")
        return client, key

    def _acting(self, client: registry.ClientRow, code: str | None) -> registry.OrganizationRow:
        if code is None:
            if len(client.organizations) != 1:
                raise error(
                    Code.ORGANIZATION_NOT_REPRESENTED,
                    "this client represents several organisations: name one in the Organization header",
                )
            return self._by_number[client.organizations[0]]
        organization = self._content.organizations.get(code)
        if organization is None or not self._represents(client, organization):
            raise error(Code.ORGANIZATION_NOT_REPRESENTED, f"this client does not represent {code[:40]!r}")
        return organization

    def _represents(self, client: registry.ClientRow, organization: registry.OrganizationRow) -> bool:
        registered = client.organizations
        if any(number in organization.lineage or number == organization.number for number in registered):
            return True
        return any(self._by_number[number].code == MINISTRY for number in registered)


def _check_bounds(client: registry.ClientRow, shown: Shown | None) -> None:
    """Raises StopCalling 1007 unless a bound client's networks and certificates allow what is shown.

    Raises RetryLater 2001 if nothing was asked to be shown.
    """
    if shown is None:
        raise error(Code.CORE_NOT_AVAILABLE, "what this client has to show has changed: ask again")
    if client.networks and not (shown.address and is_within(shown.address, client.networks)):
        whence = shown.address or "an address that nobody can tell"
        raise error(Code.SERVICE_NOT_OPEN, f"this client may not call from {whence}")
    if client.certificates and shown.certificate is None:
        raise error(Code.SERVICE_NOT_OPEN, "this client has to show its certificate besides the key")
    if client.certificates and shown.certificate not in client.certificates:
        raise error(Code.SERVICE_NOT_OPEN, "the certificate that was shown is none of this client's")
