"""Who calls, for whom, and whether they may: API keys, clients, organisations."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeroom.errors import Code, error
from homeroom.protocol import MINISTRY
from homeroom_server.single_flight import SingleFlight
from homeroom_server.store import registry

_KEY_PREFIX = "hr_"


class Role(StrEnum):
    """What a client may do: readers read, writers also submit and acknowledge."""

    READER = "reader"
    WRITER = "writer"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, acting for one of the organisations that it represents; true as of that version of the directory."""

    directory_version: int
    client: int
    client_name: str
    key_hash: bytes
    role: Role
    organization: registry.OrganizationRow

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


class Directory:
    """All organisations, clients and keys in memory, read again when the database's directory version moves."""

    def __init__(self, flights: SingleFlight) -> None:
        self._flights = flights
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

    async def identify(self, authorization: str | None) -> registry.KeyRow:
        """The key with which somebody calls. Raises StopCalling: 1001 no such key, 1002 and 1003 disabled."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise error(Code.NO_SUCH_KEY, "send the API key as 'Authorization: Bearer <key>'")
        hashed = hash_key(self._content.key_secret, key.strip())
        if hashed not in self._content.keys:
            await self.refresh()  # it may have been made a moment ago, on another node
        self._client_of(hashed)
        return self._content.keys[hashed]  # not a copy for each request that is held

    def caller(self, key: registry.KeyRow, acting_for: str | None) -> Caller:
        """Who calls with a key, and for whom. Raises StopCalling 1008: organisation not represented."""
        client = self._content.clients[key.client]
        organization = self._acting(client, acting_for)
        return Caller(self.version, client.number, client.name, key.hash, Role(client.role), organization)

    def check_again(self, caller: Caller) -> None:
        """Raises as `identify` and `caller` if the key or the client has been disabled since."""
        self._acting(self._client_of(caller.key_hash), caller.organization.code)

    def represented(self, caller: Caller) -> list[registry.OrganizationRow]:
        """Every organisation that this caller's client may act for, by code."""
        client = self._content.clients[caller.client]
        rows = self._content.organizations.values()
        return sorted((row for row in rows if self._represents(client, row)), key=lambda row: row.code)

    def _client_of(self, hashed: bytes) -> registry.ClientRow:
        key = self._content.keys.get(hashed)
        if key is None:
            raise error(Code.NO_SUCH_KEY, "this API key is not known here")
        if key.disabled:
            raise error(Code.KEY_DISABLED, "this API key has been disabled")
        client = self._content.clients[key.client]
        if client.disabled:
            raise error(Code.CLIENT_DISABLED, "this client has been disabled")
        return client

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
