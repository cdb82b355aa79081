"""What does it cost when a student changes school, and does it grow with the province?

Students with ten documents each leave one school and come to another. A transfer is done when every record of every
student is with the new school and no longer with the old one.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
from rich.progress import Progress

from bench.province import build, organizations
from bench.rig import Rig, report, running_node, spread
from homeroom import Client

_DOCUMENTS = 10
_ROUNDS = 5
_YEAR = 2027
_ENROLMENT, _DOCUMENT = f"StudentSchoolEnrolment.{_YEAR}", f"StudentRecordDocument.{_YEAR}"
_SCHOOLS = ("0000", "0001")

Json = dict[str, Any]


def enrolment(record_id: str, student: str, school: str, version: int = 0, left: str | None = None) -> Json:
    body = {"stateProvinceId": student, "schoolCode": school, "schoolYear": _YEAR, "grade": "10"}
    body |= {"registrationStartDate": "2020-09-01"} | ({"registrationExitDate": left} if left else {})
    return {"id": record_id, "expectedVersion": version, "organization": f"S.{school}", "body": body}


async def submit(client: Client, name: str, records: Sequence[Json]) -> list[int]:
    """Their versions; every record must be accepted."""
    versions: list[int] = []
    for start in range(0, len(records), 500):
        answer = await client.submit(name, records[start : start + 500])
        wrong = [result for result in answer.results if result["rejections"]]
        assert not wrong, wrong[:1]
        versions += [result["coreVersion"] for result in answer.results]
    return versions


async def settled(connection: asyncpg.Connection) -> None:
    while await connection.fetchval("select 1 from access_trigger where due_on = '-infinity' limit 1"):
        await asyncio.sleep(0.01)


async def measure(rig: Rig, students: int) -> tuple[list[float], list[float]]:
    """(transfers a second when all students move at once, seconds of a transfer by itself)."""
    connection = await asyncpg.connect(rig.database_url)
    names = [f"9{number:08}" for number in range(students)]
    person = {"studentNames": [{"firstName": "A", "lastName": "B"}], "isDeactivated": False, "gender": "Female"}
    person |= {"birthDate": "2010-01-15"}
    together, alone = [], []
    async with Client(f"http://{rig.host}:{rig.port}", rig.key, "O.1") as client:
        owner = {"organization": f"S.{_SCHOOLS[0]}", "expectedVersion": 0}
        await submit(client, "Student", [owner | {"id": name, "body": person} for name in names])
        documents = [
            owner | {"id": str(uuid4()), "body": {"stateProvinceId": n}} for n in names for _ in range(_DOCUMENTS)
        ]
        await submit(client, _DOCUMENT, [document | {"organization": "S.0002"} for document in documents])
        held = [(str(uuid4()), name) for name in names]
        versions = await submit(client, _ENROLMENT, [enrolment(i, n, _SCHOOLS[0]) for i, n in held])
        await settled(connection)
        for number in range(_ROUNDS):
            old, new = _SCHOOLS[number % 2], _SCHOOLS[(number + 1) % 2]
            leaving = [enrolment(i, n, old, v, "2021-06-30") for (i, n), v in zip(held, versions, strict=True)]
            held = [(str(uuid4()), name) for name in names]
            begun = time.perf_counter()
            await submit(client, _ENROLMENT, leaving)
            versions = await submit(client, _ENROLMENT, [enrolment(i, n, new) for i, n in held])
            await settled(connection)
            together.append(students / (time.perf_counter() - begun))
            await check(connection, old, new, students)
        for number in range(20):
            (record_id, name), version = held[number], versions[number]
            old, new = _SCHOOLS[_ROUNDS % 2], _SCHOOLS[(_ROUNDS + 1) % 2]
            begun = time.perf_counter()
            await submit(client, _ENROLMENT, [enrolment(record_id, name, old, version, "2021-06-30")])
            await submit(client, _ENROLMENT, [enrolment(str(uuid4()), name, new)])
            await settled(connection)
            alone.append(time.perf_counter() - begun)
    await connection.close()
    return together, alone


async def check(connection: asyncpg.Connection, old: str, new: str, students: int) -> None:
    """The documents are with the new school and no longer with the old one."""
    for code, expected in ((new, students * _DOCUMENTS), (old, 0)):
        count = await connection.fetchval(
            """
            select count(*) from viewer v join organization o on o.number = v.organization
            join notification_type n on n.number = v.notification_type join record_type t on t.number = n.record_type
            where o.code = $1 and t.name = 'StudentRecordDocument' and v.state = 'live'
            """,
            f"S.{code}",
        )
        assert count == expected, (code, count)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[100_000, 3_000_000])
    arguments.add_argument("--students", type=int, default=500)
    given = arguments.parse_args()
    rows, figures = [], {}
    for records in given.sizes:
        schools = max(3, records // 4_000)
        with running_node("alberta", organizations(schools)) as rig:
            with Progress() as progress:
                asyncio.run(build(rig.database_url, records, progress, schools))
            together, alone = asyncio.run(measure(rig, given.students))
        milliseconds = [seconds * 1000 for seconds in alone]
        rows.append([f"{records:,}", spread(together), spread(milliseconds, 1)])
        figures[records] = {"together": together, "alone": alone}
    first, last = figures[given.sizes[0]], figures[given.sizes[-1]]
    grown = [median(first["together"]) / median(last["together"]), median(last["alone"]) / median(first["alone"])]
    rows.append(["largest / smallest, time", f"{grown[0]:.2f}", f"{grown[1]:.2f}"])
    columns = ["records in the province", f"transfers/s, {given.students} at once", "one transfer alone, ms"]
    report("transfer", columns, rows, {"sizes": figures, "grown": grown})


if __name__ == "__main__":
    main()
