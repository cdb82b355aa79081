"""What a school's system calls, timed one by one: the same calls whatever the size of the province, whoever is held."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from bench.crowd import entry
from bench.loader import Connection, request
from homeroom import NotificationType
from homeroom_server.store import types

_AGAIN = 2
_PAGE = 100
_LONE, _MANY = "a lone submit", f"submit of {_PAGE}"
_PAUSE_SECONDS = {_LONE: 0.03, _MANY: 0.1}
"""After a submit: statuses are calculated behind it."""

Stream = Sequence[tuple[str, int]]
"""What a school sees of a type: (id, version), by version."""


@dataclass(frozen=True, slots=True)
class SchoolCalls:
    """One connection, on which a school after the other is called for; each has more than a page of records."""

    connection: Connection
    key: str
    notification_type: NotificationType
    body: Callable[[], dict[str, Any]]
    streams: Mapping[str, Stream]

    async def figures(self) -> dict[str, float]:
        """Median milliseconds of each kind of call: at the first touch of a school, and again."""
        kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "nothing new": self._nothing_new,
            f"delta of {_PAGE}": self._delta,
            f"Get of {_PAGE}": self._get,
            "a school's hash": self._hash,
            _LONE: partial(self._submit, 1),
            _MANY: partial(self._submit, _PAGE),
        }
        found = {}
        for kind, call in kinds.items():
            pause_seconds = _PAUSE_SECONDS.get(kind, 0)
            for name, times in ((f"{kind}, first touch, ms", 1), (f"{kind}, ms", _AGAIN)):
                found[name] = median([await _timed(call, s, pause_seconds) for _ in range(times) for s in self.streams])
        return found

    async def _nothing_new(self, school: str) -> None:
        assert await self._available(school, self.streams[school][-1][1], None) == []

    async def _delta(self, school: str) -> None:
        assert len(await self._available(school, self.streams[school][-_PAGE - 1][1], None)) == _PAGE

    async def _hash(self, school: str) -> None:
        versions = [version for _, version in self.streams[school]]
        assert await self._available(school, versions[-1], versions) == []

    async def _get(self, school: str) -> None:
        records = [{"id": record_id, "expectedVersion": version} for record_id, version in self.streams[school][:_PAGE]]
        answer = await self._send("get", school, records)
        assert answer.count(b'"Normal"') == _PAGE

    async def _submit(self, count: int, school: str) -> None:
        records = [{"id": str(uuid4()), "expectedVersion": 0, "body": self.body()} for _ in range(count)]
        answer = await self._send("submit", school, records)
        assert answer.count(b'"rejections":[]') == count

    async def _send(self, call: str, school: str, records: Sequence[dict[str, Any]]) -> bytes:
        path = f"/v1/{call}/{self.notification_type}"
        return await self.connection.send(request(self.key, path, {"records": records}, school))

    async def _available(self, school: str, cursor: int, versions: Sequence[int] | None) -> list[Any]:
        asked = {"notificationType": str(self.notification_type), "maxCoreVersion": cursor}
        if versions is not None:
            asked = entry(str(self.notification_type), cursor, versions)
        body = {"waitSeconds": 0, "types": [asked]}
        answer = await self.connection.send(request(self.key, "/v1/is-data-available", body, school))
        records: list[Any] = orjson.loads(answer)["types"][0]["records"]
        return records


async def read_stream(connection: asyncpg.Connection, wanted: NotificationType, school: str | None) -> Stream:
    """What a school sees of a type; None: all that there is, as of a public type."""
    row = await types.find_type(connection, wanted)
    assert row is not None, f"{wanted} has records"
    found = await connection.fetch(
        """
        select id, version from record where notification_type = $1 and $2::text is null and not deleted
        union all
        select v.id, v.version from viewer v join organization o on o.number = v.organization
        where v.notification_type = $1 and o.code = $2 and v.state = 'live'
        order by version
        """,
        row.number,
        school,
    )
    return [(row["id"], row["version"]) for row in found]


async def _timed(call: Callable[[str], Awaitable[None]], school: str, pause_seconds: float) -> float:
    begun = time.perf_counter()
    await call(school)
    spent = (time.perf_counter() - begun) * 1000
    await asyncio.sleep(pause_seconds)
    return spent
