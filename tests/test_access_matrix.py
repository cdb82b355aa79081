"""Every service, role, organisation and state of a key: exactly what docs/protocol.md says is answered.

What is expected stands in the tables here. They are written from the protocol, not from the code: of several faults the
first is told, in the order key (1001, 1002, 1003), bounds of the client (1007), organisation (1008), role (1007).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import httpx
import orjson
import pytest

from homeroom import HomeroomError
from homeroom_server import bounds, operations
from homeroom_server.auth import Role
from tests.conftest import Core
from tests.records import note

Expected = tuple[int, int | None]
"""HTTP status and code; no code with a 200."""

OK: Expected = (200, None)


@dataclass(frozen=True)
class Service:
    """One service of the protocol, a request that is good, and the roles that include it."""

    method: str
    path: str
    body: Any
    roles: Sequence[Role]


READING = (Role.READER, Role.WRITER)
WRITING = (Role.WRITER,)
ALERT = {"id": "a", "alertCode": 1, "arguments": {}, "state": "Acknowledged"}
RANGE = {"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}

SERVICES = {
    "is-data-available": Service(
        "POST",
        "/v1/is-data-available",
        {"waitSeconds": 0, "types": [{"notificationType": "Note", "maxCoreVersion": 0}]},
        READING,
    ),
    "get": Service("POST", "/v1/get/Note", {"records": [{"id": "a"}]}, READING),
    "submit": Service("POST", "/v1/submit/Note", {"records": [note("a")]}, WRITING),
    "acknowledge": Service("POST", "/v1/acknowledge/NoteStatus", ALERT, WRITING),
    "snapshot": Service("GET", "/v1/snapshot/Note", None, READING),
    "reconcile": Service("POST", "/v1/reconcile/Note", {"maxCoreVersion": 0, "ranges": [RANGE]}, READING),
    "hello": Service("GET", "/v1/hello", None, READING),
    "notification-types": Service("GET", "/v1/notification-types", None, READING),
}

ROLE_LACKS_IT: Expected = (403, 1007)
NOT_REPRESENTED: Expected = (403, 1008)

# For whom a client acts that is registered for the authority A.3020; S.0982 is a school of it.
ACTING_OF_AN_AUTHORITY = {
    "own": ("A.3020", OK),
    "child": ("S.0982", OK),
    "parent": ("O.1", NOT_REPRESENTED),
    "foreign": ("S.0990", NOT_REPRESENTED),
    "unknown": ("S.9999", NOT_REPRESENTED),
    "unnamed": (None, OK),
}
# One that is registered for the schools S.0982 and S.0990, of two authorities.
ACTING_OF_TWO_SCHOOLS = {
    "own": ("S.0982", OK),
    "other own": ("S.0990", OK),
    "parent": ("A.3020", NOT_REPRESENTED),
    "foreign": ("S.0983", NOT_REPRESENTED),
    "unnamed": (None, NOT_REPRESENTED),
}
# And one that is registered for the ministry.
ACTING_OF_THE_MINISTRY = {
    "own": ("O.1", OK),
    "child": ("A.3030", OK),
    "grandchild": ("S.0990", OK),
    "unknown": ("S.9999", NOT_REPRESENTED),
    "unnamed": (None, OK),
}

# What becomes of a key or its client before it calls: told before anything else that is wrong.
KEY_STATES = {
    "good": OK,
    "in its overlap": OK,
    "right network": OK,
    "missing": (401, 1001),
    "unknown": (401, 1001),
    "disabled key": (401, 1002),
    "expired": (401, 1002),
    "disabled client": (401, 1003),
    "wrong network": (403, 1007),
    "no certificate": (403, 1007),
}

HERE = "198.51.100.7"


def expected(service: Service, role: Role, acting: Expected, key: Expected) -> Expected:
    """The first fault, in the order of the protocol."""
    wrong = (said for said in (key, acting, OK if role in service.roles else ROLE_LACKS_IT) if said != OK)
    return next(wrong, OK)


async def key_in(core: Core, state: str, role: Role, organizations: Sequence[str]) -> str:
    """The key of a new client whose key, or who itself, is in this state."""
    connection, name = await core.connect(), f"{state} {role} {' '.join(organizations)}"
    key = await operations.create_client(connection, name, organizations, role, expires_days=1)
    match state:
        case "missing":
            return ""
        case "unknown":
            return key + "x"
        case "in its overlap":
            await operations.rotate_key(connection, name, overlap_hours=1)
        case "disabled key":
            await operations.rotate_key(connection, name)
        case "expired":
            await connection.execute("update api_key set expires_at = now()")
        case "disabled client":
            await operations.set_client_disabled(connection, name, disabled=True)
        case "right network":
            await bounds.set_networks(connection, name, ["10.0.0.0/8", f"{HERE}/32"])
        case "wrong network":
            await bounds.set_networks(connection, name, ["10.0.0.0/8", "2001:db8::/32"])
        case "no certificate":
            await bounds.add_certificate(connection, name, bytes(32), "")
    await connection.close()
    await core.services.directory.refresh()
    return key


async def answer(core: Core, address: str, service: Service, key: str, organization: str | None) -> Expected:
    """What one call is told, from an address."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if organization is not None:
        headers["Organization"] = organization
    content = None if service.body is None else orjson.dumps(service.body)
    transport = httpx.ASGITransport(core.app, client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
        said = await http.request(service.method, service.path, content=content, headers=headers)
    return said.status_code, said.json()["code"] if said.status_code >= 400 else None


async def disagreements(
    core: Core, role: Role, state: str, organizations: Sequence[str], acting: Mapping[str, tuple[str | None, Expected]]
) -> list[str]:
    """What is answered otherwise than the tables say, by every service to one client."""
    key = await key_in(core, state, role, organizations)
    guesses = (f"203.0.113.{number}" for number in count(1))  # one each: who guesses again and again has to wait
    found = []
    for (name, service), (whose, (code, allowed)) in product(SERVICES.items(), acting.items()):
        address = next(guesses) if state == "unknown" else HERE
        told = await answer(core, address, service, key, code)
        if told != (wanted := expected(service, role, allowed, KEY_STATES[state])):
            found.append(f"{name}, {role}, key: {state}, acting for: {whose}: {told} instead of {wanted}")
    return found


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", KEY_STATES)
async def test_each_service_answers_each_caller_as_the_protocol_says(plain_core: Core, role: Role, state: str) -> None:
    assert await disagreements(plain_core, role, state, ["A.3020"], ACTING_OF_AN_AUTHORITY) == []
    stored = await (await plain_core.connect()).fetchval("select count(*) from record")
    assert bool(stored) == (role is Role.WRITER and KEY_STATES[state] == OK), "who is refused stores nothing"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    ("organizations", "acting"),
    [(["S.0982", "S.0990"], ACTING_OF_TWO_SCHOOLS), (["O.1"], ACTING_OF_THE_MINISTRY)],
    ids=["two schools", "ministry"],
)
async def test_whom_a_client_represents_follows_from_the_tree(
    plain_core: Core, role: Role, organizations: Sequence[str], acting: Mapping[str, tuple[str | None, Expected]]
) -> None:
    assert await disagreements(plain_core, role, "good", organizations, acting) == []


async def test_an_organization_of_others_is_refused_in_the_words_of_one_that_is_not_there(plain_core: Core) -> None:
    key = await key_in(plain_core, "good", Role.WRITER, ["A.3020"])
    said = []
    for code in ("S.0990", "S.9999"):
        async with plain_core.client_with(key, code) as client:
            with pytest.raises(HomeroomError) as failure:
                await client.hello()
            said.append(failure.value.detail.replace(code, ""))
    assert said[0] == said[1]
