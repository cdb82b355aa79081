"""A parked connection minds all that a connection can do while its request is held."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import orjson
import pytest
import trustme
import uvicorn

from homeroom_server import parking
from homeroom_server import server as node_server
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import accepted, note
from tests.test_is_data_available import until_held

HOLD = {"waitSeconds": 300, "types": [{"notificationType": "Bulletin", "maxCoreVersion": 0}]}
ASK = {"waitSeconds": 0, "types": [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]}


class Line:
    """A connection of its own to a served Core, spoken byte by byte."""

    def __init__(self, stream: anyio.abc.ByteStream, key: str) -> None:
        self.stream = stream
        self.key = key
        self._said = b""

    async def ask(self, body: object, *headers: str, version: str = "1.1") -> None:
        await self.stream.send(self.request(body, *headers, version=version))

    def request(self, body: object, *headers: str, version: str = "1.1") -> bytes:
        content = orjson.dumps(body)
        lines = [f"POST /v1/is-data-available HTTP/{version}", "Host: core", f"Authorization: Bearer {self.key}"]
        lines += [*headers, f"Content-Length: {len(content)}", "", ""]
        return "\r\n".join(lines).encode() + content

    async def answer(self) -> tuple[bytes, Any]:
        """(head, document) of the next answer."""
        while b"\r\n\r\n" not in self._said:
            self._said += await self.stream.receive()
        head, _, rest = self._said.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += await self.stream.receive()
        self._said = rest[length:]
        return head, orjson.loads(rest[:length])

    async def is_closed(self) -> bool:
        """True once the node has closed it; fails the test if it says something instead."""
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(10):
            await self.stream.receive()
        return True


@pytest.fixture
async def served(plain_core: Core) -> AsyncIterator[uvicorn.Server]:
    async with plain_core.served() as server:
        yield server


@asynccontextmanager
async def line(core: Core) -> AsyncIterator[Line]:
    async with await anyio.connect_tcp("127.0.0.1", int(core.base_url.rpartition(":")[2])) as stream:
        with anyio.fail_after(20):
            yield Line(stream, await core.key("S.0982"))


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.lowlevel.checkpoint()


def reasons(document: Any) -> list[str]:
    return [entry["reason"] for entry in document["types"]]


async def test_a_parked_request_has_no_task_and_no_protocol(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        await a.ask(HOLD)
        await until_held(plain_core)
        with anyio.fail_after(10):
            while served.server_state.tasks:
                await anyio.lowlevel.checkpoint()
        assert not served.server_state.connections
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        head, document = await a.answer()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"homeroom-epoch: " + plain_core.services.feed.epoch.encode() in head
    assert reasons(document) == ["newer"]


async def test_a_connection_serves_on_after_it_was_parked(plain_core: Core, served: uvicorn.Server) -> None:
    writer = await plain_core.client("S.0982")
    async with line(plain_core) as a:
        cursor = 0
        for name in ("a", "b", "c"):
            await a.ask({"waitSeconds": 300, "types": [{"notificationType": "Bulletin", "maxCoreVersion": cursor}]})
            await until_held(plain_core)
            (cursor,) = await accepted(writer, "Bulletin", note(name))
            _, document = await a.answer()
            assert document["types"][0]["records"] == [{"id": name, "coreVersion": cursor}]
            await a.ask(ASK)
            assert reasons((await a.answer())[1]) == ["none"]


async def test_a_hang_up_frees_the_waiter(plain_core: Core, served: uvicorn.Server) -> None:
    for _ in range(3):
        async with line(plain_core) as a:
            await a.ask(HOLD)
            await until_held(plain_core)
        await until_held(plain_core, 0)


async def test_a_client_that_only_ends_its_side_has_hung_up(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        await a.ask(HOLD)
        await until_held(plain_core)
        await a.stream.send_eof()
        await until_held(plain_core, 0)
        assert await a.is_closed()


@pytest.mark.parametrize("together", [True, False])
async def test_bytes_that_come_early_are_served_after_the_answer(
    plain_core: Core, served: uvicorn.Server, together: bool
) -> None:
    async with line(plain_core) as a:
        if together:
            await a.stream.send(a.request(HOLD) + a.request(ASK))
            await until_held(plain_core)
        else:
            await a.ask(HOLD)
            await until_held(plain_core)
            await a.ask(ASK)
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        assert [reasons((await a.answer())[1]) for _ in range(2)] == [["newer"], ["none"]]


async def test_half_a_request_that_came_early_is_completed_after_the_answer(
    plain_core: Core, served: uvicorn.Server
) -> None:
    async with line(plain_core) as a:
        request = a.request(ASK)
        await a.stream.send(a.request(HOLD) + request[:50])
        await until_held(plain_core)
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        assert reasons((await a.answer())[1]) == ["newer"]
        await a.stream.send(request[50:])
        assert reasons((await a.answer())[1]) == ["none"]


async def test_a_client_that_floods_a_held_request_is_not_read_until_the_answer(
    plain_core: Core, served: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = anyio.Event()
    pause = parking.ParkedConnection.data_received

    def data_received(connection: parking.ParkedConnection, data: bytes) -> None:
        pause(connection, data)
        if not connection._transport.is_reading():
            paused.set()

    monkeypatch.setattr(parking.ParkedConnection, "data_received", data_received)
    async with line(plain_core) as a, anyio.create_task_group() as tasks:
        await a.ask(HOLD)
        await until_held(plain_core)
        tasks.start_soon(a.stream.send, a.request(ASK) * 1_000)
        await paused.wait()
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        told = [reasons((await a.answer())[1]) for _ in range(1_001)]
    assert told == [["newer"]] + [["none"]] * 1_000


@pytest.mark.parametrize(("headers", "version"), [(["Connection: close"], "1.1"), ([], "1.0")])
async def test_a_connection_that_ends_with_its_answer_does(
    plain_core: Core, served: uvicorn.Server, headers: list[str], version: str
) -> None:
    async with line(plain_core) as a:
        await a.ask(HOLD, *headers, version=version)
        await until_held(plain_core)
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        head, document = await a.answer()
        assert (reasons(document), b"connection: close" in head) == (["newer"], True)
        assert await a.is_closed()


async def test_a_node_that_drains_sends_its_clients_elsewhere(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        await a.ask(HOLD)
        await until_held(plain_core)
        await plain_core.services.waiters.drain(0)
        head, document = await a.answer()
        assert (reasons(document), b"connection: close" in head) == (["none"], True)
        assert await a.is_closed()


class TestSilence:
    @pytest.fixture
    def plain_core_of_little_patience(self, plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> Core:
        monkeypatch.setattr(node_server, "_KEEP_ALIVE_SECONDS", 1)
        return plain_core

    async def test_a_connection_that_never_speaks_is_closed(self, plain_core_of_little_patience: Core) -> None:
        async with plain_core_of_little_patience.served(), line(plain_core_of_little_patience) as a:
            assert await a.is_closed()

    async def test_a_held_request_is_not_silence_but_what_follows_its_answer_is(
        self, plain_core_of_little_patience: Core
    ) -> None:
        core = plain_core_of_little_patience
        async with core.served(), line(core) as a:
            await a.ask(HOLD | {"waitSeconds": 3})
            assert reasons((await a.answer())[1]) == ["none"]
            assert await a.is_closed()

    async def test_a_client_that_never_takes_its_answer_is_cut(
        self, plain_core_of_little_patience: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The node does not keep for ever what sockets cannot hold."""
        core = plain_core_of_little_patience
        cut, rest_no_longer = anyio.Event(), parking.ParkedConnection.rest_no_longer

        def say_and_end(connection: parking.ParkedConnection) -> None:
            rest_no_longer(connection)
            cut.set()

        monkeypatch.setattr(parking.ParkedConnection, "rest_no_longer", say_and_end)
        writer = await core.client("S.0982")
        async with core.served(send_buffer_bytes=4096):
            port = int(core.base_url.rpartition(":")[2])
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:  # reads when it is told to
                await Line(stream, await core.key("S.0982")).ask(HOLD)
                await until_held(core)
                await accepted(writer, "Bulletin", *(note(f"{'x' * 50}{i}") for i in range(5_000)))
                with anyio.fail_after(10):
                    await cut.wait()
                taken = 0
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    while True:
                        taken += len(await stream.receive())
        assert taken < 5_000 * len("x" * 50)


class TestTurns:
    """Requests over the limit wait for their turn; held ones, and those whose clients have gone, are not in the way."""

    @pytest.fixture
    async def narrow_core(self, database_of_test: str, settings: Settings, any_catalogue: str) -> AsyncIterator[Core]:
        narrow = replace(settings, catalogue=any_catalogue, requests_at_once_max=1)
        async with open_core(database_of_test, narrow) as core, core.served():
            yield core

    @pytest.fixture
    def stuck(self, narrow_core: Core, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], anyio.Event]:
        """Looks that have begun, and what lets them go on."""
        look = narrow_core.services.availability.look
        begun: list[object] = []
        go_on = anyio.Event()

        async def stuck_look(*arguments: Any) -> Any:
            begun.append(arguments)
            await go_on.wait()
            return await look(*arguments)

        monkeypatch.setattr(narrow_core.services.availability, "look", stuck_look)
        return begun, go_on

    async def test_one_waits_for_the_other(self, narrow_core: Core, stuck: tuple[list[object], anyio.Event]) -> None:
        begun, go_on = stuck
        async with line(narrow_core) as a, line(narrow_core) as b:
            await a.ask(ASK)
            await until(lambda: len(begun) == 1)
            await b.ask(ASK)
            await until(lambda: narrow_core.services.turns.waiting == 1)
            assert len(begun) == 1
            go_on.set()
            assert [reasons((await each.answer())[1]) for each in (a, b)] == [["none"]] * 2

    async def test_a_held_request_takes_no_turn(self, narrow_core: Core) -> None:
        async with line(narrow_core) as a, line(narrow_core) as b, line(narrow_core) as c:
            await a.ask(HOLD)
            await until_held(narrow_core)
            await b.ask(HOLD, version="1.0")
            await until_held(narrow_core, 2)
            await c.ask(ASK)
            assert reasons((await c.answer())[1]) == ["none"]

    async def test_a_client_that_has_gone_takes_no_turn(
        self, narrow_core: Core, stuck: tuple[list[object], anyio.Event]
    ) -> None:
        begun, go_on = stuck
        async with line(narrow_core) as a:
            await a.ask(ASK)
            await until(lambda: len(begun) == 1)
        async with line(narrow_core) as b:
            await b.ask(ASK)
            await until(lambda: len(begun) == 2)
            go_on.set()
            assert reasons((await b.answer())[1]) == ["none"]


async def test_parking_works_over_tls(
    database_of_test: str, settings: Settings, any_catalogue: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    over_tls = replace(settings, catalogue=any_catalogue, tls_certificate=str(certificate))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with open_core(database_of_test, over_tls) as core, core.served() as server:
        key, port = await core.key("S.0982"), int(core.base_url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=trust, tls_hostname="127.0.0.1") as stream:
            a = Line(stream, key)
            with anyio.fail_after(20):
                await a.ask(HOLD)
                await until_held(core)
                assert not server.server_state.connections
                async with core.services.pool.acquire() as connection:
                    await connection.execute("select 1")
                core.base_url = "http://core"
                await accepted(await core.client("S.0982"), "Bulletin", note("a"))
                assert reasons((await a.answer())[1]) == ["newer"]
                await a.ask(ASK)
                assert reasons((await a.answer())[1]) == ["none"]
        await until_held(core, 0)
