"""Webhook calls over real sockets: who may call, what is stored, and what others learn."""

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
import httpx
import pytest
import uvicorn

from homeroom_merge.runners.debouncing import Debounce, Debouncer
from homeroom_merge.runners.signing import signature
from homeroom_merge.runners.webhook import Hooked, Rate, webhook_app
from homeroom_merge.store.connection import pooled
from tests.merge.feeds import opened_state

SECRET = "s3cret-of-raven"
NOW = 1_795_000_000.0
ROOT = Path(__file__).parent.parent.parent

_moments = count()


@dataclass
class Hook:
    """A webhook on a socket, its state, and a clock that stands still."""

    url: str
    own: asyncpg.Connection
    pool: asyncpg.Pool
    client: httpx.AsyncClient
    noticed: list[str] = field(default_factory=list)
    now: float = NOW

    async def send(
        self,
        body: bytes | str = '{"keys": ["1001"]}',
        to: str = "raven/Student",
        *,
        at: str | None = None,
        secret: str = SECRET,
        signed: str | None = None,
        signed_to: str | None = None,
    ) -> httpx.Response:
        """A call, signed as it should be where nothing else is said."""
        content = body.encode() if isinstance(body, str) else body
        timestamp = at if at is not None else f"{self.now}{next(_moments):06}"
        feed, _, entity = (signed_to or to).partition("/")
        said = signature(secret, timestamp, feed, entity, content) if signed is None else signed
        headers = [(b"Homeroom-Timestamp", timestamp.encode()), (b"Homeroom-Signature", said.encode())]
        return await self.client.post(f"/hooks/{to}", content=content, headers=headers)

    async def dirty(self) -> list[tuple[str, str, str]]:
        rows = await self.own.fetch(
            "select s.entity, t.side, t.key from trigger t join subject s on s.number = t.subject order by 1, 2, 3"
        )
        return [tuple(row.values()) for row in rows]


@asynccontextmanager
async def opened_hook(url: str, rate: Rate) -> AsyncIterator[Hook]:
    """On a socket, by the server that a worker would run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            opened_state(url) as own,
            pooled(url, 2) as pool,
            httpx.AsyncClient(base_url=base) as client,
            anyio.create_task_group() as tasks,
        ):
            hook = Hook(base, own, pool, client)
            feeds = {"raven": Hooked(SECRET, frozenset({"Student", "Staff"}), hook.noticed.append, rate)}
            app = webhook_app(pool, feeds, lambda: hook.now)
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
            tasks.start_soon(server.serve, [listener])
            yield hook
            await client.aclose()
            server.should_exit = True


@pytest.fixture
async def hook(database_of_test: str) -> AsyncIterator[Hook]:
    async with opened_hook(database_of_test, Rate()) as hook:
        yield hook


async def test_a_signed_call_is_stored_before_it_is_answered(hook: Hook) -> None:
    answer = await hook.send('{"keys": ["1001", "é-2", "1001"]}')
    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    assert await hook.dirty() == [("Student", "sis", "1001"), ("Student", "sis", "é-2")]
    assert hook.noticed == ["Student"]


async def test_the_example_of_the_documentation_is_accepted(hook: Hook, tmp_path: Path) -> None:
    """As it stands there, for this server and this feed."""
    text = (ROOT / "docs" / "merging.md").read_text(encoding="utf-8")
    script = text.partition("```bash\n")[2].partition("```")[0]
    script = script.replace("https://merge.example.org", hook.url).replace("maple-ridge", "raven")
    script = script.replace("curl ", "curl -s -o /dev/null -w '%{http_code}' ")
    hook.now = float((await anyio.run_process(["date", "+%s"])).stdout)
    told = await anyio.run_process(
        ["bash", "-c", script], env={**os.environ, "MAPLE_WEBHOOK": SECRET}, stderr=subprocess.DEVNULL
    )
    assert told.stdout == b"202"
    assert await hook.dirty() == [("Student", "sis", "1001"), ("Student", "sis", "1002")]


async def test_a_feed_that_is_not_there_is_answered_as_a_wrong_signature(hook: Hook) -> None:
    wrong = [
        await hook.send(secret="another", at=f"{NOW}"),
        await hook.send(to="nobody/Student", at=f"{NOW}"),
        await hook.send(to="raven/Nothing", secret="another", at=f"{NOW}"),
        await hook.send(signed="", at=f"{NOW}"),
        await hook.send(signed="é" * 64, at=f"{NOW}"),
        await hook.send("no json", to="raven/Staff", signed_to="raven/Student", at=f"{NOW}"),
    ]
    plain = {(answer.status_code, answer.content, answer.headers["Content-Type"]) for answer in wrong}
    assert len(plain) == 1
    assert wrong[0].status_code == 401
    assert wrong[0].headers["Content-Type"] == "application/problem+json"
    assert (await hook.dirty(), hook.noticed) == ([], [])


@pytest.mark.parametrize("off", [-301.0, 301.0])
async def test_a_timestamp_is_the_present_one(hook: Hook, off: float) -> None:
    answers = [await hook.send(at=f"{NOW + off}"), await hook.send(at=f"{NOW + off}", to="nobody/Student")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert "5 minutes" in answers[0].json()["detail"]
    for odd in ("", "nan", "-1", "1e9", "now", "१२३"):
        assert (await hook.client.post("/hooks/raven/Student", headers=[(b"Homeroom-Timestamp", odd.encode())])
                ).status_code == 401  # fmt: skip
    assert await hook.dirty() == []
    assert (await hook.send(at=f"{NOW + off * 0.99}")).status_code == 202


async def test_a_call_that_was_taken_is_not_taken_again(hook: Hook, database_of_test: str) -> None:
    """Nor after a restart; nor for another entity."""
    at = f"{NOW}"
    assert (await hook.send(at=at)).status_code == 202
    await hook.own.execute("delete from trigger")
    again = await hook.send(at=at)
    assert (again.status_code, "sign anew" in again.json()["detail"]) == (401, True)
    assert (await hook.send(at=at, to="raven/Staff", signed_to="raven/Student")).status_code == 401
    async with opened_hook(database_of_test, Rate()) as restarted:
        restarted.now = NOW + 299
        assert (await restarted.send(at=at)).status_code == 401
    assert await hook.dirty() == []
    assert hook.noticed == ["Student"]


async def test_of_many_at_once_with_one_signature_one_is_taken(hook: Hook) -> None:
    answers: list[int] = []

    async def send() -> None:
        answers.append((await hook.send(at=f"{NOW}")).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(send)
    assert sorted(answers) == [202] + [401] * 7


async def test_signatures_are_forgotten_once_they_are_too_old_to_hold(hook: Hook) -> None:
    await hook.send()
    await hook.send()
    hook.now += 602
    await hook.send()
    assert await hook.own.fetchval("select count(*) from webhook_call") == 1


async def test_a_body_that_is_too_large_is_not_read_to_its_end(hook: Hook) -> None:
    for feed in ("raven", "nobody"):
        answer = await hook.send(b" " * 1_048_577, to=f"{feed}/Student")
        assert (answer.status_code, "1,048,576" in answer.json()["detail"]) == (413, True)
    assert await hook.dirty() == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "no JSON"),
        ("[]", "nothing else"),
        ('{"keys": "1001"}', "nothing else"),
        ('{"keys": ["1"], "more": 1}', "nothing else"),
        ('{"keys": []}', "1 to 1,000"),
        (json.dumps({"keys": ["1"] * 1_001}), "1 to 1,000"),
        ('{"keys": [7]}', "/keys/0"),
        ('{"keys": ["1", ""]}', "/keys/1"),
        ('{"keys": ["\\u0000"]}', "/keys/0"),
        ('{"keys": ["\\ud800"]}', "no JSON"),
        (json.dumps({"keys": ["x" * 257]}), "/keys/0"),
    ],
)
async def test_what_is_no_list_of_keys_is_refused_with_its_faults(hook: Hook, body: str, said: str) -> None:
    answer = await hook.send(body)
    assert answer.status_code == 422
    assert said in answer.json()["errors"][0]
    assert await hook.dirty() == []


async def test_all_faults_are_named_at_once(hook: Hook) -> None:
    answer = await hook.send('{"keys": ["1", 2, "", null]}')
    assert [error.partition(":")[0] for error in answer.json()["errors"]] == ["/keys/1", "/keys/2", "/keys/3"]


async def test_an_entity_that_is_not_merged_is_told_to_those_who_can_sign(hook: Hook) -> None:
    answer = await hook.send(to="raven/Course")
    assert answer.status_code == 404
    assert "Staff, Student" in answer.json()["detail"]
    assert await hook.own.fetchval("select count(*) from subject where entity = 'Course'") == 0


async def test_a_place_that_is_none_is_a_problem_too(hook: Hook) -> None:
    assert (await hook.client.get("/hooks/raven/Student")).status_code == 405
    answer = await hook.client.post("/hook/raven")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


async def test_a_feed_that_calls_too_often_is_told_when_to_come_back(database_of_test: str) -> None:
    async with opened_hook(database_of_test, Rate(burst=3, per_second=0.5)) as hook:
        assert [(await hook.send()).status_code for _ in range(3)] == [202] * 3
        answer = await hook.send()
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
        assert (await hook.send(secret="another")).status_code == 401
        hook.now += 2
        assert [(await hook.send()).status_code for _ in range(2)] == [202, 429]


async def test_what_cannot_be_stored_is_not_accepted(hook: Hook) -> None:
    at = f"{NOW}"
    await hook.own.execute("alter table trigger rename to elsewhere")
    answer = await hook.send(at=at)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert hook.noticed == []
    await hook.own.execute("alter table elsewhere rename to trigger")
    assert (await hook.send(at=at)).status_code == 202


async def test_a_burst_of_calls_is_one_drain(hook: Hook) -> None:
    drains: list[tuple[str, str]] = []
    drained = anyio.Event()

    async def defer(feed: str, entity: str) -> None:
        drains.append((feed, entity))
        drained.set()

    debouncer = Debouncer("raven", defer, Debounce(1, 30))
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            assert (await hook.send(json.dumps({"keys": [str(uuid4())]}))).status_code == 202
        for entity in hook.noticed:
            debouncer.notice(entity)
        tasks.start_soon(debouncer.run)
        with anyio.fail_after(30):
            await drained.wait()
        tasks.cancel_scope.cancel()
    assert drains == [("raven", "Student")]
    assert len(await hook.dirty()) == 20
