"""One small roster twice: as the files of test_oneroster, and as a OneRoster service gives it."""

from datetime import UTC, datetime
from typing import Any

from homeroom_merge.connectors.connector import Connector, Fetch
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.connectors.oneroster_rest import OneRosterRest
from homeroom_merge.connectors.oneroster_service import Service
from homeroom_merge.connectors.rest_request import Bounds
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.formatters.oneroster import load_codes, oneroster_formatters
from homeroom_merge.pacing import Pacing
from homeroom_merge.testing import RestSis

CODES = load_codes()
FORMATTERS = oneroster_formatters(CODES)
CHANGED = "2026-11-20T08:00:00.000Z"
QUICK = Pacing(first_seconds=0.001, attempts_max=3)
TIGHT = Bounds(body_bytes_max=100_000, pages_max=20, request_seconds=30)


def ref(kind: str, sourced_id: str) -> dict[str, str]:
    return {"href": f"https://sis.example/{kind}s/{sourced_id}", "sourcedId": sourced_id, "type": kind}


def item(sourced_id: str, **members: Any) -> dict[str, Any]:
    return {"sourcedId": sourced_id, "status": "active", "dateLastModified": CHANGED, **members}


def role(role: str, org: str, **members: Any) -> dict[str, Any]:
    return {"roleType": "primary", "role": role, "org": ref("org", org), **members}


def pupil(sourced_id: str, **members: Any) -> dict[str, Any]:
    plain = {"enabledUser": "true", "givenName": "Ada", "familyName": "Bear", "grades": ["09"], "agents": []}
    return item(sourced_id, **{**plain, "roles": [role("student", "o91")], **members})


def enrolment(sourced_id: str, user: str, role: str, **members: Any) -> dict[str, Any]:
    return item(
        sourced_id,
        **{"class": ref("class", "k1")},
        school=ref("org", "o91"),
        user=ref("user", user),
        role=role,
        **members,
    )


def roster() -> dict[str, list[dict[str, Any]]]:
    """The collections, with the odds and ends of real services: nulls, members of their own, days with a time."""
    term = {"startDate": "2026-09-01", "schoolYear": "2027"}
    return {
        "orgs": [
            item("o9", name="Elk", type="district", identifier="9", children=[ref("org", "o91")]),
            item("o91", name="Raven", type="school", identifier="91", parent=ref("org", "o9"), metadata={"a": 1}),
        ],
        "academicSessions": [
            item("y", title="2026-2027", type="schoolYear", endDate="2027-06-30", **term),
            item("f", title="Fall", type="term", endDate="2026-12-20", parent=ref("academicSession", "y"), **term),
        ],
        "courses": [
            item(
                "c1",
                title="Algebra",
                courseCode="ALG",
                grades=["09", "10"],
                org=ref("org", "o9"),
                subjects=["Math"],
                schoolYear=ref("academicSession", "y"),
            )
        ],
        "classes": [
            item(
                "k1",
                title="Algebra A",
                grades=["09"],
                course=ref("course", "c1"),
                classCode="ALG-A",
                classType="scheduled",
                location="R 1",
                school=ref("org", "o91"),
                terms=[ref("term", "f")],
                periods=["1", "3"],
                subjects=None,
            )
        ],
        "users": [
            pupil(
                "u1",
                username="ada",
                identifier="1001",
                password="hunter2",
                primaryOrg=ref("org", "o91"),
                agents=[ref("user", "u3")],
                middleName=None,
                userIds=[{"type": "LDAP", "identifier": "ada"}],
                roles=[role("student", "o91", beginDate="2026-09-01T00:00:00.000Z")],
            ),
            item(
                "u2",
                enabledUser=True,
                username="eve",
                givenName="Eve",
                familyName="Elk",
                identifier=77,
                email="eve@elk.example",
                password="hunter2",
                primaryOrg=ref("org", "o91"),
                roles=[
                    role("teacher", "o91", beginDate="2026-08-20"),
                    {"roleType": "secondary", "role": "administrator", "org": ref("org", "o9")},
                ],
                userProfiles=[{"profileId": "p", "credentials": [{"username": "eve", "password": "hunter2"}]}],
            ),
            item(
                "u3",
                enabledUser="true",
                username="ola",
                givenName="Ola",
                familyName="Bear",
                email="ola@elk.example",
                roles=[role("guardian", "o91")],
            ),
        ],
        "enrollments": [
            enrolment("e1", "u1", "student", beginDate="2026-09-01"),
            enrolment("e2", "u2", "teacher", primary="true"),
        ],
        "demographics": [
            item(
                "u1",
                birthDate="2014-03-02",
                sex="female",
                asian="true",
                white="false",
                hispanicOrLatinoEthnicity="false",
                countryOfBirthCode="CA",
            )
        ],
    }


def service(sis: RestSis, pacing: Pacing = QUICK, bounds: Bounds = TIGHT) -> Service:
    return Service(sis.url, sis.token_url, sis.client_id, sis.client_secret, pacing=pacing, bounds=bounds)


class Clock:
    """What time it is."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def connector(sis: RestSis, clock: Clock | None = None) -> OneRosterRest:
    return OneRosterRest(service(sis), oneroster(CODES.lists), clock=clock or Clock())


async def read(feed: Connector, entity: str, cursor: str | None = None) -> tuple[Fetch, list[Reading]]:
    """A fetch to its end, and what the formatter makes of its rows."""
    fetch = await feed.fetch(entity, cursor)
    return fetch, [FORMATTERS[entity].read(row.row) async for row in fetch.rows]


async def read_by_id(feed: Connector, entity: str, *keys: str) -> dict[str, Reading]:
    """Those of these records that came."""
    fetch = await feed.fetch_by_id(entity, keys)
    found = [FORMATTERS[entity].read(row.row) async for row in fetch.rows]
    assert (fetch.failure, fetch.complete) == ("", False)
    return {reading.key: reading for reading in found if reading.key in keys}
