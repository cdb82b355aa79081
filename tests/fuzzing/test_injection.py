"""Text that means harm, wherever text enters: it is refused or kept as it is, and never more than text."""

import csv
import inspect
import io
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from anyio import to_thread
from rich.table import Table
from rich.text import Text
from starlette.routing import Route
from typer.testing import CliRunner

from homeroom_merge.console import routes as merges_routes
from homeroom_merge.report.sheet import plain
from homeroom_merge.terminal import Terminal
from homeroom_server.cli import app as command
from homeroom_server.console import routes as console_routes
from tests.conftest import Core
from tests.merge.browsing import FEED, held_run, signed_in, with_people
from tests.merge.conftest import opened, school
from tests.merge.pupils import School
from tests.test_console import browser, form_token, sign_in

__all__ = ["opened", "school"]

SCRIPT = "<script>alert(1)</script>"
HOSTILE = {
    "sql": "'; drop table record; --",
    "quotes": "\"'`) or 1=1 /*",
    "backslashes": "\\'\\",
    "nul": "a\0b",
    "headers": "a\r\nSet-Cookie: stolen=1\r\n\r\n",
    "up": "../../../../etc/passwd",
    "up, windows": "..\\..\\windows\\win.ini",
    "absolute": "/etc/passwd",
    "another site": "//evil.example/",
    "script": SCRIPT,
    "attribute": '"><img src=x onerror=alert(1)>',
    "template": "{{ 7 * 1337 }}${7*1337}",
    "formula": '=HYPERLINK("http://evil.example")',
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e",
    "homoglyphs": "S\u20240982\uff07 or \uff11=\uff11",
    "encoded twice": "%2e%2e%2f%00%0d%0a",
    "number": "99999999999999999999",
    "long": "x" * 1_000,
}
IN_URLS = [*(quote(text, safe="") for text in HOSTILE.values()), "%ff%c0%ae%ed%a0%80"]
"""The last is no UTF-8."""


def sources() -> Iterator[str]:
    """Of both consoles: what they ask queries and forms for."""
    for module in (console_routes, merges_routes):
        folder = Path(inspect.getfile(module)).parent
        yield from (
            file.read_text(encoding="utf-8") for suffix in ("py", "html") for file in folder.rglob(f"*.{suffix}")
        )


NAMES = sorted(
    {
        name
        for text in sources()
        for name in re.findall(r'(?:query_params\.get\(|asked_for\([^,]+, |form\.get\(| name=)"(\w+)"', text)
    }
    - {"form_token", "as"}
)


def places(core: Core, method: str, run: str, text: str) -> Iterator[tuple[str, bool]]:
    """Every route of this method, with the text in the place of each parameter in turn; and whether it is in none."""
    usual = {"feed": "raven", "run": run, "form": "csv", "type": "Student", "notification_type": "Student"}
    for route in core.app.routes:
        if isinstance(route, Route) and method in (route.methods or ()) and not route.path.endswith("/next"):
            for hostile in [*route.param_convertors, None]:
                said = {name: usual.get(name, "1") for name in route.param_convertors} | {hostile or "": text}
                yield re.sub(r"{(\w+)(:\w+)?}", lambda found: said[found[1]], route.path), hostile is None  # noqa: B023


def assert_it_is_but_text(answer: httpx.Response) -> None:
    where = f"{answer.request.method} {answer.request.url!s:.200}"
    assert answer.status_code < 500 or answer.status_code == 503, where
    assert "stolen" not in answer.headers.get("Set-Cookie", ""), where
    assert answer.headers.get("Location", "/console").startswith("/console"), where
    assert not any(sign in value for value in answer.headers.values() for sign in "\r\n\0"), where
    assert "root:" not in answer.text, where
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        assert SCRIPT not in answer.text, where
        assert "<img src=x" not in answer.text, where
        assert "9359" not in answer.text, where
    if kind.startswith("text/csv"):
        cells = [cell for row in csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))) for cell in row]
        assert [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))] == [], where


@pytest.fixture
async def run(school: School) -> str:
    """A feed with a run, people, and a pupil whose names mean harm."""
    await with_people(school, "olga")
    return str(await held_run(school))


@pytest.fixture
async def web(school: School, run: str) -> AsyncIterator[httpx.AsyncClient]:
    async with signed_in(school.core, "olga") as web:
        web.headers["Authorization"] = f"Bearer {await school.core.key('S.91')}"
        yield web


async def test_no_text_in_a_path_or_a_query_is_more(school: School, web: httpx.AsyncClient, run: str) -> None:
    """A page's next state apart, which is waited for, and is of that page."""
    for text in IN_URLS:
        for place, is_usual in places(school.core, "GET", run, text):
            assert_it_is_but_text(await web.get(place))
            for form in ("", "&as=csv") if is_usual else ():
                assert_it_is_but_text(await web.get(f"{place}?{'&'.join(f'{name}={text}' for name in NAMES)}{form}"))
    assert await school.own.fetchval("select count(*) from record") > 0


async def test_no_text_in_a_form_is_more(school: School, web: httpx.AsyncClient, run: str) -> None:
    token = form_token(await web.get("/console/merges"))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for text in IN_URLS:
        fields = "&".join([f"form_token={token}", *(f"{name}={text}" for name in NAMES)])
        for place, _ in places(school.core, "POST", run, text):
            if place != "/console/sign-out":
                assert_it_is_but_text(await web.post(place, content=fields, headers=headers))
    for page in ("/console/now", "/console/clients", "/console/merges", FEED, f"{FEED}/jobs"):
        assert_it_is_but_text(await web.get(page))


def test_every_name_that_pages_ask_for_is_tried() -> None:
    assert {"name", "next", "page", "looked", "client"} <= set(NAMES)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_cell_of_a_spreadsheet_is_calculated(text: str) -> None:
    for cell in (text, f" {text}", f"\t{text}", f"\uff1d{text}"):
        assert not plain(cell).lstrip().startswith(tuple("=+-@\uff1d\t\r"))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_steers_a_terminal(text: str) -> None:
    said = io.StringIO()
    table = Table("name")
    table.add_row(Text(text))
    terminal = Terminal(file=said, force_terminal=True, width=200)
    terminal.print(table)
    terminal.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    left = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())
    assert [sign for sign in left if not sign.isprintable() and sign != "\n"] == []


async def test_who_fails_to_sign_in_cannot_steer_who_reads_the_audit(school: School, run: str) -> None:
    async with await browser(school.core) as web:
        for text in HOSTILE.values():
            assert (await sign_in(web, text, "no password of anybody's")).status_code == 401
    arguments = ["audit", "query", "--limit", "1000", "--database-url", school.core.database_url]
    told = await to_thread.run_sync(partial(CliRunner().invoke, command, arguments))
    assert told.exit_code == 0, told.output
    assert "a sign-in failed" in told.output
    assert [sign for sign in told.output if not sign.isprintable() and sign != "\n"] == []
