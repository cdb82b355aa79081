"""Whatever is sent: the documented code, a pointer to every fault, nothing stored, never a 500."""

import json
from typing import Any
from uuid import uuid4

import anyio
import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Core
from tests.records import note

ENTRY = {"notificationType": "Note", "maxCoreVersion": 0}
ID = str(uuid4())


async def post(core: Core, path: str, content: Any, **headers: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    key = await core.key("S.0982")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://core") as http:
        return await http.post(path, content=body, headers={"Authorization": f"Bearer {key}", **headers})


def problem_of(answer: httpx.Response) -> tuple[int, int, set[str]]:
    """(HTTP status, code, pointers)."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert {"title", "detail", "action", "status"} <= set(problem)
    return answer.status_code, problem["code"], {fault["pointer"] for fault in problem["errors"]}


def ida(*entries: Any, **members: Any) -> dict[str, Any]:
    return {"waitSeconds": 0, "types": list(entries), **members}


IDA, SUBMIT, GET = "/v1/is-data-available", "/v1/submit/Note", "/v1/get/Note"

CASES = [
    (IDA, b"{not json", 400, 3002, set()),
    (IDA, b"", 400, 3002, set()),
    (IDA, b'"\xff"', 400, 3002, set()),
    (IDA, b'{"types": [1e999]}', 400, 3002, set()),
    (IDA, [], 400, 3001, {""}),
    (IDA, {}, 400, 3001, {""}),
    (IDA, ida(), 400, 3001, {"/types"}),
    (IDA, ida("Note", 7), 400, 3001, {"/types/0", "/types/1"}),
    (IDA, ida(ENTRY, extra=1), 400, 3001, {""}),
    (IDA, ida(ENTRY | {"more": 1}), 400, 3001, {"/types/0"}),
    (IDA, ida(ENTRY | {"maxCoreVersion": -1}), 400, 3001, {"/types/0/maxCoreVersion"}),
    (IDA, ida(ENTRY | {"maxCoreVersion": 2**53}), 400, 3001, {"/types/0/maxCoreVersion"}),
    (IDA, ida(ENTRY | {"maxCoreVersion": True}), 400, 3001, {"/types/0/maxCoreVersion"}),
    (IDA, ida(ENTRY | {"versionHash": "xyz"}), 400, 3001, {"/types/0/versionHash"}),
    (IDA, ida(ENTRY, ENTRY | {"notificationType": "NOTE"}), 400, 3002, {"/types/1/notificationType"}),
    (IDA, ida(ENTRY | {"notificationType": "Nothing"}), 400, 3005, {"/types/0/notificationType"}),
    (IDA, ida(ENTRY | {"notificationType": "a b"}), 400, 3005, {"/types/0/notificationType"}),
    (IDA, ida(ENTRY | {"notificationType": "Note.2027"}), 400, 3006, {"/types/0/notificationType"}),
    (IDA, ida(ENTRY | {"notificationType": "Plan"}), 400, 3008, {"/types/0/notificationType"}),
    (IDA, ida(ENTRY | {"notificationType": "Plan.27"}), 400, 3005, {"/types/0/notificationType"}),
    (IDA, ida(ENTRY, waitSeconds=301), 400, 3007, {"/waitSeconds"}),
    (IDA, ida(ENTRY, waitSeconds=-1), 400, 3007, {"/waitSeconds"}),
    (IDA, ida(ENTRY, waitSeconds="50"), 400, 3001, {"/waitSeconds"}),
    (IDA, ida(*(ENTRY | {"notificationType": f"Plan.{year}"} for year in range(2000, 2065))), 413, 3003, set()),
    (SUBMIT, {"records": []}, 400, 3001, {"/records"}),
    (SUBMIT, {"records": [note("a"), note("b"), note("a")]}, 400, 3002, {"/records/2/id"}),
    (SUBMIT, {"records": [note("a b"), note(""), note("x" * 65)]}, 400, 3001, {f"/records/{i}/id" for i in range(3)}),
    (SUBMIT, {"records": [{"id": "a", "expectedVersion": 0}]}, 400, 3001, {"/records/0"}),
    (SUBMIT, {"records": [note("a") | {"body": [1]}]}, 400, 3001, {"/records/0/body"}),
    (SUBMIT, {"records": [note("a", organization="0982")]}, 400, 3001, {"/records/0/organization"}),
    (SUBMIT, {"records": [note(str(i)) for i in range(5001)]}, 413, 3003, set()),
    ("/v1/submit/Nothing", {"records": [note("a")]}, 400, 3005, set()),
    ("/v1/submit/Plan", {"records": [note(ID)]}, 400, 3008, set()),
    ("/v1/submit/Note.2027", {"records": [note("a")]}, 400, 3006, set()),
    ("/v1/submit/Plan.2027", {"records": [note("no-uuid")]}, 400, 3001, {"/records/0/id"}),
    (GET, {"records": [{"id": "a"}, {"id": "a"}]}, 400, 3002, {"/records/1/id"}),
    (GET, {"records": [{"id": "a", "expectedVersion": -1}]}, 400, 3001, {"/records/0/expectedVersion"}),
    (GET, {"records": [{"id": str(i)} for i in range(5001)]}, 413, 3003, set()),
    ("/v1/get/Plan.2027", {"records": [{"id": "no-uuid"}, {"id": "é"}]}, 400, 3001, {"/records/0/id", "/records/1/id"}),
]


@pytest.mark.parametrize(("path", "content", "status", "code", "pointers"), CASES)
async def test_a_bad_request_is_answered_with_its_code_and_every_pointer(
    plain_core: Core, path: str, content: Any, status: int, code: int, pointers: set[str]
) -> None:
    assert problem_of(await post(plain_core, path, content)) == (status, code, pointers)
    connection = await plain_core.connect()
    assert await connection.fetchval("select count(*) from record") == 0


async def test_all_faults_are_named_not_the_first(plain_core: Core) -> None:
    wrong = ida(
        {"notificationType": "Note"}, ENTRY | {"notificationType": "Nothing"}, ENTRY, ENTRY, waitSeconds=301, extra=1
    )
    _, code, pointers = problem_of(await post(plain_core, IDA, wrong))
    assert code == 3001
    assert pointers == {
        "",
        "/types/0",
        "/waitSeconds",
        "/types/1/notificationType",
        "/types/2/notificationType",
        "/types/3/notificationType",
    }


async def test_a_body_of_100_mb_is_refused_before_it_is_read(plain_core: Core) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 1024 * 1024

    key = await plain_core.key("S.0982")
    transport = httpx.ASGITransport(plain_core.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
        headers = {"Authorization": f"Bearer {key}"}
        answer = await http.post(SUBMIT, content=endless(), headers=headers)
        assert problem_of(answer)[:2] == (413, 3003)
        assert sent < 12
        headers["Content-Length"] = str(100 * 1024 * 1024)
        answer = await http.post(SUBMIT, content=endless(), headers=headers)
        assert problem_of(answer)[:2] == (413, 3003)
        assert sent < 14


@pytest.mark.parametrize("depth", [64, 65, 254, 1000])
async def test_json_nested_beyond_reason_is_refused(plain_core: Core, depth: int) -> None:
    lists = depth - 1  # the body is an object
    deep = b'{"id":"d","expectedVersion":0,"body":{"x":%s1%s}}' % (b"[" * lists, b"]" * lists)
    flat = b'{"id":"f%d","expectedVersion":0,"body":{"x":1}}'
    answer = await post(plain_core, SUBMIT, b'{"records":[%s,%s]}' % (b",".join(flat % i for i in range(99)), deep))
    if depth == 64:
        assert answer.status_code == 200
        assert answer.json()["results"][99]["rejections"] == []
    else:
        assert problem_of(answer) == (400, 3002, {"/records/99/body"})


async def test_json_that_no_parser_takes_is_refused(plain_core: Core) -> None:
    answer = await post(plain_core, SUBMIT, b'{"records":%s%s}' % (b"[" * 5000, b"]" * 5000))
    assert problem_of(answer) == (400, 3002, set())


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 1001),
        ({"Authorization": "Bearer"}, 1001),
        ({"Authorization": "Bearer wrong"}, 1001),
        ({"Authorization": "Basic abc"}, 1001),
        ({"Authorization": b"Bearer \xff\xfe"}, 1001),
    ],
)
async def test_a_request_without_a_good_key_is_not_heard(plain_core: Core, headers: dict[str, Any], code: int) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        for path in (IDA, GET, SUBMIT):
            assert problem_of(await http.post(path, content=b"{}", headers=headers))[:2] == (401, code)
        assert problem_of(await http.get("/v1/hello", headers=headers))[:2] == (401, code)


@pytest.mark.parametrize("organization", ["S.0983", "S.9999", "nonsense", ""])
async def test_an_organization_not_represented_is_refused(plain_core: Core, organization: str) -> None:
    answer = await post(plain_core, GET, {"records": [{"id": "a"}]}, Organization=organization)
    assert problem_of(answer)[:2] == (403, 1008)


@pytest.mark.parametrize("header", ["nonsense", "", "123"])
async def test_an_idempotency_key_is_a_uuid(plain_core: Core, header: str) -> None:
    answer = await post(plain_core, SUBMIT, {"records": [note("a")]}, **{"Idempotency-Key": header})
    assert problem_of(answer)[:2] == (400, 3002)


async def test_paths_and_methods_that_are_not_there(plain_core: Core) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        assert (await http.get("/v1/nothing")).status_code == 404
        for path in ("/v1/submit", "/v1/submit/", "/v1/submit/Note/x", "/v1/get", f"{IDA}/Note"):
            assert (await http.post(path, json={})).status_code == 404
        for path in (IDA, GET, SUBMIT):
            assert (await http.get(path)).status_code == 405


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ODD_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "notificationType": st.sampled_from(["Note", "Plan.2027", "Bulletin", "x"]) | JSON,
        "maxCoreVersion": st.integers(-1, 3) | JSON,
        "versionHash": st.sampled_from(["0" * 32, None]) | JSON,
        "listAfter": JSON,
        "id": st.sampled_from(["a", ID]) | JSON,
        "expectedVersion": st.sampled_from([0, 1, 2.0, 1e15]) | JSON,
        "deleted": JSON,
        "organization": st.sampled_from(["S.0982", "S.0990"]) | JSON,
        "body": st.dictionaries(st.text(max_size=5), JSON, max_size=3) | JSON,
        "knownSourceVersion": JSON,
    },
)
ODD_REQUEST = st.fixed_dictionaries(
    {}, optional={m: st.lists(ODD_ENTRY | JSON, max_size=3) for m in ("types", "records")}
)


async def test_no_request_makes_a_500(plain_core: Core) -> None:
    """Odd requests of every kind; an exception that no handler takes comes through the transport."""
    key = await plain_core.key("O.1")
    paths = st.sampled_from(
        [IDA, SUBMIT, GET, "/v1/submit/Plan.2027", "/v1/get/NoteStatus", "/v1/acknowledge/NoteStatus"]
    )
    cases: list[tuple[str, Any]] = []

    @settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck))
    @given(paths, ODD_REQUEST | JSON)
    def collect(path: str, request: Any) -> None:
        if isinstance(request, dict) and path == IDA:
            request = {"waitSeconds": 0, **request}
        cases.append((path, request))

    await anyio.to_thread.run_sync(collect)  # seconds of work, in which the node must go on
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        for path, request in cases:
            content = json.dumps(request, ensure_ascii=True).encode()
            answer = await http.post(path, content=content, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code < 500 or answer.json()["code"] == 2002, (path, request, answer.text)
