"""The interface as it is said in OpenAPI, held against itself and against what a Core answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from homeroom.errors import MEANINGS, Code
from homeroom_server.catalogue import load_catalogue
from homeroom_server.endpoints.get import REQUEST
from homeroom_server.json_schema import compile_schema, schema_faults
from homeroom_server.openapi.document import document as document_of
from homeroom_server.openapi.examples import snapshot_lines
from homeroom_server.openapi.kinds import sample
from homeroom_server.openapi.words import REQUESTS, described
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import note

Json = dict[str, Any]
PUBLIC = {"healthz", "readyz", "metrics"}
_PARTS = ("oneOf", "allOf", "anyOf")


@pytest.fixture
async def document(plain_core: Core) -> Json:
    async with httpx.AsyncClient(base_url="http://core", transport=httpx.ASGITransport(plain_core.app)) as web:
        answer = await web.get("/openapi.json")
        assert answer.headers["Content-Type"] == "application/json"
        found: Json = answer.json()
        return found


@pytest.fixture(params=["alberta", "roster"])
def shipped(request: pytest.FixtureRequest) -> Json:
    return document_of(load_catalogue(request.param), 2027)


def operations(document: Json) -> dict[str, tuple[str, str, Json]]:
    """(method, path, operation) by its name."""
    return {
        operation["operationId"]: (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post")
    }


def alone(document: Json, schema: Json) -> Json:
    """A schema of the document, able to stand alone."""
    return {**schema, "components": document["components"]}


def schema_of(document: Json, operation: Json, status: int) -> Json:
    """What an answer of that status is said to be."""
    (media_type,) = operation["responses"][str(status)]["content"].values()
    return alone(document, media_type["schema"])


def media_types(document: Json) -> Iterator[tuple[str, Json]]:
    """What may be in each body, with where it is said."""
    for name, (_, _, operation) in operations(document).items():
        if "requestBody" in operation:
            yield name, operation["requestBody"]["content"]["application/json"]
        for status, response in operation["responses"].items():
            yield from ((f"{name} {status}", media_type) for media_type in response["content"].values())


def examples_of(document: Json, holder: Json) -> dict[str, Any]:
    """Values by name, references followed."""
    found = {}
    for name, example in holder.get("examples", {}).items():
        if "$ref" in example:
            example = document["components"]["examples"][example["$ref"].rpartition("/")[2]]
        found[name] = example["value"]
    return found


def unsaid(schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """Every part of a schema that neither has a description nor names one that has."""
    if "description" not in schema and "$ref" not in schema:
        yield at
    for name, part in schema.get("properties", {}).items():
        yield from unsaid(part, f"{at}.{name}")
    for name in ("items", "additionalProperties", "x-line"):
        if isinstance(schema.get(name), dict):
            yield from unsaid(schema[name], f"{at}[]")
    for name in _PARTS:
        for number, part in enumerate(schema.get(name, ())):
            if "$ref" not in part and name != "allOf":
                yield from unsaid(part, f"{at}/{name}/{number}")


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
            (media_type,) = operation["responses"]["200"]["content"]
            assert done.headers["Content-Type"].startswith(media_type), name
            if name == "snapshot":
                line = operation["responses"]["200"]["content"]["application/x-ndjson"]["schema"]["x-line"]
                lines = [orjson.loads(text) for text in done.text.splitlines()]
                wrong = [schema_faults(compile_schema(alone(document, line)), each) for each in lines]
                assert (len(lines), wrong) == (3, [[], [], []])
            elif name != "metrics":
                assert schema_faults(compile_schema(schema_of(document, operation, 200)), done.json()) == [], name
            if question is not None:
                request = operation["requestBody"]["content"]["application/json"]["schema"]
                assert schema_faults(compile_schema(request), question) == []
                for wrong_body, status in (({"x": 1}, 400), (None, 400)):
                    refused = await web.request(method, place, json=wrong_body)
                    assert refused.status_code == status
                    assert schema_faults(compile_schema(schema_of(document, operation, status)), refused.json()) == []
            if name not in PUBLIC:
                nobody = await web.request(method, place, json=question, headers={"Authorization": ""})
                said = operation["responses"]["401"]["headers"]
                assert {header for header in said if header not in nobody.headers} == set()
                assert schema_faults(compile_schema(schema_of(document, operation, 401)), nobody.json()) == []


async def test_a_node_that_is_not_ready_says_so_as_it_is_said(plain_core: Core, document: Json) -> None:
    plain_core.services.waiters.draining = True
    (_, path, operation) = operations(document)["readyz"]
    async with httpx.AsyncClient(base_url="http://core", transport=httpx.ASGITransport(plain_core.app)) as web:
        answer = await web.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"].isdecimal()
    assert schema_faults(compile_schema(schema_of(document, operation, 503)), answer.json()) == []


async def test_metrics_for_others_are_refused_as_it_is_said(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    elsewhere = replace(settings, catalogue=any_catalogue, metrics_networks="192.0.2.0/24")
    async with (
        open_core(database_of_test, elsewhere) as core,
        httpx.AsyncClient(base_url="http://core", transport=httpx.ASGITransport(core.app)) as web,
    ):
        document = (await web.get("/openapi.json")).json()
        answer = await web.get("/metrics")
    assert answer.status_code == 404
    operation = operations(document)["metrics"][2]
    assert schema_faults(compile_schema(schema_of(document, operation, 404)), answer.json()) == []


async def test_every_code_that_ends_a_call_is_said_of_some_service(document: Json) -> None:
    said = "".join(
        response["description"]
        for _, _, operation in operations(document).values()
        for response in operation["responses"].values()
    )
    assert [code for code in Code if MEANINGS[code].status != 200 and str(code.value) not in said] == []


def test_every_example_is_of_its_schema(shipped: Json) -> None:
    count = 0
    for place, media_type in media_types(shipped):
        validator = compile_schema(alone(shipped, media_type["schema"]))
        for name, value in examples_of(shipped, media_type).items():
            assert schema_faults(validator, value) == [], (place, name)
            count += 1
    for path, item in shipped["paths"].items():
        (operation,) = [item[method] for method in ("get", "post") if method in item]
        for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]:
            validator = compile_schema(parameter["schema"])
            for value in examples_of(shipped, parameter).values():
                assert schema_faults(validator, value) == [], (path, parameter["name"])
                count += 1
    assert count > 100


@pytest.mark.parametrize("catalogue", ["alberta", "roster"])
def test_lines_and_bodies_in_examples_are_of_their_schemas(catalogue: str) -> None:
    loaded = load_catalogue(catalogue)
    document = document_of(loaded, 2027)
    record = sample(loaded, 2027)
    assert record is not None
    lines = compile_schema(alone(document, document["components"]["schemas"]["SnapshotLine"]))
    assert [schema_faults(lines, line) for line in snapshot_lines(record)] == [[], [], []]
    validator = loaded.types[record.name].validator
    assert validator is not None
    assert schema_faults(validator, record.body) == []


def test_a_schema_of_the_catalogue_finds_its_own_definitions(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"grade": {"$ref": "#/$defs/grade"}}, "$defs": {"grade": {"maximum": 12}}}
    (tmp_path / "plan.json").write_text(json.dumps(schema))
    (tmp_path / "catalogue.toml").write_text(
        '[types.Plan]\nschool_year = "none"\nid_format = "code"\naudience = "owner"\nschema = "plan.json"\n'
    )
    document = document_of(load_catalogue(str(tmp_path / "catalogue.toml")), 2027)
    validator = compile_schema(alone(document, {"$ref": "#/components/schemas/Body.Plan"}))
    assert schema_faults(validator, {"grade": 12}) == []
    assert [fault.pointer for fault in schema_faults(validator, {"grade": 13})] == ["/grade"]


def test_every_operation_has_examples_of_all_it_takes_and_answers(shipped: Json) -> None:
    bare = [place for place, media_type in media_types(shipped) if not media_type.get("examples")]
    bare += [
        f"{path} {parameter['name']}"
        for path, item in shipped["paths"].items()
        for each in (item, item.get("get", {}), item.get("post", {}))
        for parameter in each.get("parameters", [])
        if not parameter.get("examples")
    ]
    assert bare == []


def test_everything_has_a_description(shipped: Json) -> None:
    """Members of bodies apart, which are the catalogue's."""
    found = []
    for name, schema in shipped["components"]["schemas"].items():
        found += [name] * ("description" not in schema) if name.startswith("Body.") else list(unsaid(schema, name))
    for place, media_type in media_types(shipped):
        found += list(unsaid(media_type["schema"], place))
    for path, item in shipped["paths"].items():
        for each in (item, item.get("get", {}), item.get("post", {})):
            found += [f"{path} {p['name']}" for p in each.get("parameters", []) if not p["description"]]
    for name, (_, _, operation) in operations(shipped).items():
        found += [name] * (not operation["description"] or not operation["summary"] or not operation["tags"])
        found += [f"{name} {s}" for s, response in operation["responses"].items() if not response["description"]]
    assert found == []


def test_what_has_no_description_is_found() -> None:
    words = {name: said for name, said in REQUESTS["get"].items() if name != "records[].id"}
    assert list(unsaid(described(REQUEST, words), "get")) == ["get.records[].id"]


def test_every_problem_says_what_it_may_be_and_what_to_do(shipped: Json) -> None:
    for name, (_, _, operation) in operations(shipped).items():
        for status, response in operation["responses"].items():
            problem = response["content"].get("application/problem+json")
            if problem is None or "allOf" not in problem["schema"]:
                continue
            codes = problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
            assert sorted(problem["examples"]) == [str(code) for code in codes], (name, status)
            for code in codes:
                assert MEANINGS[Code(code)].status == int(status)
                assert f"- {code} " in response["description"]


def test_every_type_is_named_where_it_is_taken_with_the_schema_of_its_bodies(shipped: Json) -> None:
    schemas = shipped["components"]["schemas"]
    named = {name.removeprefix("Body.") for name in schemas if name.startswith("Body.")}
    statuses = {name for name in named if "$ref" in schemas[f"Body.{name}"]}
    taken = {path: set(item["parameters"][0]["examples"]) for path, item in shipped["paths"].items() if "{" in path}
    assert taken["/v1/get/{notificationType}"] == named
    assert taken["/v1/submit/{notificationType}"] == named - statuses
    assert taken["/v1/acknowledge/{notificationType}"] == statuses
    assert "SchoolStatus" not in statuses
    assert "StudentStatus" in statuses
    assert schemas["Body.Student"]["title"] == "Student"
