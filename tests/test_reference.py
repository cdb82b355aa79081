"""/docs: pages that say the whole interface, and need nothing from elsewhere."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from homeroom.errors import Code
from homeroom_server.reference.members import members_of
from homeroom_server.reference.programs import programs
from tests.conftest import Core
from tests.test_openapi import operations

BEGIN = "/docs"
INTEGRATING = Path(__file__).parent.parent / "docs" / "integrating.md"
_LINK = re.compile(r'(?:href|src|action)="([^"]*)"')


@pytest.fixture
async def web(core: Core) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(core.app)
    async with httpx.AsyncClient(base_url="http://core", transport=transport) as web:
        yield web


async def read(web: httpx.AsyncClient, path: str) -> str:
    answer = await web.get(path)
    assert answer.status_code == 200, path
    return answer.text


async def every_page(web: httpx.AsyncClient) -> dict[str, str]:
    """All that can be reached from the first one, by path."""
    found: dict[str, str] = {}
    ahead = [BEGIN]
    while ahead:
        path = ahead.pop()
        if path in found:
            continue
        found[path] = await read(web, path)
        if path.startswith("/docs") and "static" not in path and "." not in path:
            ahead += [link.partition("#")[0] for link in _LINK.findall(found[path]) if link.startswith("/")]
    return found


async def test_every_service_type_and_program_has_its_place_and_every_link_leads_somewhere(
    core: Core, web: httpx.AsyncClient
) -> None:
    found = await every_page(web)
    services = operations((await web.get("/openapi.json")).json())
    assert found.keys() >= {f"/docs/services/{name}" for name in services}
    assert found.keys() >= {f"/docs/types/{name}" for name in core.services.catalogue.types}
    assert found.keys() >= {f"/docs/programs/{each.file}" for task in programs().values() for each in task}
    assert "/openapi.json" in found


async def test_no_page_takes_anything_from_elsewhere_or_runs_a_script(web: httpx.AsyncClient) -> None:
    for path, text in (await every_page(web)).items():
        answer = await web.get(path)
        if path.startswith("/docs"):
            assert answer.headers["Content-Security-Policy"].startswith(
                "default-src 'none'; style-src 'self'; img-src data:"
            )
            assert "script" not in answer.headers["Content-Security-Policy"]
        if answer.headers["Content-Type"].startswith("text/html"):
            assert [link for link in _LINK.findall(text) if not link.startswith(("/", "#", "data:,"))] == []
            assert "<script" not in text
            assert " style=" not in text


async def test_a_service_shows_all_that_its_document_says(web: httpx.AsyncClient) -> None:
    document = (await web.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for name, (method, path, operation) in operations(document).items():
        shown = await read(web, f"/docs/services/{name}")
        assert f"{method.upper()} {path}" in shown
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            places = [member.place for member in members_of(schema, schemas)]
            assert len(places) > 3
            assert [place for place in places if f"<code>{place}</code>" not in shown] == []
        for parameter in operation.get("parameters", []):
            assert f"<code>{parameter['name']}</code>" in shown
        for status, response in operation["responses"].items():
            problem = response["content"].get("application/problem+json", {})
            missing = [code for code in problem.get("examples", {}) if code.isdecimal() and f'id="{code}"' not in shown]
            assert missing == [], (name, status)


async def test_pages_are_counted_as_what_they_are(core: Core, web: httpx.AsyncClient) -> None:
    await read(web, "/docs/problems")
    assert core.services.tally.answers["docs", 2] == 1


async def test_a_type_shows_what_its_members_may_be(core: Core, web: httpx.AsyncClient) -> None:
    shown = await read(web, "/docs/types/Student")
    assert "<code>studentNames[].firstName</code> <small>string, 1 to 50 characters <b>required</b>" in shown
    assert "<code>secondaryStateProvinceIds</code> <small>list of string<" in shown
    assert "<code>gender</code> <small>Male | Female | Unspecified | Unknown <b>required</b>" in shown
    assert "<code>bookmark</code> <small>integer, below 2^53 <b>always there</b>" in await read(
        web, "/docs/services/snapshot"
    )


async def test_every_problem_is_explained(web: httpx.AsyncClient) -> None:
    shown = await read(web, "/docs/problems")
    assert [code for code in Code if f'id="{code.value}"' not in shown] == []


async def test_a_program_is_given_as_its_file_has_it(web: httpx.AsyncClient) -> None:
    for task in programs().values():
        for each in task:
            answer = await web.get(f"/docs/programs/{each.file}")
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert answer.text == each.text


def test_the_page_for_developers_shows_every_program_as_its_file_has_it() -> None:
    shown = re.findall(
        r"^```(?:sh|python|js)\n(.*?)^```$", INTEGRATING.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert sorted(shown) == sorted(each.text for task in programs().values() for each in task)


@pytest.mark.parametrize(
    "path", ["services/nothing", "types/nothing", "programs/nothing", "programs/..%2fpages.py", "static/x.css"]
)
async def test_what_there_is_not_is_not_found(web: httpx.AsyncClient, path: str) -> None:
    assert (await web.get(f"/docs/{path}")).status_code == 404
