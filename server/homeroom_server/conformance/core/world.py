"""What the cases of a run share: who calls, which types they write, how far their streams have been read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio

from homeroom_server.conformance.core.caller import Caller, Json, listed
from homeroom_server.conformance.core.expectation import BrokenPromiseError, NotTriedError, must
from homeroom_server.conformance.core.kind import Kind

FOLLOWS_SECONDS_MAX = 5.0
"""How long a status, or a change of access, may take to follow its cause. Protocol 8: normally within a second."""
WAKES_SECONDS_MAX = 1.0
"""How long after the answer of a Submit who waits for it may take to be told."""


@dataclass(slots=True)
class World:
    """`patience` multiplies every limit of time: for servers that are far away, or slow on purpose."""

    one: Caller
    others: Caller | None
    readers: Caller | None
    types: Mapping[str, Json]
    kinds: Mapping[str, Kind]
    missing: Mapping[str, str]
    patience: float
    body_bytes_max: int
    _cursors: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def callers(self) -> Sequence[Caller]:
        return [caller for caller in (self.one, self.others, self.readers) if caller is not None]

    @property
    def writers(self) -> Sequence[Caller]:
        return [caller for caller in (self.one, self.others) if caller is not None]

    @property
    def other(self) -> Caller:
        """A client of an organisation that shares nothing with the first."""
        if self.others is None:
            raise NotTriedError("give --other-key and --other-organization: a second client of another organisation")
        return self.others

    @property
    def reader(self) -> Caller:
        if self.readers is None:
            raise NotTriedError("give --reader-key: a client of the same organisation that may not write")
        return self.readers

    def kind(self, role: str = "type") -> Kind:
        """The type given or found for that role; NotTriedError, with what is to be given, if there is none."""
        if role not in self.kinds:
            raise NotTriedError(self.missing[role])
        return self.kinds[role]

    def status(self) -> tuple[Kind, str]:
        """The usual type and the name of its status type."""
        kind = self.kind()
        for definition in self.types.values():
            if definition.get("source") == kind.type_name:
                return kind, definition["name"] + kind.name.removeprefix(kind.type_name)
        raise NotTriedError(f"{kind.name} has no status: give --type a type that has one")

    def schema_kind(self) -> Kind:
        """A type whose schema wants members, so that an empty body fails it."""
        for definition in self.types.values():
            if "source" not in definition and definition.get("schema", {}).get("required"):
                year = f".{datetime.now(UTC).year}" if definition["schoolYear"] == "required" else ""
                return Kind(definition["name"] + year, definition["idFormat"], {})
        raise NotTriedError("no type of the catalogue has a schema with required members")

    async def read(self, caller: Caller, name: str, since: int, **members: Any) -> tuple[list[tuple[str, int]], int]:
        """Everything that a stream lists since a cursor, page after page, and the next cursor."""
        found: list[tuple[str, int]] = []
        while True:
            entry = await caller.look(name, since, **members)
            found += listed(entry)
            before, since = since, entry["maxCoreVersion"]
            if entry["complete"]:
                return found, since
            must(found, f"{name} is said to go on, but nothing was listed")
            is_full = entry["reason"] == "mismatch" or "listAfter" in members
            members = {"listAfter": found[-1][1]} if is_full else {}
            must(is_full or since > before, f"{name} is said to go on, but its cursor stays at {since}")

    async def cursor(self, caller: Caller, name: str) -> int:
        """A cursor of a stream of which the caller has been told everything."""
        place = caller.organization, name
        _, self._cursors[place] = await self.read(caller, name, self._cursors.get(place, 0))
        return self._cursors[place]

    async def until_listed(self, caller: Caller, name: str, since: int, record_id: str, above: int = 0) -> int:
        """Follow a stream until it lists a record at a version above that; the version."""
        limit = FOLLOWS_SECONDS_MAX * self.patience
        with anyio.move_on_after(limit):
            while True:
                entry = await caller.look(name, since, wait_seconds=1)
                for found, version in listed(entry):
                    if found == record_id and version > above:
                        return version
                since = entry["maxCoreVersion"]
        raise BrokenPromiseError(
            f"within {limit:.0f} seconds {name} did not list {record_id} to {caller.organization} above version {above}"
        )

    def in_time(self, what: str, seconds: float, limit: float) -> None:
        """It must not have taken longer than that, patience apart."""
        limit *= self.patience
        must(seconds <= limit, f"{what}: expected within {limit:.1f} seconds, seen after {seconds:.1f}")

    async def new(self, text: str = "a", role: str = "type") -> tuple[Kind, str, int]:
        """A new record of the first organisation: its type, id and version."""
        kind = self.kind(role)
        record_id = kind.new_id()
        (version,) = await self.one.write(kind.name, kind.record(record_id, text))
        return kind, record_id, version
