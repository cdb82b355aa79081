"""The interface as it is said in OpenAPI, held against what a Core answers."""

from typing import Any

import httpx
import pytest

from homeroom.errors import MEANINGS, Code
from homeroom_server.json_schema import compile_schema, schema_faults
from tests.conftest import Core
from tests.records import note

Json = dict[str, Any]


@pytest.fixture
async def document(plain_core: Core) -> Json:
    async with httpx.AsyncClient(base_url="http://core", transport=httpx.ASGITransport(plain_core.app)) as web:
        answer = await web.get("/openapi.json")
        assert answer.headers["Content-Type"] == "application/json"
        found: Json = answer.json()
        return found


def operations(document: Json) -> dict[str, tuple[str, str, Json]]:
    """(method, path, operation) by its name."""
    return {
        operation["operationId"]: (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post")
    }


def schema_of(document: Json, operation: Json, status: int) -> Json:
    """What an answer of that status is said to be, able to stand alone."""
    (media_type,) = operation["responses"][str(status)]["content"].values()
    return {**media_type["schema"], "components": document["components"]}


QUESTIONS: dict[str, Json] = {
    "isDataAvailable": {"waitSeconds": 0, "types": [{"notificationType": "Note", "maxCoreVersion": 0}]},
    "get": {"records": [{"id": "a"}, {"id": "nothing"}]},
    "submit": {"records": [note("b"), note("a", version=99)]},
    "reconcile": {
        "maxCoreVersion": 0,
        "ranges": [{"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}],
    },
    "acknowledge": {"id": "a", "alertCode": 1, "arguments": {}, "state": "Acknowledged"},
}


async def test_every_service_answers_as_it_is_said(plain_core: Core, document: Json) -> None:
    maple = await plain_core.client("S.0982")
    await maple.submit("Note", [note("a")])
    key = await plain_core.key("S.0982")
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url="http://core", transport=httpx.ASGITransport(plain_core.app), headers=headers
    ) as web:
        for name, (method, path, operation) in operations(document).items():
            of_type = "NoteStatus" if name == "acknowledge" else "Note"
            place = path.format(notificationType=of_type)
            question = QUESTIONS.get(name)
            done = await web.request(method, place, json=question)
            assert done.status_code == 200, (name, done.text)
            if name != "snapshot":
                assert schema_faults(compile_schema(schema_of(document, operation, 200)), done.json()) == [], name
            if question is not None:
                request = operation["requestBody"]["content"]["application/json"]["schema"]
                assert schema_faults(compile_schema(request), question) == []
                for wrong, status in (({"x": 1}, 400), (None, 400)):
                    refused = await web.request(method, place, json=wrong)
                    assert refused.status_code == status
                    assert schema_faults(compile_schema(schema_of(document, operation, status)), refused.json()) == []
            nobody = await web.request(method, place, json=question, headers={"Authorization": ""})
            assert schema_faults(compile_schema(schema_of(document, operation, 401)), nobody.json()) == []


async def test_every_code_that_ends_a_call_is_said_of_some_service(document: Json) -> None:
    said = "".join(
        response["description"]
        for _, _, operation in operations(document).values()
        for response in operation["responses"].values()
    )
    assert [code for code in Code if MEANINGS[code].status != 200 and str(code.value) not in said] == []
