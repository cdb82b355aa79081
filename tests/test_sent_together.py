"""What is sent together is answered in turn and leaves nothing behind: no turn, no held request, nobody's word."""

import anyio.lowlevel
import pytest
import uvicorn

from tests.conftest import Core
from tests.records import accepted, note
from tests.test_is_data_available import until_held
from tests.test_parking import ASK, HOLD, Line, line, reasons, served, until

__all__ = ["served"]

NONSENSE = b"nonsense\r\n\r\n"
HELLO = "GET /v1/hello HTTP/1.1\r\nHost: core\r\nAuthorization: Bearer {}\r\n{}\r\n"


def hello(a: Line, *headers: str) -> bytes:
    return HELLO.format(a.key, "".join(f"{header}\r\n" for header in headers)).encode()


async def said_400(a: Line) -> bool:
    """True if that is the next and last that is said."""
    said = a._said
    with anyio.fail_after(10):
        while not said.endswith(b"received."):
            said += await a.stream.receive()
    return said.startswith(b"HTTP/1.1 400 ") and b"connection: close" in said and await a.is_closed()


@pytest.mark.parametrize("nonsense", [NONSENSE, b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n"], ids=["words", "header"])
async def test_nonsense_is_told_so_behind_the_answers_before_it(
    plain_core: Core, served: uvicorn.Server, nonsense: bytes
) -> None:
    async with line(plain_core) as a:
        await a.stream.send(hello(a) + a.request(ASK) + nonsense + hello(a))
        assert (await a.answer())[1]["organization"] == "S.0982"
        assert reasons((await a.answer())[1]) == ["none"]
        assert await said_400(a)


async def test_so_it_is_behind_a_request_that_is_held(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        await a.stream.send(a.request(HOLD) + NONSENSE)
        await until_held(plain_core)
        await accepted(await plain_core.client("S.0982"), "Bulletin", note("a"))
        assert reasons((await a.answer())[1]) == ["newer"]
        assert await said_400(a)


async def test_a_request_whose_body_is_broken_is_not_served(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        broken = a.request(ASK).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        await a.stream.send(hello(a) + broken)
        assert (await a.answer())[1]["organization"] == "S.0982"
        assert await said_400(a)


async def test_trailers_are_no_headers(plain_core: Core, served: uvicorn.Server) -> None:
    """No proxy has seen them: they must not say who calls, nor from where."""
    async with line(plain_core) as a:
        head = b"POST /v1/get/Note HTTP/1.1\r\nHost: core\r\nTransfer-Encoding: chunked\r\n\r\n"
        await a.stream.send(head + b"2\r\n{}\r\n0\r\nAuthorization: Bearer " + a.key.encode() + b"\r\n\r\n")
        assert (await a.answer())[1]["code"] == 1001


async def test_an_answer_before_the_body_is_whole_ends_its_turn(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        for _ in range(3):
            await a.stream.send(b"POST /v1/get/Note HTTP/1.1\r\nHost: core\r\nContent-Length: 5\r\n\r\n")
            assert (await a.answer())[1]["code"] == 1001
            await a.stream.send(b"hello")
        await a.stream.send(a.request(HOLD))
        await until_held(plain_core)
        assert plain_core.services.turns.at_once == 0


async def test_who_asks_for_another_protocol_goes_on_in_this_one(plain_core: Core, served: uvicorn.Server) -> None:
    async with line(plain_core) as a:
        await a.stream.send(hello(a, "Connection: Upgrade", "Upgrade: h2c") * 2 + a.request(ASK))
        for _ in range(2):
            assert (await a.answer())[1]["organization"] == "S.0982"
        assert reasons((await a.answer())[1]) == ["none"]


@pytest.mark.parametrize("together", [True, False])
async def test_the_body_of_an_upgrade_is_never_read_as_a_request(
    plain_core: Core, served: uvicorn.Server, together: bool
) -> None:
    async with line(plain_core) as a:
        smuggled = hello(a)
        head = hello(a, "Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(smuggled)}")
        await a.stream.send(head + smuggled if together else head)
        if not together:
            await a.stream.send(smuggled)
        assert await said_400(a)


async def test_a_hang_up_frees_the_waiter_whatever_was_sent_behind_it(plain_core: Core, served: uvicorn.Server) -> None:
    for behind in (b"GET", ASK, NONSENSE):
        async with line(plain_core) as a:
            await a.stream.send(a.request(HOLD) + (behind if isinstance(behind, bytes) else a.request(behind)))
            await until_held(plain_core)
            await anyio.lowlevel.checkpoint()
        await until_held(plain_core, 0)
        await until(lambda: not served.server_state.tasks)
