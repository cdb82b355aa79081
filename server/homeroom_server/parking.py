"""Held requests for two kilobytes each: a connection that waits is a transport and little more (decision 12).

uvicorn builds one protocol a connection, with a parser, a scope and a task for its request. Here a connection that
rests or waits is a `ParkedConnection`; it becomes a `Speaking` one, uvicorn's own, when bytes of its client come, and
is parked again when the request in hand has to wait. Only so many requests are worked on at once. The bytes of those
who ask to be held, or were, wait in turn: a herd costs time, not memory. Whoever comes when too many wait is refused.
"""

import asyncio
import random
from typing import Any, ClassVar

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from homeroom.errors import Code, HomeroomError, error
from homeroom_server import problems
from homeroom_server.edge.door import Counted
from homeroom_server.edge.patience import Patience
from homeroom_server.edge.speaking import EARLY_BYTES_MAX, PATIENT, PROBES, Desk, Speaking, address_of
from homeroom_server.endpoints.is_data_available import is_data_available
from homeroom_server.held.answer import Answer
from homeroom_server.held.waiters import Held
from homeroom_server.services import Services

_REFUSALS_KEPT = 16
"""Made beforehand, so that Retry-After differs from one to the next."""
_PATIENT = f"POST {PATIENT} ".encode()
_PROBES = tuple(f"GET {path} ".encode() for path in PROBES)
_HELD_SERVICE = is_data_available.__name__


class Parking:
    """All parked connections of a node; given to uvicorn as its HTTP protocol class."""

    def __init__(self, services: Services, keep_alive_seconds: float) -> None:
        self.waiters = services.waiters
        self.traffic = services.client_traffic
        self.door = services.door
        self.turns = services.turns
        self.answers = services.tally.answers
        self.patience = Patience(services.settings, services.tally)
        self._desk = Desk(
            services.settings, services.tally, self.door, self.turns, self.patience, self._park, self._busy
        )
        self._feed = services.feed
        self._made_for = ""
        self._made: list[tuple[bytes, bytes]] = []
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
        return _NewConnection(self)

    def rest(self, connection: "ParkedConnection") -> "set[ParkedConnection]":
        """Close it unless it speaks, after the keep-alive time, twice that at the latest; where it is to be taken from.

        One timer for all: whoever rests when it turns for the second time is closed.
        """
        if self._turn is None:
            self._turn = self._loop.call_later(self._keep_alive_seconds, self._turn_over)
        self._resting.add(connection)
        return self._resting

    def admit(self, connection: "ParkedConnection", early: bytes) -> bool:
        """Let a connection speak whose client has sent bytes, now or in its turn; False if too many wait.

        Those who are not patient speak at once: what they ask waits or is refused, and they need not connect anew.
        """
        if connection.was_held or early.startswith(_PATIENT):
            return self.turns.take(connection, connection.speak, patient=True, welcome=connection.was_held)
        if not early.startswith(_PROBES) and not self.turns.has_room():
            return False
        connection.speak()
        return True

    def speaking(self, counted: Counted, *, was_held: bool) -> Speaking:
        """A full protocol for a connection."""
        return Speaking(self._desk, counted, self._config, self._server_state, self._app_state, was_held=was_held)

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Close a connection, of which nothing was read, with a short 503."""
        transport.write(self._refusals()[1])
        transport.close()
        self.patience.watch_taking(transport)

    def dress(self, answer: Answer) -> bytes:
        """The bytes of a 200, from now on the answer's own: the same for everyone who is given it."""
        headers = [(b"content-type", b"application/json"), (b"homeroom-epoch", answer.epoch.encode())]
        answer.wire = self._response(200, headers, answer.body)
        return answer.wire

    def refusal(self, failure: HomeroomError, *, closes: bool = False) -> bytes:
        """The bytes of a problem."""
        response = problems.problem_response(failure, self._feed.epoch)
        headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
        return self._response(failure.status, headers, bytes(response.body), closes=closes)

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

    def _busy(self) -> bytes:
        return self._refusals()[0]

    def _refusals(self) -> tuple[bytes, bytes]:
        """A 503 that leaves its connection open, and one that closes it."""
        if self._made_for != self._feed.epoch or not self._made:
            too_many = error(Code.CORE_NOT_AVAILABLE, "this node has more requests or connections than it can serve")
            self._made_for = self._feed.epoch
            self._made = [(self.refusal(too_many), self.refusal(too_many, closes=True)) for _ in range(_REFUSALS_KEPT)]
        return random.choice(self._made)

    def _park(self, transport: asyncio.Transport, counted: Counted, held: Held) -> "ParkedConnection":
        connection = ParkedConnection(self)
        connection.park(transport, counted, held)
        return connection

    def _response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, closes: bool = False) -> bytes:
        lines = [*self._server_state.default_headers, *headers, (b"content-length", str(len(body)).encode())]
        if closes or self.waiters.draining:
            lines.append((b"connection", b"close"))
        return b"".join((STATUS_LINE[status], *(b"%s: %s\r\n" % pair for pair in lines), b"\r\n", body))


class ParkedConnection(asyncio.Protocol):
    """A connection whose client does not speak: it rests between requests, or one is held."""

    __slots__ = ("_counted", "_early", "_held", "_parking", "_slot", "_transport")

    was_held: ClassVar[bool] = True

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._transport: asyncio.Transport
        self._counted: Counted | None = None
        self._held: Held | None = None
        self._slot: set[ParkedConnection] | None = None
        self._early: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's does not derive from asyncio.Transport
        door = self._parking.door
        if door.is_full():
            self._parking.turn_away(self._transport)
        elif (counted := door.enter(address_of(self._transport))) is None:
            self._transport.abort()
        else:
            self._counted = counted
            self._slot = self._parking.rest(self)

    def park(self, transport: asyncio.Transport, counted: Counted, held: Held) -> None:
        """Take over a connection whose request is held from now on."""
        self._transport = transport
        self._counted = counted
        self._held = held
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        in_turn = self._early is not None
        self._early = data if self._early is None else self._early + data
        if len(self._early) > EARLY_BYTES_MAX:
            self._transport.pause_reading()
        if self._held is None and not in_turn and not self._transport.is_closing():
            self._leave_slot()
            if not self._parking.admit(self, self._early):
                self._parking.turn_away(self._transport)

    def pause_writing(self) -> None:
        self._parking.patience.watch_taking(self._transport)

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._parking.patience.forget(self._transport)

    def connection_lost(self, failure: Exception | None) -> None:
        self._leave_slot()
        self._parking.turns.leave(self)
        self._parking.patience.forget(self._transport)
        if self._counted is not None:
            self._parking.door.leave(self._counted)
        if self._held is not None:
            self._parking.waiters.leave(self._held)

    def answer(self, answer: Answer) -> None:
        """The request is no longer held: here is its answer."""
        self._held = None
        if not self._transport.is_closing():
            self._transport.write(answer.wire or self._parking.dress(answer))
            self._parking.answers[_HELD_SERVICE, 2] += 1
            self._after_answer()

    def refuse(self, failure: HomeroomError) -> None:
        """The request is no longer held: its caller may no longer call."""
        if self._held is not None:
            self._parking.traffic.refused(self._held.caller.client, failure.code)
        self._held = None
        if not self._transport.is_closing():
            self._transport.write(self._parking.refusal(failure))
            self._parking.answers[_HELD_SERVICE, failure.status // 100] += 1
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
        if early is None or self._counted is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        speaking = self._parking.speaking(self._counted, was_held=self.was_held)
        speaking.connection_made(self._transport)
        self._transport.set_protocol(speaking)
        speaking.data_received(early)

    def _after_answer(self) -> None:
        if self._parking.waiters.draining:
            self._transport.close()  # the node wants its clients to go elsewhere, and has said so
        elif self._early is None:
            self._slot = self._parking.rest(self)
        else:
            self._parking.admit(self, self._early)

    def _leave_slot(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None


class _NewConnection(ParkedConnection):
    """One that was just made."""

    __slots__ = ()

    was_held: ClassVar[bool] = False
