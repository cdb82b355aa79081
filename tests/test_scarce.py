"""Too little of what a node needs: open files, memory, time for TLS. It refuses some and goes on for the others."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import httpx
import orjson
import psutil
import pytest
import trustme
from structlog.testing import capture_logs

from homeroom import RetryLater
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.processes import Node, running_node
from tests.records import Json, accepted, note
from tests.test_parking import line
from tests.test_sockets import HOLD, held_on, raw_request, until_held_on

SOON = {**HOLD, "waitSeconds": 1, "types": [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]}
MIB = 2**20


async def connect(node: Node) -> anyio.abc.SocketStream:
    host, port = node.url.removeprefix("http://").split(":")
    return await anyio.connect_tcp(host, int(port))


async def is_closed(stream: anyio.abc.SocketStream) -> bool:
    """Whether the node has closed it; it says nothing meanwhile."""
    with anyio.move_on_after(0.05):
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
    return False


class TestOpenFiles:
    async def test_those_that_it_has_are_served_and_new_ones_once_others_leave(self, node_files: Node) -> None:
        async with running_node(node_files) as node, AsyncExitStack() as stack:
            process = psutil.Process(node.pid)
            client = await stack.enter_async_context(node.client())
            await accepted(client, "Bulletin", note("before"))
            held = await stack.enter_async_context(await connect(node))
            await held.send(raw_request(node, "/v1/is-data-available", SOON))
            await until_held_on(node, 1)
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 5,) * 2)
            crowd = [await stack.enter_async_context(await connect(node)) for _ in range(30)]
            assert sum([await is_closed(each) for each in crowd]) >= 20
            used = sum(process.cpu_times()[:2])
            said = await held.receive()  # when its wait is over
            assert b" 200 " in said
            assert sum(process.cpu_times()[:2]) - used < 0.5
            await accepted(client, "Bulletin", note("meanwhile"))
            for each in crowd:
                await each.aclose()
            with anyio.fail_after(10):
                assert await held_on(node) == 0  # over a connection of its own

    async def test_a_full_node_says_so_once(self, database_of_test: str, settings: Settings) -> None:
        full = replace(settings, connections_max=2)
        async with open_core(database_of_test, full) as core, core.served(), line(core) as a, line(core) as b:
            await a.ask({})
            await a.answer()
            with capture_logs() as logged:
                for _ in range(5):
                    async with line(core) as c:
                        head, problem = await c.answer()
                        assert (head[:13], problem["code"]) == (b"HTTP/1.1 503 ", 2001)
                        assert b"retry-after: " in head
            await b.ask({})
            await b.answer()
        (said,) = [each for each in logged if "full" in each["event"]]
        assert "LimitNOFILE" in said["event"]


class TestMemory:
    async def test_many_large_bodies_at_once_take_memory_for_some_and_all_are_served_by_and_by(
        self, node_files: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOMEROOM_BODY_BYTES_MAX", str(2 * MIB))
        monkeypatch.setenv("HOMEROOM_BODIES_BYTES_MAX", str(6 * MIB))
        async with running_node(node_files) as node, speaking(node) as http:
            assert (await submit(http, note("first"))).status_code == 200
            before = high_water_mib(node)
            answers: Counter[int] = Counter()

            async def send(number: int) -> None:
                large = [note(f"n{number}-{i}", "x" * 60_000) for i in range(33)]
                while (answer := await submit(http, *large)).status_code == 503:
                    answers[503] += 1
                    assert "bodies_bytes_max" in answer.json()["detail"]
                    assert answer.headers["Retry-After"]
                    await anyio.sleep(0.05)
                answers[answer.status_code] += 1

            with anyio.fail_after(120):
                async with anyio.create_task_group() as tasks:
                    for number in range(CALLERS):
                        tasks.start_soon(send, number)
            assert answers[200] == CALLERS
            assert answers[503] > 0
            assert high_water_mib(node) - before < GROWTH_MIB_MAX

    async def test_a_call_for_which_there_is_no_room_is_refused_alone(self, node_files: Node) -> None:
        """Its JSON is sound: to say otherwise would make its client give the change up."""
        async with running_node(node_files) as node, speaking(node) as http:
            assert (await submit(http, note("small"))).status_code == 200
            process = psutil.Process(node.pid)
            process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + 60 * MIB,) * 2)
            body = b'{"records":[{"id":"a","expectedVersion":0,"body":{"a":[%s{}]}}]}' % (b"{}," * 2_500_000)
            refused = await http.post("/v1/submit/Note", content=body)
            assert (refused.status_code, refused.json()["code"]) == (503, 2001)
            assert "memory" in refused.json()["detail"]
            assert refused.headers["Retry-After"]
            assert (await submit(http, note("another"))).status_code == 200
            assert (await http.get("/readyz")).json()["pid"] == node.pid

    async def test_so_is_one_that_runs_out_of_it_on_its_way(
        self, plain_core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def exhausted(*_: object) -> None:
            raise MemoryError

        client = await plain_core.client("S.0982")
        for service in ("committer.commit", "directory.identify"):
            room, _, name = service.partition(".")
            with monkeypatch.context() as patch:
                patch.setattr(getattr(plain_core.services, room), name, exhausted)
                with pytest.raises(RetryLater, match="memory"):
                    await client.submit("Note", [note("a")])
        with monkeypatch.context() as patch:
            patch.setattr(plain_core.services.directory, "identify", exhausted)
            with pytest.raises(RetryLater, match="memory"):
                await client.hello()
        await accepted(client, "Note", note("a"))


CALLERS = 50
GROWTH_MIB_MAX = 60
"""Ten times what is let in at once; all of them together would be 100 MiB before anything is made of them."""


@asynccontextmanager
async def speaking(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {node.key}"}
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(base_url=node.url, headers=headers, timeout=60, limits=limits) as http:
        yield http


async def submit(http: httpx.AsyncClient, *records: Json) -> httpx.Response:
    return await http.post("/v1/submit/Note", content=orjson.dumps({"records": records}))


def high_water_mib(node: Node) -> int:
    """The most memory that it has had."""
    status = Path(f"/proc/{node.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


async def test_who_does_not_finish_the_handshake_is_not_waited_for(
    database_of_test: str, settings: Settings, tmp_path: Path
) -> None:
    certificate = tmp_path / "certificate.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    over_tls = replace(settings, tls_certificate=str(certificate), tls_handshake_seconds_max=0.2)
    async with open_core(database_of_test, over_tls) as core, core.served():
        port = int(core.base_url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
