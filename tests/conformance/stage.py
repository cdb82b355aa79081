"""A Core on which the suite has something for every case to try."""

import json
from collections.abc import Mapping
from pathlib import Path

from homeroom_server.auth import Role
from homeroom_server.conformance.core.discovery import Given
from tests.conftest import Core
from tests.records import Json

CATALOGUE = """\
[types.Note]
school_year = "none"
id_format = "code"
audience = "owner"
status = "tests.conformance.alerting"

[types.Plan]
school_year = "required"
id_format = "uuid"
audience = "owner"

[types.Student]
school_year = "none"
id_format = "code"
audience = "student"
student = "@id"

[types.Enrolment]
school_year = "required"
id_format = "code"
audience = "owner"
student = "studentId"
schema = "enrolment.json"
association = {school = "school", start = "start", end = "exit"}
"""
SCHEMA = {"type": "object", "required": ["studentId", "school", "start"]}
BODIES = {"Enrolment": {"studentId": "@student", "school": "@school", "start": "@today", "text": "@text"}}


def write_catalogue(folder: Path) -> str:
    (folder / "enrolment.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    path = folder / "conformance.toml"
    path.write_text(CATALOGUE, encoding="utf-8")
    return str(path)


async def given(core: Core, school: str, other_school: str, bodies: Mapping[str, Json] = BODIES) -> Given:
    """The keys of three new clients, and bodies."""
    return Given(
        await core.key(school),
        school,
        await core.key(other_school),
        other_school,
        await core.key(school, Role.READER),
        bodies=bodies,
    )
