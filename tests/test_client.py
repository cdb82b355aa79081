"""The clients themselves: what they make of answers, cuts and mix-ups; with and without an event loop."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from uuid import UUID

import anyio
import anyio.from_thread
import httpx
import orjson
import pytest

from homeroom import BlockingClient, Client, ConnectionCut, FixRequest, RetryLater, StopCalling
from tests.records import Json
from tests.scripted_core import ScriptedCore, problem

ASKED = [{"notificationType": "Note", "maxCoreVersion": 0}]


def answering(*answers: httpx.Response | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A transport that gives these answers one after the other, and the requests that came."""
    left, requests = iter(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return httpx.MockTransport(answer), requests


def ok(answer: Json) -> httpx.Response:
    return httpx.Response(200, content=orjson.dumps(answer), headers={"Homeroom-Epoch": "e"})


def listed(name: str = "Note", reason: str = "none", cursor: int = 5, *records: Json) -> Json:
    entry = {"notificationType": name, "reason": reason, "maxCoreVersion": cursor, "complete": True}
    return {"types": [entry | {"records": list(records)}]}


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (httpx.ConnectError("refused"), RetryLater, "cannot be reached"),
        (httpx.ReadError("reset"), ConnectionCut, "was cut"),
        (httpx.RemoteProtocolError("eof"), ConnectionCut, "was cut"),
        (httpx.ReadTimeout("late"), ConnectionCut, "was cut"),
        (httpx.Response(504, content=b"<html>"), ConnectionCut, "504"),
        (httpx.Response(524, content=b"<html>"), ConnectionCut, "524"),
        (httpx.Response(500, content=b"oops"), RetryLater, "500"),
        (httpx.Response(200, content=b"<html>hotel wifi</html>"), RetryLater, "does not belong"),
        (httpx.Response(200, content=b"[1]"), RetryLater, "does not belong"),
        (ok({"types": []}), RetryLater, "does not belong"),
        (ok(listed("Plan.2027")), RetryLater, "does not belong"),
        (ok(listed("Note", "newer", 9, {"id": "a", "coreVersion": 0})), RetryLater, "does not belong"),
        (problem(400, 3005, "fix", "unknown type"), FixRequest, "unknown type"),
        (problem(401, 1001, "stop", "no such key"), StopCalling, "no such key"),
        (problem(503, 2001, "retry", "draining", retry_after=7), RetryLater, "draining"),
        (
            httpx.Response(503, content=b"{}", headers={"Content-Type": "application/problem+json"}),
            ConnectionCut,
            "cannot be read",
        ),
    ],
)
async def test_whatever_comes_back_is_an_error_of_the_tree(
    answer: httpx.Response | Exception, error: type[Exception], says: str
) -> None:
    transport, _ = answering(answer)
    async with Client("http://core", "key", transport=transport) as client:
        with pytest.raises(error, match=says):
            await client.is_data_available(ASKED, 0)


@pytest.mark.parametrize(
    "answer",
    [
        {"records": [], "stoppedAt": None},
        {"records": [{"id": "b", "availability": "Unknown"}], "stoppedAt": None},
        {"records": [{"id": "a", "availability": "Normal", "coreVersion": 6, "body": {}}], "stoppedAt": None},
    ],
)
async def test_an_answer_to_another_get_is_not_taken(answer: Json) -> None:
    transport, _ = answering(ok(answer))
    async with Client("http://core", "key", transport=transport) as client:
        with pytest.raises(RetryLater, match="does not belong"):
            await client.get("Note", [{"id": "a", "expectedVersion": 5}])


async def test_a_retried_submit_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"results": [{"id": "a", "coreVersion": 5, "rejections": []}]}
    transport, requests = answering(httpx.ReadError("reset"), httpx.Response(502), ok(result))
    async with Client("http://core", "key", retry_seconds=30, transport=transport) as client:
        answer = await client.submit("Note", [{"id": "a", "expectedVersion": 0, "body": {}}])
    assert (answer.epoch, answer.results[0]["coreVersion"]) == ("e", 5)
    keys = {UUID(request.headers["Idempotency-Key"]) for request in requests}
    assert (len(requests), len(keys)) == (3, 1)


async def test_what_must_be_mended_is_not_retried() -> None:
    transport, requests = answering(problem(400, 3002, "fix", "no JSON"))
    async with Client("http://core", "key", retry_seconds=30, transport=transport) as client:
        with pytest.raises(FixRequest):
            await client.hello()
    assert len(requests) == 1


async def test_a_connection_that_mixes_answers_up_is_left() -> None:
    """A proxy that sends an answer twice would shift every later one: the second must not be read."""
    numbers = count()

    async def serve(stream: anyio.abc.SocketStream) -> None:
        number = next(numbers)
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await answer_all(stream, number)

    async def answer_all(stream: anyio.abc.SocketStream, number: int) -> None:
        async for _ in stream:
            body = orjson.dumps(listed(cursor=5))
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
            await stream.send((head.encode() + body) * (2 if number == 0 else 1))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        async with Client(f"http://127.0.0.1:{port}", "key") as client:
            assert (await client.is_data_available(ASKED, 0)).types[0]["maxCoreVersion"] == 5
            for _ in range(2):
                try:
                    await client.get("Note", [{"id": "a"}])
                except RetryLater as failure:
                    assert "does not belong" in failure.detail
            assert (await client.is_data_available(ASKED, 0)).types[0]["maxCoreVersion"] == 5
        assert next(numbers) > 1
        tasks.cancel_scope.cancel()


@contextmanager
def blocking(core: ScriptedCore) -> Iterator[BlockingClient]:
    with BlockingClient("http://core", "key", transport=core) as client:
        yield client


def test_without_an_event_loop_everything_is_the_same() -> None:
    core = ScriptedCore()
    version = core.write("a", {"n": 1})
    with blocking(core) as client:
        assert client.hello().organization == "S.0982"
        assert [entry["name"] for entry in client.notification_types().notification_types] == ["Note", "NoteStatus"]
        assert client.is_data_available(ASKED, 0).types[0]["records"] == [{"id": "a", "coreVersion": version}]
        assert client.get("Note", [{"id": "a"}]).records[0]["body"] == {"n": 1}
        whole = {"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}
        assert client.reconcile("Note", version, [whole]).ranges[0]["result"] == "records"
        assert [list(line) for line in client.snapshot("Note")] == [
            ["until", "epoch"],
            ["id", "coreVersion", "deleted", "changedAt", "body"],
            ["bookmark"],
        ]
        first = next(client.snapshot("Note"))
        assert first["until"] == version
        with pytest.raises(FixRequest):
            client.submit("Note", [])


def test_both_clients_have_the_same_methods() -> None:
    def methods(of: type) -> dict[str, list[str]]:
        found = inspect.getmembers(of, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in found if not name.startswith("_")}

    without = methods(Client)
    del without["snapshot_lines"]
    assert methods(BlockingClient) == without
