"""A real node on real sockets: hang-ups, pipelining, drain."""

import os
import signal
import time
from pathlib import Path

import anyio
import httpx
import orjson
import pytest

from homeroom import RetryLater
from homeroom_server import database
from tests.processes import Node, running_node
from tests.records import accepted, available, note, pairs


def raw_request(node: Node, path: str, body: object, wait: str = "keep-alive") -> bytes:
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: core\r\nAuthorization: Bearer {node.key}\r\nConnection: {wait}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def held_on(node: Node) -> int:
    async with httpx.AsyncClient(base_url=node.url) as http:
        held: int = (await http.get("/readyz")).json()["held"]
    return held


async def until_held_on(node: Node, count: int) -> None:
    with anyio.fail_after(10):
        while await held_on(node) != count:
            await anyio.sleep(0.01)


HOLD = {"waitSeconds": 300, "types": [{"notificationType": "Bulletin", "maxCoreVersion": 0}]}
ASK = {"waitSeconds": 0, "types": [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]}


async def test_a_client_that_hangs_up_frees_its_place(node_files: Node) -> None:
    async with running_node(node_files) as node:
        host, port = node.url.removeprefix("http://").split(":")
        for _ in range(3):
            streams = [await anyio.connect_tcp(host, int(port)) for _ in range(20)]
            for stream in streams:
                await stream.send(raw_request(node, "/v1/is-data-available", HOLD))
            await until_held_on(node, 20)
            for stream in streams:
                await stream.aclose()
            await until_held_on(node, 0)
            assert await held_on(node) == 0


async def test_a_pipelined_request_is_answered_after_the_held_one(node_files: Node) -> None:
    async with running_node(node_files) as node, node.client() as client:
        host, port = node.url.removeprefix("http://").split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(raw_request(node, "/v1/is-data-available", HOLD))
            await until_held_on(node, 1)
            await stream.send(raw_request(node, "/v1/is-data-available", ASK, "close"))
            await accepted(client, "Bulletin", note("a"))
            said = b""
            with anyio.fail_after(10):
                while True:
                    try:
                        said += await stream.receive()
                    except anyio.EndOfStream:
                        break
        assert said.count(b"HTTP/1.1 200") == 2
        assert said.index(b'"reason":"newer"') < said.index(b'"Plan.2027"')


async def test_sigterm_answers_the_held_and_ends_soon(node_files: Node) -> None:
    async with running_node(node_files) as node, node.client() as client:
        answers = []

        async def hold() -> None:
            answers.append(await available(client, "Bulletin", wait_seconds=300))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(hold)
            await until_held_on(node, 10)
            begun = time.monotonic()
            os.kill(node.pid, signal.SIGTERM)
        assert [answer["reason"] for answer in answers] == ["none"] * 10
    assert time.monotonic() - begun < 5


async def test_held_requests_outlive_a_restart_of_the_database(node_files: Node) -> None:
    """What is asked while it is away is told to try again; the node is ready again without help."""
    async with running_node(node_files) as node, node.client() as client:
        (cursor,) = await accepted(client, "Bulletin", note("before"))
        answers = []

        async def hold() -> None:
            answers.append(await available(client, "Bulletin", since=cursor, wait_seconds=300))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held_on(node, 1)
            server = database.start_embedded(Path(node.data_dir))
            await anyio.to_thread.run_sync(server.stop)
            with pytest.raises(RetryLater) as failure:
                await client.submit("Bulletin", [note("meanwhile")])
            assert (failure.value.code, failure.value.status) == (2001, 503)
            with pytest.raises(RetryLater):
                await available(client, "Bulletin")
            await until_ready(node, 503)
            await anyio.to_thread.run_sync(server.ensure_postgres_running)
            await until_ready(node, 200)
            assert not answers
            (after,) = await accepted(client, "Bulletin", note("after"))
        assert pairs(answers[0]) == [("after", after)]


async def until_ready(node: Node, status: int) -> None:
    async with httpx.AsyncClient(base_url=node.url) as http:
        with anyio.fail_after(15):
            while (await http.get("/readyz")).status_code != status:
                await anyio.sleep(0.05)
