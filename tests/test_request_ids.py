"""Every call has a name: its answer carries it, and so does what the log says of it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from homeroom_server import problems
from homeroom_server.guessing import KEY_FAILURES_MAX
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.haproxy import HAPROXY, running_haproxy
from tests.records import note

NAME = "X-Request-Id"


def caller(core: Core, address: str = "203.0.113.9", key: str = "none") -> httpx.AsyncClient:
    """Bare HTTP from an address, which sees a 500 where our tests' clients would see the exception."""
    transport = httpx.ASGITransport(core.app, client=(address, 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://core", headers={"Authorization": f"Bearer {key}"})


async def test_every_answer_has_a_name_of_its_own(plain_core: Core) -> None:
    key = await plain_core.key("S.0982")
    calls = [
        ("POST", "/v1/submit/Note", {"records": [note("a")]}),
        ("POST", "/v1/get/Note", {"records": [{"id": "a"}]}),
        ("POST", "/v1/get/Nothing", {}),
        (
            "POST",
            "/v1/is-data-available",
            {"waitSeconds": 0, "types": [{"notificationType": "Note", "maxCoreVersion": 0}]},
        ),
        ("GET", "/v1/snapshot/Note", None),
        ("GET", "/v1/hello", None),
        ("GET", "/healthz", None),
        ("GET", "/console/sign-in", None),
        ("GET", "/nothing", None),
    ]
    async with caller(plain_core, key=key) as http:
        answers = [await http.request(method, path, json=body) for method, path, body in calls]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 200, 200, 200, 200, 200, 404]
    assert all(len(answer.headers.get_list(NAME)) == 1 for answer in answers)
    assert len({answer.headers[NAME] for answer in answers}) == len(calls)


@pytest.mark.parametrize(
    ("address", "said", "is_taken"),
    [
        ("127.0.0.1", ["b5f4a1c2-77aa-4a39-8d3e-1f2b3c4d5e6f"], True),
        ("203.0.113.9", ["b5f4a1c2-77aa-4a39-8d3e-1f2b3c4d5e6f"], False),
        ("127.0.0.1", ["short"], False),
        ("127.0.0.1", ["a" * 129], False),
        ("127.0.0.1", ['12345678", "level": "error'], False),
        ("127.0.0.1", ["of-the-client", "of-the-proxy"], False),
    ],
)
async def test_a_name_is_taken_of_proxies_that_are_ours_and_where_it_is_well_formed(
    plain_core: Core, address: str, said: Sequence[str], is_taken: bool
) -> None:
    async with caller(plain_core, address) as http:
        answer = await http.get("/v1/hello", headers=[(NAME, each) for each in said])
    assert (answer.headers[NAME] in said) is is_taken
    assert answer.headers[NAME]


@pytest.mark.parametrize(("path", "service"), [("/v1/submit/Note", "submit"), ("/v1/hello", "hello")])
async def test_a_fault_of_ours_is_one_line_of_the_log_that_names_the_call(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, service: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("as if")

    monkeypatch.setattr(plain_core.services.committer, "commit", broken)
    monkeypatch.setattr(plain_core.services.directory, "represented", broken)
    key = await plain_core.key("S.0982")
    async with plain_core.served(), httpx.AsyncClient(base_url=plain_core.base_url) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        with capture_logs() as logged, caplog.at_level(logging.INFO):
            body = {"records": [note("a")]}
            answer = await (http.get(path) if service == "hello" else http.post(path, json=body))
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    (line,) = logged
    assert (line["event"], line["service"]) == ("a call failed", service)
    assert line["request_id"] == answer.headers[NAME]
    assert line["exc_info"]
    assert "Exception in ASGI application" not in caplog.text


async def test_a_database_that_is_away_is_told_with_the_calls_that_met_it(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    hasty = replace(settings, catalogue=any_catalogue, statement_seconds_max=0.3, write_transaction_seconds_max=0.5)
    async with open_core(database_of_test, hasty) as core:
        key, connection = await core.key("S.0982"), await core.connect()
        async with caller(core, key=key) as http, connection.transaction():
            await connection.execute("lock table record")
            with capture_logs() as logged:
                read = await http.post("/v1/get/Note", json={"records": [{"id": "a"}]})
                written = await http.post("/v1/submit/Note", json={"records": [note("a")]})
    assert (read.status_code, written.status_code) == (503, 503)
    (away,) = [line for line in logged if line["event"] == "the database is away" and "service" in line]
    assert (away["service"], away["request_id"]) == ("get", read.headers[NAME])
    (failed,) = [line for line in logged if line["event"] == "commit failed"]
    assert failed["request_ids"] == [written.headers[NAME]]


async def test_who_tries_keys_is_told_with_the_last_call(plain_core: Core) -> None:
    async with caller(plain_core) as http:
        with capture_logs() as logged:
            answers = [await http.get("/v1/hello") for _ in range(KEY_FAILURES_MAX)]
    (line,) = [each for each in logged if each["event"] == "an address tries unknown keys"]
    assert line["request_id"] == answers[-1].headers[NAME]


async def test_the_log_names_no_record_that_a_page_is_about(plain_core: Core) -> None:
    path = "/console/records/Student/123456789"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "app": plain_core.app}
    with capture_logs() as logged:
        await problems.on_database_away(Request(scope), TimeoutError())
        await problems.on_memory_error(Request(scope), MemoryError())
    assert [line["service"] for line in logged] == ["console", "console"]
    assert "123456789" not in str(logged)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")
async def test_the_proxy_that_ships_names_calls_and_lets_nobody_else(plain_core: Core, folder: Path) -> None:
    async with (
        plain_core.served(),
        running_haproxy(folder, [plain_core.base_url.removeprefix("http://")]) as proxy,
        httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust) as http,
    ):
        await proxy.until("UP", "DOWN", "DOWN")
        answer = await http.get("/v1/hello", headers={NAME: "of-the-client"})
    assert str(UUID(answer.headers[NAME])) == answer.headers[NAME], "as HAProxy writes it"
