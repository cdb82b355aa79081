"""Held requests for two kilobytes each: a connection that waits is a transport and little more (decision 12).

uvicorn builds one protocol a connection, with a parser, a scope and a task for its request. Here a connection that
rests or waits is a `ParkedConnection`; it becomes a `_Speaking` one, uvicorn's own, when bytes of its client come, and
is parked again when the request in hand has to wait. Only so many requests are worked on at once, the others' bytes
wait in turn: a herd costs time, not memory.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, cast

from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from homeroom.errors import HomeroomError
from homeroom_server import problems
from homeroom_server.endpoints.parked import PARK_EXTENSION
from homeroom_server.held.answer import Answer
from homeroom_server.held.waiters import Held
from homeroom_server.peers import PEER_EXTENSION
from homeroom_server.services import Services

_EARLY_BYTES_MAX = 64 * 1024
"""What a client may send while its request is held; beyond it, reading pauses until the answer."""


class Parking:
    """All parked connections of a node; given to uvicorn as its HTTP protocol class."""

    def __init__(self, services: Services, keep_alive_seconds: float) -> None:
        self.waiters = services.waiters
        self.traffic = services.client_traffic
        self._feed = services.feed
        self._at_once_max = services.settings.requests_at_once_max
        self._at_once = 0
        self._in_turn: deque[ParkedConnection] = deque()
        self._keep_alive_seconds = keep_alive_seconds
        self._loop = asyncio.get_running_loop()
        self._resting: set[ParkedConnection] = set()
        self._resting_long: set[ParkedConnection] = set()
        self._turn: asyncio.TimerHandle | None = None
        self._config: Config
        self._server_state: ServerState
        self._app_state: dict[str, Any]

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "ParkedConnection":
        """A new connection, as uvicorn asks for one."""
        self._config, self._server_state, self._app_state = config, server_state, app_state
        return ParkedConnection(self)

    def rest(self, connection: "ParkedConnection") -> "set[ParkedConnection]":
        """Close it unless it speaks, after the keep-alive time, twice that at the latest; where it is to be taken from.

        One timer for all: whoever rests when it turns for the second time is closed.
        """
        if self._turn is None:
            self._turn = self._loop.call_later(self._keep_alive_seconds, self._turn_over)
        self._resting.add(connection)
        return self._resting

    def admit(self, connection: "ParkedConnection") -> None:
        """Let a connection speak whose client has sent bytes, or wait for its turn."""
        if self._at_once < self._at_once_max:
            connection.speak()
        else:
            self._in_turn.append(connection)

    def begun(self) -> None:
        """A request has come in whole."""
        self._at_once += 1

    def ended(self, count: int = 1) -> None:
        """Requests were answered, or wait from now on."""
        self._at_once -= count
        while self._in_turn and self._at_once < self._at_once_max:
            self._in_turn.popleft().speak()

    def speaking(self) -> "_Speaking":
        """A full protocol for a connection."""
        return _Speaking(self, self._config, self._server_state, self._app_state)

    def dress(self, answer: Answer) -> bytes:
        """The bytes of a 200, from now on the answer's own: the same for everyone who is given it."""
        headers = [(b"content-type", b"application/json"), (b"homeroom-epoch", answer.epoch.encode())]
        answer.wire = self._response(200, headers, answer.body)
        return answer.wire

    def refusal(self, failure: HomeroomError) -> bytes:
        """The bytes of a problem."""
        response = problems.problem_response(failure, self._feed.epoch)
        headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
        return self._response(failure.status, headers, bytes(response.body))

    def close(self) -> None:
        """Close every connection that rests: the node ends."""
        for connection in [*self._resting, *self._resting_long]:
            connection.rest_no_longer()

    def _turn_over(self) -> None:
        while self._resting_long:
            self._resting_long.pop().rest_no_longer()
        self._resting, self._resting_long = self._resting_long, self._resting
        self._turn = None
        if self._resting_long:
            self._turn = self._loop.call_later(self._keep_alive_seconds, self._turn_over)

    def _response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        lines = [*self._server_state.default_headers, *headers, (b"content-length", str(len(body)).encode())]
        if self.waiters.draining:
            lines.append((b"connection", b"close"))
        return b"".join((STATUS_LINE[status], *(b"%s: %s\r\n" % pair for pair in lines), b"\r\n", body))


class ParkedConnection(asyncio.Protocol):
    """A connection whose client does not speak: it rests between requests, or one is held."""

    __slots__ = ("_early", "_held", "_parking", "_slot", "_transport")

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._transport: asyncio.Transport
        self._held: Held | None = None
        self._slot: set[ParkedConnection] | None = None
        self._early: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's does not derive from asyncio.Transport
        self._slot = self._parking.rest(self)

    def park(self, transport: asyncio.Transport, held: Held) -> None:
        """Take over a connection whose request is held from now on."""
        self._transport = transport
        self._held = held
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        in_turn = self._early is not None
        self._early = data if self._early is None else self._early + data
        if len(self._early) > _EARLY_BYTES_MAX:
            self._transport.pause_reading()
        if self._held is None and not in_turn:
            self._leave_slot()
            self._parking.admit(self)

    def connection_lost(self, failure: Exception | None) -> None:
        self._leave_slot()
        if self._held is not None:
            self._parking.waiters.leave(self._held)

    def answer(self, answer: Answer) -> None:
        """The request is no longer held: here is its answer."""
        self._held = None
        if not self._transport.is_closing():
            self._transport.write(answer.wire or self._parking.dress(answer))
            self._after_answer()

    def refuse(self, failure: HomeroomError) -> None:
        """The request is no longer held: its caller may no longer call."""
        if self._held is not None:
            self._parking.traffic.refused(self._held.caller.client, failure.code)
        self._held = None
        if not self._transport.is_closing():
            self._transport.write(self._parking.refusal(failure))
            self._after_answer()

    def rest_no_longer(self) -> None:
        """Close the connection; what its client has not taken by now is lost to it."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def speak(self) -> None:
        """Hand the connection and what its client has sent to a full protocol."""
        early, self._early = self._early, None
        if early is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        speaking = self._parking.speaking()
        speaking.connection_made(self._transport)
        self._transport.set_protocol(speaking)
        speaking.data_received(early)

    def _after_answer(self) -> None:
        if self._parking.waiters.draining:
            self._transport.close()  # the node wants its clients to go elsewhere, and has said so
        elif self._early is None:
            self._slot = self._parking.rest(self)
        else:
            self._parking.admit(self)

    def _leave_slot(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None


class _Speaking(HttpToolsProtocol):
    """uvicorn's protocol, which counts its requests and offers to be parked."""

    def __init__(self, parking: Parking, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._parking = parking
        self._in_message = False
        self._begun = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As uvicorn's, without the addresses: to ask for them costs half a kilobyte for as long as a socket lives."""
        self.connections.add(self)
        self.transport = cast(asyncio.Transport, transport)
        self.flow = FlowControl(self.transport)
        self.scheme = "https" if is_ssl(self.transport) else "http"

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(self._begun)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = True
        self.scope["extensions"] = {
            PARK_EXTENSION: {"park": self._park},
            PEER_EXTENSION: {"address": self._address, "certificate": self._certificate},
        }

    def on_message_complete(self) -> None:
        self._in_message = False
        self._begun += 1
        self._parking.begun()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._end(min(self._begun, 1))

    def _end(self, count: int) -> None:
        self._begun -= count
        self._parking.ended(count)

    def _address(self) -> str:
        """Of the connection's other end; empty on a socket that has none."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def _certificate(self) -> bytes | None:
        """What the other end has shown, as DER; the handshake has verified it."""
        tls: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(binary_form=True)

    def _park(self, held: Held) -> ParkedConnection | None:
        """Let the request in hand be held without a task; None if its connection has other things to do.

        Those are: it closes after the answer, it is gone, or more of the client's bytes have come already.
        """
        self._end(min(self._begun, 1))
        cycle = self.cycle
        if self._in_message or self.pipeline or not cycle.keep_alive or cycle.disconnected:
            return None
        if self.transport.is_closing() or self.flow.write_paused:
            return None
        connection = ParkedConnection(self._parking)
        connection.park(self.transport, held)
        self.flow.resume_reading()
        self.connections.discard(self)
        cycle.disconnected = True  # whatever its task does from here on is not sent
        del self.parser, self.cycle, self.scope  # these refer to each other: let go of them now
        return connection
