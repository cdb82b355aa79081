"""Whoever sends too much, too slowly or too often is refused early; the others go on as if nothing were."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import orjson
import pytest
import zstandard

from homeroom import RetryLater
from homeroom.protocol import JSON_DEPTH_MAX
from homeroom_server.edge.speaking import Speaking
from homeroom_server.settings import Settings
from homeroom_server.store import streams
from tests.conftest import Core, open_core
from tests.records import accepted, note
from tests.test_is_data_available import until_held
from tests.test_parking import ASK, HOLD, Line, line, reasons, until

SUBMIT = "/v1/submit/Note"


@pytest.fixture
def serve(database_of_test: str, settings: Settings, any_catalogue: str) -> Any:
    """Opens a Core on a socket, with other limits than usual; callers from this machine are no proxies of its."""

    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[Core]:
        narrow = replace(settings, catalogue=any_catalogue, **{"proxies": "", **limits})
        async with open_core(database_of_test, narrow) as core, core.served():
            yield core

    return opened


async def until_refused(core: Core, limit: str, count: int = 1) -> None:
    await until(lambda: core.services.tally.refusals[limit] >= count)


async def head_and_problem(a: Line) -> tuple[bytes, Any]:
    """The answer, and that nothing comes after it."""
    head, problem = await a.answer()
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert await a.is_closed()
    return head, problem


class TestRequestsThatAreSlow:
    @pytest.fixture
    async def core(self, serve: Any) -> AsyncIterator[Core]:
        async with serve(header_seconds_max=0.2, body_seconds_max=0.6) as core:
            yield core

    async def test_headers_that_do_not_end_are_not_waited_for(self, core: Core) -> None:
        async with line(core) as a:
            await a.stream.send(b"POST /v1/is-data-available HTTP/1.1\r\nHost: co")
            head, problem = await head_and_problem(a)
        assert head.startswith(b"HTTP/1.1 408 ")
        assert "header_seconds_max" in problem["detail"]
        assert core.services.tally.refusals["header_seconds_max"] == 1

    async def test_neither_is_a_body(self, core: Core) -> None:
        async with line(core) as a:
            await a.stream.send(a.request(ASK)[:-5])
            head, problem = await head_and_problem(a)
        assert head.startswith(b"HTTP/1.1 408 ")
        assert "body_seconds_max" in problem["detail"]
        assert core.services.turns.at_once == 0

    async def test_a_drop_now_and_then_changes_nothing(self, core: Core) -> None:
        async with line(core) as a:
            request = a.request(ASK)
            with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)):
                for place in range(len(request)):
                    await a.stream.send(request[place : place + 1])
                    with anyio.move_on_after(0.05):
                        assert b" 408 " in await a.stream.receive()
        await until_refused(core, "header_seconds_max")

    async def test_what_came_early_is_no_debt_while_a_request_is_held(self, core: Core) -> None:
        writer = await core.client("S.0982")
        async with line(core) as a:
            early = a.request(ASK)
            await a.stream.send(a.request(HOLD) + early[:50])
            await until_held(core)
            for number in (1, 2):  # of others the node loses its patience meanwhile
                async with line(core) as slow:
                    await slow.stream.send(b"GET /healthz HTT")
                    await until_refused(core, "header_seconds_max", number)
            await accepted(writer, "Bulletin", note("a"))
            assert reasons((await a.answer())[1]) == ["newer"]
            await a.stream.send(early[50:])
            assert reasons((await a.answer())[1]) == ["none"]


class TestHeadersThatAreLong:
    @pytest.mark.parametrize("pieces", [1, 9])
    async def test_they_are_refused_whole_or_not(self, plain_core: Core, pieces: int) -> None:
        async with plain_core.served(), line(plain_core) as a:
            request = a.request(ASK, "X-Long: " + "x" * 16 * 1024)
            for place in range(pieces):
                await a.stream.send(request[place * 2_000 : None if place == pieces - 1 else (place + 1) * 2_000])
                await anyio.lowlevel.checkpoint()
            head, problem = await head_and_problem(a)
        assert head.startswith(b"HTTP/1.1 431 ")
        assert problem["action"] == "fix"
        assert plain_core.services.tally.refusals["header_bytes_max"] == 1

    async def test_a_header_without_end_is_refused_before_it_ends(self, plain_core: Core) -> None:
        async with plain_core.served(), line(plain_core) as a:
            await a.stream.send(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 17 * 1024)
            assert (await head_and_problem(a))[0].startswith(b"HTTP/1.1 431 ")

    async def test_so_are_headers_behind_a_body(self, plain_core: Core) -> None:
        async with plain_core.served(), line(plain_core) as a:
            head = a.request(ASK).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
            await a.stream.send(head + b"2\r\n{}\r\n0\r\nX-Long: " + b"x" * 20 * 1024)
            assert b" 431 " in (await head_and_problem(a))[0]

    async def test_a_large_body_is_no_header(self, plain_core: Core) -> None:
        async with plain_core.served(), line(plain_core) as a:
            for _ in range(2):
                await a.stream.send(a.request(ASK | {"padding": "x" * 100_000}))
                assert (await a.answer())[1]["code"] == 3001


class TestConnections:
    async def test_one_address_has_only_so_many(self, serve: Any) -> None:
        async with serve(connections_per_address_max=2) as core, line(core) as a, line(core) as b:
            async with line(core) as c:
                assert await c.is_closed()
            await a.ask(ASK)
            assert reasons((await a.answer())[1]) == ["none"]
            assert core.services.tally.refusals["connections_per_address_max"] == 1
            await b.stream.aclose()
            await until(lambda: core.services.door.connections == 1)
            async with line(core) as d:
                await d.ask(ASK)
                assert reasons((await d.answer())[1]) == ["none"]
        assert core.services.door.most_of_one == 0

    async def test_a_held_request_goes_on_to_count(self, serve: Any) -> None:
        async with serve(connections_per_address_max=1) as core:
            async with line(core) as a:
                await a.ask(HOLD)
                await until_held(core)
                async with line(core) as b:
                    assert await b.is_closed()
            await until(lambda: core.services.door.connections == 0)

    async def test_a_proxy_of_ours_has_as_many_as_it_likes(self, serve: Any) -> None:
        ours = {"connections_per_address_max": 1, "proxies": "127.0.0.1"}
        async with serve(**ours) as core, line(core) as a, line(core) as b:
            for each in (a, b):
                await each.ask(ASK)
                assert reasons((await each.answer())[1]) == ["none"]

    async def test_a_node_that_is_full_says_so(self, serve: Any) -> None:
        async with serve(connections_max=1) as core, line(core) as a:
            await a.ask(HOLD)
            await until_held(core)
            async with line(core) as b:
                head, problem = await head_and_problem(b)
            assert (head[:13], problem["code"]) == (b"HTTP/1.1 503 ", 2001)
            assert b"retry-after: " in head
            assert core.services.waiters.held == 1

    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("203.0.113.9", b"\xcb\x00\x71\x09"),
            ("::ffff:203.0.113.9", b"\xcb\x00\x71\x09"),
            ("2001:db8:1:2::1", b"\x20\x01\x0d\xb8\x00\x01\x00\x02"),
            ("127.0.0.1", b""),
            ("", b""),
        ],
    )
    async def test_addresses_are_counted_as_they_are_given_out(
        self, plain_core: Core, address: str, counted: bytes
    ) -> None:
        assert plain_core.services.peers.counted_as(address) == counted


class TestAnswersThatNobodyTakes:
    @pytest.fixture
    async def core(self, database_of_test: str, settings: Settings, any_catalogue: str) -> AsyncIterator[Core]:
        impatient = replace(settings, catalogue=any_catalogue, stalled_seconds_max=0.4)
        async with open_core(database_of_test, impatient) as core:
            writer = await core.client("S.0982")
            await accepted(writer, "Bulletin", *(note(f"{i}", text="x" * 1_000) for i in range(3_000)))
            async with core.served(send_buffer_bytes=4096):
                yield core

    async def test_a_snapshot_is_cut(self, core: Core) -> None:
        async with line(core) as a:
            await a.stream.send(get(a, "/v1/snapshot/Bulletin"))
            await until_refused(core, "stalled_seconds_max")
            await until(lambda: core.services.bulk_readers.admitted == 0)

    async def test_so_is_an_answer_that_was_the_last(self, core: Core) -> None:
        async with line(core) as a:
            ids = [{"id": str(i)} for i in range(3_000)]
            asked = a.request({"records": ids}, "Connection: close")
            await a.stream.send(asked.replace(b"/v1/is-data-available", b"/v1/get/Bulletin", 1))
            await until_refused(core, "stalled_seconds_max")
        await until(lambda: core.services.door.connections == 0)

    async def test_and_what_a_held_request_was_told(self, core: Core) -> None:
        async with line(core) as a:
            await a.ask({"waitSeconds": 300, "types": [{"notificationType": "Bulletin", "maxCoreVersion": 3_000}]})
            await until_held(core)
            await accepted(await core.client("S.0982"), "Bulletin", *(note(f"{'y' * 50}{i}") for i in range(5_000)))
            await until_refused(core, "stalled_seconds_max")

    async def test_who_takes_it_slowly_gets_it_whole(self, core: Core) -> None:
        async with line(core) as a:
            await a.stream.send(get(a, "/v1/snapshot/Bulletin", "Connection: close"))
            taken = b""
            with pytest.raises(anyio.EndOfStream), anyio.fail_after(60):
                while True:
                    taken += await a.stream.receive(200_000)
                    await anyio.sleep(0.05)
        assert b'{"bookmark":' in taken
        assert core.services.tally.refusals["stalled_seconds_max"] == 0


def get(a: Line, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: core", f"Authorization: Bearer {a.key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


class TestBodies:
    """Compressed ones: what is in them counts."""

    RECORDS = orjson.dumps({"records": [note("a", text="x" * 1_000)]})

    @staticmethod
    async def post(core: Core, content: bytes, *encodings: str) -> httpx.Response:
        key = await core.key("S.0982")
        headers = [("Authorization", f"Bearer {key}"), *(("Content-Encoding", each) for each in encodings)]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://core") as http:
            return await http.post(SUBMIT, content=content, headers=headers)

    @pytest.mark.parametrize(
        ("encoding", "compress"),
        [
            ("gzip", gzip.compress),
            ("zstd", zstandard.compress),
            ("ZSTD", lambda body: _without_size(body)),
        ],
    )
    async def test_they_are_inflated(self, plain_core: Core, encoding: str, compress: Callable[[bytes], bytes]) -> None:
        answer = await self.post(plain_core, compress(self.RECORDS), encoding)
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][0]["rejections"] == []

    @pytest.mark.parametrize("size_is_told", [True, False])
    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    async def test_a_bomb_is_not_set_off(self, plain_core: Core, encoding: str, size_is_told: bool) -> None:
        large = b'{"records":[' + b" " * 100_000_000
        if encoding == "gzip":
            bomb = gzip.compress(large)
        else:
            bomb = zstandard.compress(large) if size_is_told else _without_size(large)
        assert len(bomb) < 200_000
        answer = await self.post(plain_core, bomb, encoding)
        assert (answer.status_code, answer.json()["code"]) == (413, 3003)
        assert plain_core.services.tally.refusals["body_bytes_max"] == 1

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    @pytest.mark.parametrize(
        "harm", [lambda body: body[:-3], lambda body: body + b"more", lambda body: b"", bytes.upper]
    )
    async def test_what_is_broken_is_refused(
        self, plain_core: Core, encoding: str, harm: Callable[[bytes], bytes]
    ) -> None:
        whole = gzip.compress(self.RECORDS) if encoding == "gzip" else _without_size(self.RECORDS)
        answer = await self.post(plain_core, harm(whole), encoding)
        assert (answer.status_code, answer.json()["code"]) == (400, 3002)

    @pytest.mark.parametrize("encodings", [["br"], ["gzip, gzip"], ["gzip", "zstd"], ["deflate"]])
    async def test_others_are_refused_and_those_named_that_are_taken(
        self, plain_core: Core, encodings: list[str]
    ) -> None:
        answer = await self.post(plain_core, self.RECORDS, *encodings)
        assert (answer.status_code, answer.json()["code"]) == (400, 3002)
        assert "gzip or zstd" in answer.json()["detail"]

    async def test_a_deep_body_is_counted(self, plain_core: Core) -> None:
        deep: Any = 1
        for _ in range(JSON_DEPTH_MAX):
            deep = {"a": deep}
        answer = await self.post(plain_core, orjson.dumps({"records": [note("a") | {"body": {"b": deep}}]}))
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/records/0/body"]
        assert plain_core.services.tally.refusals["json_depth_max"] == 1


def _without_size(body: bytes) -> bytes:
    """As one compresses who does not know how much is to come."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(body) + stream.flush()


class TestRates:
    async def test_a_client_calls_so_often_and_the_others_do_not_notice(self, serve: Any) -> None:
        async with serve(calls_per_client_per_second_max=2) as core:
            many, other = await core.client("S.0982"), await core.client("S.0990")
            answered = 0
            with pytest.raises(RetryLater) as refused:
                for _ in range(20):
                    await many.hello()
                    answered += 1
            assert 4 <= answered < 20  # a burst of two seconds' worth
            assert (refused.value.code, refused.value.status) == (2004, 429)
            assert "calls_per_client_per_second_max" in refused.value.detail
            assert refused.value.retry_after_seconds is not None
            assert 1 <= refused.value.retry_after_seconds <= 5
            await other.hello()

    async def test_nought_is_no_limit(self, serve: Any) -> None:
        async with serve(calls_per_client_per_second_max=0) as core:
            client = await core.client("S.0982")
            for _ in range(50):
                await client.hello()


class TestOverload:
    """One request is worked on and one waits: more are refused unread, but for those that have been held."""

    @pytest.fixture
    async def core(self, serve: Any) -> AsyncIterator[Core]:
        async with serve(requests_at_once_max=1, turns_waiting_max=1) as core:
            yield core

    async def test_new_ones_are_refused_and_held_ones_served(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        turns = core.services.turns
        writer = await core.client("S.0982")
        async with AsyncExitStack() as stack:
            held = await stack.enter_async_context(line(core))
            await held.ask(HOLD)
            await until_held(core)
            await accepted(writer, "Bulletin", note("a"))
            assert reasons((await held.answer())[1]) == ["newer"]
            await until(lambda: turns.at_once == 0)
            look, go_on = core.services.availability.look, anyio.Event()

            async def stuck_look(*arguments: Any) -> Any:
                await go_on.wait()
                return await look(*arguments)

            monkeypatch.setattr(core.services.availability, "look", stuck_look)
            a, b, c = [await stack.enter_async_context(line(core)) for _ in range(3)]
            await a.ask(ASK)
            await until(lambda: turns.at_once == 1)
            await b.ask(ASK)
            await until(lambda: turns.waiting == 1)
            await held.ask(ASK)
            await until(lambda: turns.waiting == 2)
            await c.stream.send(b"whatever this is")
            head, problem = await head_and_problem(c)
            assert (head[:13], problem["code"]) == (b"HTTP/1.1 503 ", 2001)
            assert b"retry-after: " in head
            assert core.services.tally.refusals["turns_waiting_max"] == 1
            go_on.set()
            for each in (a, b, held):
                assert reasons((await each.answer())[1]) == ["none"]


async def ask_get(a: Line) -> None:
    """Of a call that does not ask to be held."""
    request = a.request({"records": [{"id": "a"}]})
    await a.stream.send(request.replace(b"/v1/is-data-available", b"/v1/get/Note"))


class TestNoTurnInTime:
    """One request is worked on, one waits, and nobody is to wait at all."""

    @pytest.fixture
    async def core(self, serve: Any) -> AsyncIterator[Core]:
        async with serve(requests_at_once_max=1, turn_seconds_max=0) as core:
            yield core

    async def test_others_are_refused_where_they_are_and_served_later(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns, read, go_on = core.services.turns, streams.read_records, anyio.Event()

        async def stuck_read(*arguments: Any) -> Any:
            await go_on.wait()
            return await read(*arguments)

        monkeypatch.setattr(streams, "read_records", stuck_read)
        async with AsyncExitStack() as stack:
            a, b, c, probe, herd = [await stack.enter_async_context(line(core)) for _ in range(5)]
            await ask_get(a)
            await until(lambda: turns.at_once == 1)
            await ask_get(b)
            await until(lambda: turns.waiting == 1)
            for _ in range(2):
                await ask_get(c)
                head, problem = await c.answer()
                assert (head[:13], problem["code"]) == (b"HTTP/1.1 503 ", 2001)
                assert b"retry-after: " in head
            await herd.ask(ASK)
            await until(lambda: turns.waiting == 2)
            await probe.stream.send(b"GET /readyz HTTP/1.1\r\n\r\n")
            await until(lambda: turns.waiting == 3)
            assert core.services.tally.refusals["turn_seconds_max"] == 2
            go_on.set()
            for each in (a, b, herd, probe):
                assert b" 200 " in (await each.answer())[0]
            await ask_get(c)
            assert b" 200 " in (await c.answer())[0]


async def test_requests_sent_one_upon_the_other_are_parsed_as_they_are_answered(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[int] = []
    begin = Speaking.on_message_begin

    def on_message_begin(speaking: Speaking) -> None:
        ahead.append(len(speaking.pipeline))
        begin(speaking)

    monkeypatch.setattr(Speaking, "on_message_begin", on_message_begin)
    async with plain_core.served(), line(plain_core) as a, anyio.create_task_group() as tasks:
        tasks.start_soon(a.stream.send, b"GET /healthz HTTP/1.1\r\n\r\n" * 5_000)
        for _ in range(5_000):
            assert (await a.answer())[1] == {"status": "alive"}
    assert 10 < max(ahead) < 200
