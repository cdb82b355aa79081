"""The same calls and the same 2,000 held requests, in provinces of different sizes.

A school keeps its size (4,000 records), the province has more of them. Each round calls for other schools, as long as
there are some, on a new node: at the first touch it knows nothing of them, and PostgreSQL has read only their versions.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import randrange
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import uvloop
from rich.progress import Progress, track

from bench.crowd import entry, register
from bench.footprint import settled
from bench.hang_ups import until_held
from bench.holder import holding_process
from bench.loader import connect, request
from bench.province import build, organizations
from bench.rig import Bed, prepared_database, serving
from bench.school_calls import SchoolCalls, read_stream
from bench.wakes import memory_of_holding
from homeroom import NotificationType
from homeroom_server.store import types

_CALLED = NotificationType("CourseEnrolment", 2027)
_WOKEN = NotificationType("CourseEnrolment", 2026)
_PUBLIC = NotificationType("Section", 2027)
_OWNED = (NotificationType("Student"), NotificationType("StudentSchoolEnrolment", 2027), _CALLED)
_RECORDS_PER_SCHOOL = 4_000
RECORDS_MIN = 2 * _RECORDS_PER_SCHOOL
_SCHOOLS_MAX = 24
_SETTLE_SECONDS = 10
"""What the PostgreSQLs are given to finish writing after the builds."""
_CHANGES = 24
_PAUSE_SECONDS = 0.05
_AT_ONCE = 50
_VISIT_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class _Province:
    """A database of one size, the schools that are looked at (as many at every size), and the keys of who holds."""

    bed: Bed
    schools: Sequence[str]
    keys: Sequence[str]


def measure(sizes: Sequence[int], held: int, times: int) -> dict[int, list[dict[str, float]]]:
    """The figures of each round, by size. All provinces are built first, then they take turns."""
    with ExitStack() as stack:
        provinces = {}
        for records in sizes:
            schools = records // _RECORDS_PER_SCHOOL
            bed = stack.enter_context(prepared_database("alberta", organizations(schools)))
            chosen = min(_SCHOOLS_MAX, min(sizes) // _RECORDS_PER_SCHOOL)
            names = [f"S.{i * schools // chosen:04}" for i in range(chosen)]
            provinces[records] = _Province(bed, names, uvloop.run(_built(bed, records, schools, names, held)))
        time.sleep(_SETTLE_SECONDS)
        found: dict[int, list[dict[str, float]]] = {records: [] for records in sizes}
        for turn in track(range(times), "calls"):
            for records, province in provinces.items():
                found[records].append(uvloop.run(_calls(province, province.schools[turn::times] or province.schools)))
        for turn in track(range(times), "holding"):
            for records, province in provinces.items():
                found[records][turn] |= uvloop.run(_holding(province))
    return found


async def _built(bed: Bed, records: int, schools: int, names: Sequence[str], held: int) -> list[str]:
    """Fill the database; the keys of those who will hold, school after school."""
    begun = time.perf_counter()
    with Progress() as progress:
        await build(bed.database_url, records, progress, schools)
    print(f"{records:,} records built in {time.perf_counter() - begun:.0f} s")
    return await register(bed.database_url, [_school(names, index) for index in range(held)])


async def _calls(province: _Province, schools: Sequence[str]) -> dict[str, float]:
    """On a new node; it is quiet again at the end."""
    database = await asyncpg.connect(province.bed.database_url)
    streams = {school: await read_stream(database, _CALLED, school) for school in schools}
    await database.close()
    with serving(province.bed) as rig:
        await settled(rig.pid, province.bed.postgres_pid)
        connection = await connect(rig.host, rig.port)
        found = await SchoolCalls(connection, rig.key, _CALLED, _enrolment, streams).figures()
        connection.close()
        await settled(rig.pid, province.bed.postgres_pid)
    return found


async def _holding(province: _Province) -> dict[str, float]:
    """Memory per held on a new node, and on one that all have asked; then wakes of one beside those who are held."""
    bed, found = province.bed, {}
    questions = await _questions(province)
    visits, asks = ([_ask(province, questions, i, wait) for i in range(len(province.keys))] for wait in (0, 300))
    async with holding_process() as holder:
        with serving(bed) as rig:
            grown = await memory_of_holding(holder, (rig.host, rig.port), asks, rig.pid, bed.postgres_pid)
            found["KB per held"] = grown / 1_000
            await holder.close()
        with serving(bed) as rig:
            await holder.visit(rig.host, rig.port, visits, _AT_ONCE, _VISIT_SECONDS_MAX)
            grown = await memory_of_holding(holder, (rig.host, rig.port), asks, rig.pid, bed.postgres_pid)
            found["KB per held, warm"] = grown / 1_000
            found["submit to the answer of one held, ms"] = median(await _wakes(province, rig.host, rig.port))
            await holder.close()
    return found


async def _wakes(province: _Province, host: str, port: int) -> list[float]:
    """Milliseconds from sending a school's record to the answer of the one who holds for it; nobody else is woken."""
    waiting, writer, health = [await connect(host, port) for _ in range(3)]
    database = await asyncpg.connect(province.bed.database_url)
    row = await types.find_type(database, _WOKEN)
    await database.close()
    assert row is not None, "it has records"
    cursor, spent = row.watermark, []
    for change in range(_CHANGES):
        school = province.schools[change % len(province.schools)]
        asked = {"waitSeconds": 300, "types": [{"notificationType": str(_WOKEN), "maxCoreVersion": cursor}]}
        held = asyncio.ensure_future(waiting.send(request(province.bed.key, "/v1/is-data-available", asked, school)))
        await until_held(health, len(province.keys) + 1)
        records = [{"id": str(uuid4()), "expectedVersion": 0, "body": _enrolment()}]
        submit = request(province.bed.key, f"/v1/submit/{_WOKEN}", {"records": records}, school)
        begun = time.perf_counter()
        sent = asyncio.ensure_future(writer.send(submit))
        cursor = orjson.loads(await held)["types"][0]["maxCoreVersion"]
        spent.append((time.perf_counter() - begun) * 1000)
        await sent
        await asyncio.sleep(_PAUSE_SECONDS)
    for connection in (waiting, writer, health):
        connection.close()
    return spent


async def _questions(province: _Province) -> dict[str, list[dict[str, Any]]]:
    """What a school asks: four types with their hashes, from where they stand."""
    database = await asyncpg.connect(province.bed.database_url)
    watermarks = {}
    for wanted in (_PUBLIC, *_OWNED):
        row = await types.find_type(database, wanted)
        assert row is not None, "it has records"
        watermarks[wanted] = row.watermark

    async def asked(wanted: NotificationType, school: str | None) -> dict[str, Any]:
        versions = [version for _, version in await read_stream(database, wanted, school)]
        return entry(str(wanted), watermarks[wanted], versions)

    public = await asked(_PUBLIC, None)
    found = {name: [public, *[await asked(wanted, name) for wanted in _OWNED]] for name in province.schools}
    await database.close()
    return found


def _ask(province: _Province, questions: dict[str, list[dict[str, Any]]], index: int, wait_seconds: int) -> bytes:
    school = _school(province.schools, index)
    body = {"waitSeconds": wait_seconds, "types": questions[school]}
    return request(province.keys[index], "/v1/is-data-available", body, school)


def _school(names: Sequence[str], index: int) -> str:
    return names[index % len(names)]


def _enrolment() -> dict[str, Any]:
    body = {"stateProvinceId": f"{randrange(10**9):09}", "courseCode": "MAT1791", "sectionRefId": str(uuid4())}
    return body | {"courseEnrolmentStatus": "Registered", "creditsAttempted": 5}
