"""Many schools with systems of their own: what each holds and asks, made the same way for every benchmark."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from bench.loader import Connection, connect, request
from bench.rig import Rig
from homeroom.protocol import version_hash
from homeroom_server.auth import hash_key, new_key
from homeroom_server.store import registry

PUBLIC, OWNED = "Bulletin", ("Note", "Message", "Timetable")
_PER_CALL = 1_000
_BODY = {"text": "x" * 250, "grade": "10"}


def schools_csv(schools: int) -> str:
    """Organisations for so many schools, fifty to an authority."""
    authorities = -(-schools // 50)
    rows = ["code,name,parent", "O.1,Ministry,", *(f"A.{i},Authority {i},O.1" for i in range(authorities))]
    return "\n".join([*rows, *(f"S.{i:05},School {i},A.{i // 50}" for i in range(schools))])


@dataclass
class Crowd:
    """Who holds: a key for each, the schools' members side by side. What they saw moves on with `saw_…`."""

    ministry_key: str
    schools: Sequence[str]
    keys: Sequence[str]
    cursors: dict[str, int]
    versions: dict[str, list[list[int]]]
    """Per owned type, of each school."""
    bulletins: list[int]

    def school_of(self, index: int) -> int:
        return index * len(self.schools) // len(self.keys)

    def members(self, school: int) -> range:
        """Who asks for a school."""
        return range(*(-(-edge * len(self.keys) // len(self.schools)) for edge in (school, school + 1)))

    def question(self, index: int, wait_seconds: int) -> dict[str, Any]:
        """What one asks: four types, each with the hash of what it holds."""
        school = self.school_of(index)
        types = [entry(PUBLIC, self.cursors[PUBLIC], self.bulletins)]
        types += [entry(name, self.cursors[name], self.versions[name][school]) for name in OWNED]
        return {"waitSeconds": wait_seconds, "types": types}

    def ask(self, index: int, wait_seconds: int = 300) -> bytes:
        """The question as bytes."""
        school = self.schools[self.school_of(index)]
        return request(self.keys[index], "/v1/is-data-available", self.question(index, wait_seconds), school)

    def ask_all(self, wait_seconds: int = 300) -> list[bytes]:
        return [self.ask(index, wait_seconds) for index in range(len(self.keys))]

    def bulletin(self, record_id: str) -> bytes:
        """A change that everyone may see, as bytes."""
        return request(self.ministry_key, f"/v1/submit/{PUBLIC}", {"records": [_record(record_id)]})

    def note(self, school: int) -> bytes:
        """A change that one school may see (and its authority, and the ministry)."""
        record = _record(uuid4().hex) | {"organization": self.schools[school]}
        return request(self.ministry_key, "/v1/submit/Note", {"records": [record]})

    def saw_bulletin(self, answer: bytes) -> None:
        self.cursors[PUBLIC] = _version(answer)
        self.bulletins.append(self.cursors[PUBLIC])

    def saw_note(self, school: int, answer: bytes) -> None:
        self.cursors["Note"] = _version(answer)
        self.versions["Note"][school].append(self.cursors["Note"])


async def gathered(rig: Rig, held: int, schools: int) -> Crowd:
    """A crowd of so many on a new database: clients and keys by SQL, a record of each owned type for each school."""
    codes = [f"S.{i:05}" for i in range(schools)]
    keys = await register(rig.database_url, [codes[i * schools // held] for i in range(held)])
    writer = await connect(rig.host, rig.port)
    versions: dict[str, list[list[int]]] = {}
    for name in OWNED:
        found: list[int] = []
        for start in range(0, schools, _PER_CALL):
            some = [_record(uuid4().hex) | {"organization": code} for code in codes[start : start + _PER_CALL]]
            found += _versions(await writer.send(request(rig.key, f"/v1/submit/{name}", {"records": some})))
        versions[name] = [[version] for version in found]
    first = await writer.send(request(rig.key, f"/v1/submit/{PUBLIC}", {"records": [_record(uuid4().hex)]}))
    crowd = Crowd(rig.key, codes, keys, {}, versions, _versions(first))
    crowd.cursors = await _bookmarks(rig, writer, {name: max(found)[0] for name, found in versions.items()})
    writer.close()
    return crowd


async def ready_change(rig: Rig, crowd: Crowd) -> Callable[[], Awaitable[None]]:
    """A change of a public record, ready to be sent."""
    writer = await connect(rig.host, rig.port, rig.trust)
    content = crowd.bulletin(uuid4().hex)

    async def change() -> None:
        crowd.saw_bulletin(await writer.send(content))
        writer.close()

    return change


def entry(name: str, cursor: int, versions: Sequence[int]) -> dict[str, Any]:
    return {"notificationType": name, "maxCoreVersion": cursor, "versionHash": version_hash(versions)}


async def _bookmarks(rig: Rig, connection: Connection, seen: dict[str, int]) -> dict[str, int]:
    """What each type's cursor is for somebody who has seen everything."""
    types = [{"notificationType": name, "maxCoreVersion": seen.get(name, 0)} for name in (PUBLIC, *OWNED)]
    answer = await connection.send(request(rig.key, "/v1/is-data-available", {"waitSeconds": 0, "types": types}))
    return {part["notificationType"]: part["maxCoreVersion"] for part in orjson.loads(answer)["types"]}


async def register(database_url: str, codes: Sequence[str]) -> list[str]:
    """The key of a new client for each of these organisations."""
    keys = [new_key() for _ in codes]
    names = [f"system {number}" for number in range(len(codes))]
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            secret = await registry.read_key_secret(connection)
            await connection.execute("insert into client (name, role) select unnest($1::text[]), 'reader'", names)
            await connection.execute(
                """
                insert into client_organization (client, organization)
                select c.number, o.number from unnest($1::text[], $2::text[]) as given(name, code)
                join client c on c.name = given.name join organization o on o.code = given.code
                """,
                names,
                codes,
            )
            await connection.execute(
                """
                insert into api_key (hash, client)
                select given.hash, c.number from unnest($1::text[], $2::bytea[]) as given(name, hash)
                join client c on c.name = given.name
                """,
                names,
                [hash_key(secret, key) for key in keys],
            )
            await registry.announce_directory(connection)
    finally:
        await connection.close()
    return keys


def _record(record_id: str) -> dict[str, Any]:
    return {"id": record_id, "expectedVersion": 0, "body": _BODY}


def _versions(answer: bytes) -> list[int]:
    return [result["coreVersion"] for result in orjson.loads(answer)["results"]]


def _version(answer: bytes) -> int:
    return _versions(answer)[0]
