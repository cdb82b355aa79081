"""Where a client under test calls: a socket on this machine, the key of the case at hand, and JSON."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import parse_qs

import anyio
import orjson
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from homeroom.errors import Code
from homeroom_server.conformance.client.answering import Answer, refused
from homeroom_server.conformance.client.playing import played
from homeroom_server.conformance.client.scripted_core import SCHOOL, Json
from homeroom_server.conformance.client.stage import Call, Stage

_BODY_BYTES_MAX = 8 * 1024 * 1024
_SERVICES = {
    ("POST", "is-data-available"): False,
    ("GET", "hello"): False,
    ("GET", "notification-types"): False,
    ("POST", "get"): True,
    ("POST", "submit"): True,
    ("POST", "reconcile"): True,
    ("GET", "snapshot"): True,
}
"""Every service, and whether its path ends in a notification type."""


class Door:
    """An ASGI application before the stages of the cases that are being played."""

    def __init__(self) -> None:
        self.url = ""
        self._stages: dict[str, Stage] = {}

    @contextmanager
    def on_stage(self, stage: Stage) -> Iterator[None]:
        """Who comes with the key of this stage plays on it."""
        self._stages[stage.key] = stage
        try:
            yield
        finally:
            del self._stages[stage.key]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(receive)
        stage = self._stages.get(headers.get("authorization", "").removeprefix("Bearer "))
        if stage is None:  # a client of an earlier case may still be calling
            await _send(send, refused(Code.NO_SUCH_KEY, "no case that is being played has this key"), "none")
            return
        call = _call(stage, scope, headers, body)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            answer = await played(stage, call)
            await _send(send, answer, stage.core.epoch)
            tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """An interrupt ends the command, and the server with it."""
        yield


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[Door]:
    """A door on a port of this machine, 0 for a free one; raises OSError if it is taken."""
    door = Door()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        door.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            door, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield door
            finally:
                server.should_exit = True


async def _read(receive: Receive) -> bytes | None:
    """The body; None if it is over its limit."""
    found, more = b"", True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if len(found) <= _BODY_BYTES_MAX:
            found += message.get("body", b"")
    return found if len(found) <= _BODY_BYTES_MAX else None


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
    scope.cancel()


def _call(stage: Stage, scope: Scope, headers: dict[str, str], content: bytes | None) -> Call:
    """What was called; service `?` for what the protocol does not know."""
    service, _, name = str(scope["path"]).removeprefix("/v1/").partition("/")
    body = _body(service, scope, content)
    if _SERVICES.get((scope["method"], service)) is not bool(name) or body is None:
        said = f"{scope['method']} {scope['path']}"[:100]
        return Call(stage.seconds, "?", "", {"called": said}, SCHOOL)
    organization = headers.get("organization", SCHOOL)
    return Call(stage.seconds, service, name, body, organization, headers.get("idempotency-key"))


def _body(service: str, scope: Scope, content: bytes | None) -> Json | None:
    """The members of a call, None if they cannot be read. Those of a snapshot stand in its query."""
    try:
        if service == "snapshot":
            query = {name: int(value) for name, (value, *_) in parse_qs(scope["query_string"].decode()).items()}
            return {"after": 0} | query
        found = orjson.loads(content or b"{}") if content is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


async def _send(send: Send, answer: Answer, epoch: str) -> None:
    headers = [(b"content-type", answer.kind.encode()), (b"homeroom-epoch", epoch.encode())]
    headers.append((b"content-length", str(len(answer.content)).encode()))
    if answer.retry_after is not None:
        headers.append((b"retry-after", str(answer.retry_after).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
