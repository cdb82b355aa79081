"""`homeroom-merge console`: a school's own, for whoever has its link, on the machine itself."""

import getpass
import re
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import httpx
import pytest
from typer.testing import CliRunner

from homeroom_merge.command import app
from homeroom_merge.console import own
from homeroom_merge.console.own import SESSION_HOURS, OwnHost, app_of
from homeroom_merge.store import jobs, queue_schema
from homeroom_merge.store.connection import pooled
from tests.merge.browsing import FEED, held_run, say, with_people
from tests.merge.pupils import School
from tests.merge.test_merge_command import COMMAND
from tests.test_console import ELSEWHERE, form_token

HERE = "http://127.0.0.1:8400"


@asynccontextmanager
async def opened_console(school: School) -> AsyncIterator[tuple[OwnHost, httpx.AsyncClient]]:
    """A console over the school's merges, and a browser that is not signed in."""
    await queue_schema.apply(school.own)
    async with pooled(school.core.database_url, 2) as pool:
        host = OwnHost(school.core.database_url, pool)
        transport = httpx.ASGITransport(app_of(host))
        async with httpx.AsyncClient(base_url=HERE, transport=transport) as web:
            yield host, web


async def test_the_link_lets_one_browser_in_once(school: School) -> None:
    async with opened_console(school) as (host, web):
        for place in ("/console/merges", FEED, "/console/nothing", "/console/sign-in", "/console/sign-in?token=guess"):
            outside = await web.get(place)
            assert outside.status_code == 401
            assert "homeroom-merge console" in outside.text
            assert "raven" not in outside.text
        link = host.link
        sent = await web.get(link)
        assert (sent.status_code, sent.headers["Location"]) == (303, "/console/merges")
        for said in ("HttpOnly", "SameSite=lax", "Path=/console", f"Max-Age={SESSION_HOURS * 3600}"):
            assert said in sent.headers["Set-Cookie"]
        page = await web.get("/console/merges")
        assert f'href="{FEED}"' in page.text
        assert getpass.getuser() in page.text
        cookies, web.cookies = web.cookies, httpx.Cookies()
        assert (await web.get(link)).status_code == 401, "it is used up"
        web.cookies = cookies
        assert (await web.get("/console/merges")).status_code == 200
        assert (await web.get("/console/nothing")).status_code == 404
        assert (await web.get("/console/static/console.css")).status_code == 200
        assert [(await web.get(place)).headers["Location"] for place in ("/", "/console")] == ["/console/merges"] * 2


async def test_a_session_ends_by_itself_or_with_a_form_of_ours(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened_console(school) as (host, web):
        await web.get(host.link)
        page = await web.get("/console/merges")
        assert (await web.post("/console/sign-out", data={"form_token": "guess"})).status_code == 403
        said = {"form_token": form_token(page)}
        assert (await web.post("/console/sign-out", data=said, headers=ELSEWHERE)).status_code == 403
        later = time.monotonic() + SESSION_HOURS * 3600 + 1
        with monkeypatch.context() as patched:
            patched.setattr(own, "monotonic", lambda: later)
            assert (await web.get("/console/merges")).status_code == 401
        assert (await web.get("/console/merges")).status_code == 200
        assert "Signed out" in (await web.post("/console/sign-out", data=said)).text
        assert (await web.get("/console/merges")).status_code == 401


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "evil.example:8400", "", "[::1", "0x7f.1"])
async def test_a_name_that_leads_here_from_elsewhere_gets_nothing(school: School, name: str) -> None:
    async with opened_console(school) as (host, web):
        refused = await web.get(host.link, headers={"Host": name})
        assert refused.status_code == 421
        for own_name in ("127.0.0.1:8400", "localhost:8400", "[::1]:8400"):
            assert (await web.get("/console/static/console.css", headers={"Host": own_name})).status_code == 200
        assert (await web.get(host.link)).status_code == 303, "it was not used up"


async def test_whoever_is_in_asks_under_their_own_name(school: School) -> None:
    await with_people(school)
    run = await held_run(school)
    async with opened_console(school) as (host, web):
        await web.get(host.link)
        sent = await say(web, f"{FEED}/runs/{run}", f"{FEED}/runs/{run}/approve", looked="yes")
        assert sent.headers["Location"] == f"{FEED}/jobs/1"
        found = await jobs.find(school.own, 1)
        assert found is not None
        assert (found.task, found.asked["by"], found.asked["runs"]) == ("approve", getpass.getuser(), [str(run)])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_is_for_this_machine_alone(host: str) -> None:
    refused = CliRunner().invoke(app, ["console", "--host", host])
    assert refused.exit_code == 2
    assert "ssh -L" in refused.output


async def test_the_command_prints_the_link_and_ends_when_told(school: School) -> None:
    command = [COMMAND, "console", "--port", "0", "--database-url", school.core.database_url]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as process:
            try:
                said = await _line(process)
                found = re.fullmatch(r"Open this, once: (http://127\.0\.0\.1:\d+)(/console/sign-in\?token=\S+)\n", said)
                assert found is not None, said
                async with httpx.AsyncClient(base_url=found[1], trust_env=False, follow_redirects=True) as web:
                    assert f'href="{FEED}"' in (await web.get(found[2])).text
            finally:
                process.terminate()
            assert await process.wait() == 0


async def _line(process: anyio.abc.Process) -> str:
    assert process.stdout is not None
    said = b""
    while not said.endswith(b"\n"):
        said += await process.stdout.receive()
    return said.decode()
