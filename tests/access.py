"""A catalogue in which students move, and what a test does to them."""

from datetime import date
from pathlib import Path
from typing import Any

import anyio

from homeroom import Client
from homeroom_server.services import Services
from homeroom_server.store import associations
from tests.records import accepted, record

CATALOGUE = """
[types.Student]
school_year = "none"
id_format = "code"
audience = "student"
student = "@id"
status = true

[types.Enrolment]
school_year = "required"
id_format = "code"
audience = "owner"
student = "studentId"
association = {school = "school", start = "start", end = "exit"}

[types.Document]
school_year = "none"
id_format = "code"
audience = "student"
student = "studentId"
status = true

[types.Mark]
school_year = "none"
id_format = "code"
audience = "owner"
student = "studentId"
shared_when = "/decision/approved"
status = true

[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"
"""
TYPES = ("Student", "StudentStatus", "Enrolment.2027", "Document", "DocumentStatus", "Mark", "MarkStatus", "Note")
YEAR = "2027"


def write_catalogue(folder: Path) -> str:
    path = folder / "access.toml"
    path.write_text(CATALOGUE, encoding="utf-8")
    return str(path)


async def enrol(client: Client, record_id: str, student: str, school: str, version: int = 0, **days: str) -> int:
    """An enrolment of a student at a school, by its owner; its version."""
    body: dict[str, Any] = {"studentId": student, "school": school, "start": "2020-09-01", **days}
    (found,) = await accepted(client, f"Enrolment.{YEAR}", record(record_id, body, version))
    return found


async def settled(services: Services) -> None:
    """Return when nobody's access and no status waits to be computed."""
    with anyio.fail_after(20):
        while True:
            async with services.pool.acquire() as connection:
                waiting = await connection.fetchval(
                    """
                    select (select count(*) from access_trigger where due_on <= (select access_day from core))
                         + (select count(*) from status_trigger where due_at <= now() + interval '1 minute')
                         + (select count(*) from organization_move)
                         + (select count(*) from core where access_day is null)
                    """
                )
            if not waiting:
                return
            await anyio.sleep(0.01)


async def turn_to(services: Services, day: date) -> None:
    """The access day moves on, as it does at midnight."""
    async with services.pool.acquire() as connection:
        await associations.move_access_day(connection, day)
    services.access_worker.wake()
    await settled(services)
