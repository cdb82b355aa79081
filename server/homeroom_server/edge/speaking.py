"""A connection whose client speaks: uvicorn's protocol, within limits, and ready to be parked (decision 12)."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httptools
from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from homeroom_server.edge.door import Counted, Door
from homeroom_server.edge.patience import Patience
from homeroom_server.edge.refusing import refusal_of
from homeroom_server.edge.turns import Turns
from homeroom_server.endpoints.parked import PARK_EXTENSION
from homeroom_server.held.waiters import Held, Outlet
from homeroom_server.peers import PEER_EXTENSION
from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

EARLY_BYTES_MAX = 64 * 1024
"""What a client may send while its request is worked on or held; beyond it, reading pauses until the answer."""
PATIENT = "/v1/is-data-available"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Never refused: a node that is busy is neither dead nor unready, and its operator wants to see it."""
_FED_BYTES_MAX = 4096
"""Of requests that were sent one upon the other, so much is parsed at a time: a parsed one takes 3 KB."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all speaking connections of a node share.

    `park` gives the outlet of a request that is held, `busy` the answer to one that gets no turn.
    """

    settings: Settings
    tally: Tally
    door: Door
    turns: Turns
    patience: Patience
    park: Callable[[asyncio.Transport, Counted, Held], Outlet]
    busy: Callable[[], bytes]


class _Flow(FlowControl):
    """Reads no further while `is_behind`."""

    is_behind = False

    def resume_reading(self) -> None:
        if not self.is_behind:
            super().resume_reading()


_OF_A_BODY = (b"content-length", b"transfer-encoding")


class _HeadersTooLongError(Exception):
    pass


class _UpgradeWithBodyError(Exception):
    """The parser takes such a body for the other protocol's: it would come to be read as requests."""


class Speaking(HttpToolsProtocol):
    """Counts its requests, offers to be parked, and refuses headers and bodies that are too long in coming."""

    def __init__(
        self,
        desk: Desk,
        counted: Counted,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        was_held: bool,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._desk = desk
        self._counted = counted
        self._was_held = was_held
        self._in_message = False
        self._is_broken = False
        self._in_hand: RequestResponseCycle | None = None  # answered, worked on, or waiting for its turn
        self._takes_turn = False  # as soon as it is whole
        self._has_turn = False
        self._rest = b""
        self._peer: dict[object, object] = {"address": self._address, "certificate": self._certificate}
        self._unfruitful = 0  # bytes of this message since it began or since the last of its body
        self._may_be_long = False
        self._owes: str | None = None  # the limit of what the client has begun to send
        self._owes_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As uvicorn's, without the addresses, which would cost memory for as long as a socket lives."""
        self.connections.add(self)
        self.transport = cast(asyncio.Transport, transport)
        self.flow: _Flow = _Flow(self.transport)
        self.scheme = "https" if is_ssl(self.transport) else "http"

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._in_hand is not None:  # uvicorn tells the last that came in
            self._in_hand.disconnected = True
            self._in_hand.message_event.set()
        self._desk.turns.leave(self)
        self._end()
        self._desk.patience.forget(self)
        self._desk.patience.forget(self.transport)
        self._desk.door.leave(self._counted)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, but not while requests wait for the one in hand, nor once it took something for none."""
        if self._is_broken:
            return
        fed = 0
        while fed < len(data) and not (self.pipeline or self._is_broken or self.transport.is_closing()):
            self._feed(data[fed : fed + _FED_BYTES_MAX])
            fed += _FED_BYTES_MAX
        self._rest += data[fed:]
        if len(self._rest) > EARLY_BYTES_MAX:
            self.flow.is_behind = True
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = True
        self.scope["extensions"] = {PARK_EXTENSION: {"park": self._park}, PEER_EXTENSION: self._peer}

    def on_headers_complete(self) -> None:
        if self._may_be_long:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._desk.settings.header_bytes_max:
                raise _HeadersTooLongError
        if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
            raise _UpgradeWithBodyError
        super().on_headers_complete()
        self.headers = []  # trailers come into this one: no proxy has seen them, so they say nothing of the request

    def on_body(self, body: bytes) -> None:
        self._unfruitful = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._unfruitful = 0
        super().on_message_complete()
        self._count()

    def on_response_complete(self) -> None:
        self._end()
        super().on_response_complete()
        if self.transport.is_closing():
            self._desk.patience.watch_taking(self.transport)
        elif self._is_broken and self._has_answered():
            self._say_400()
        elif self._rest and not self.pipeline:
            rest, self._rest = self._rest, b""
            self.flow.is_behind = False
            self.flow.resume_reading()
            self.data_received(rest)

    def send_400_response(self, msg: str) -> None:
        """Of what the parser does not take, or was not to take; behind the answers to all that came before it."""
        if self._may_be_long and not self._headers_are_whole():
            self._refuse("header_bytes_max")
            return
        in_hand, is_body = self._in_hand, self._in_message and self._headers_are_whole()
        if is_body and self.pipeline:
            self.pipeline.popleft()  # its body is broken: it is not to be served
        self._is_broken, self._in_message, self._rest, self._owes = True, False, b"", None
        self._desk.patience.forget(self)
        if self._has_answered() or (is_body and in_hand is self.cycle and not in_hand.response_started):
            self._say_400()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._desk.patience.watch_taking(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._desk.patience.forget(self.transport)

    def timeout_keep_alive_handler(self) -> None:
        """Close; what the client has not taken by now is lost to it."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Work on a request in its turn, or say at once that it gets none: it was parsed, and no more."""
        self._in_hand = cycle
        path = cycle.scope["path"]
        patient, welcome = self._was_held or path == PATIENT, self._was_held or path in PROBES
        if not self._desk.turns.take(self, partial(self._begin, cycle, app), patient=patient, welcome=welcome):
            self.transport.write(self._desk.busy())
            cycle.response_started = cycle.response_complete = True
            if not cycle.keep_alive:
                self.transport.close()
            super().on_response_complete()

    def _begin(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._takes_turn = True
        super()._start_asgi_task(cycle, app)
        self._count()

    def _count(self) -> None:
        """The request in hand has a turn from when it is whole: a body that is slow in coming takes nobody's."""
        if self._takes_turn and self._in_hand is not None and not self._in_hand.more_body:
            self._takes_turn, self._has_turn = False, True
            self._desk.turns.begun()

    def _has_answered(self) -> bool:
        """All that has come in whole, and been taken."""
        return not self.pipeline and (self._in_hand is None or self._in_hand.response_complete)

    def _say_400(self) -> None:
        super().send_400_response("Invalid HTTP request received.")
        self._desk.patience.watch_taking(self.transport)

    def _feed(self, data: bytes) -> None:
        self._unfruitful += len(data)
        self._may_be_long = self._unfruitful > self._desk.settings.header_bytes_max
        self._parse(data)
        if self.transport.is_closing() or self._is_broken:
            return
        if self._in_message:
            self._await_rest()
        elif self._owes is not None:
            self._owes = None
            self._desk.patience.forget(self)
        elif self._is_idle() and self.timeout_keep_alive_task is None:  # nothing came but blank lines, or an old body
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _parse(self, data: bytes) -> None:
        """As uvicorn, but who asks for another protocol, and gets none, may send on in this one at once."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade as asked:
            self._parse(data[asked.args[0] :])

    def _await_rest(self) -> None:
        """Of a message that has begun and is not whole: time runs, anew once its headers are whole."""
        owes = "body_seconds_max" if self._headers_are_whole() else "header_seconds_max"
        if owes != self._owes:
            self._owes, self._owes_since = owes, self.loop.time()
            self._desk.patience.watch(self, self._look)
        if self._may_be_long and self._unfruitful > self._desk.settings.header_bytes_max:
            self._refuse("header_bytes_max")

    def _look(self, now: float) -> None:
        assert self._owes is not None
        if self.flow.read_paused or not (self._headers_are_whole() or self._is_idle()):
            self._owes_since = now  # it is the node that does not listen, or has a request in hand
        elif now - self._owes_since > getattr(self._desk.settings, self._owes):
            self._refuse(self._owes)

    def _headers_are_whole(self) -> bool:
        """Of the message that is coming in."""
        return self.cycle is not None and self.cycle.scope is self.scope

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, limit: str) -> None:
        """Close, and say why unless that would come in the midst of an answer."""
        self._desk.tally.refusals[limit] += 1
        is_body = self._headers_are_whole()
        if self._is_idle() if not is_body else not (self.cycle.response_started or self.pipeline):
            self.transport.write(refusal_of(limit, getattr(self._desk.settings, limit)))
        self.transport.close()
        self._desk.patience.forget(self)
        self._desk.patience.watch_taking(self.transport)
        if is_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _end(self) -> None:
        """The request in hand gives its turn to another."""
        self._takes_turn = False
        if self._has_turn:
            self._has_turn = False
            self._desk.turns.ended()

    def _address(self) -> str:
        """Of the connection's other end; empty on a socket that has none."""
        return address_of(self.transport)

    def _certificate(self) -> bytes | None:
        """What the other end has shown, as DER; the handshake has verified it."""
        tls: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(binary_form=True)

    def _park(self, held: Held) -> Outlet | None:
        """Let the request in hand be held without a task; None if its connection has other things to do.

        Those are: it closes after the answer, it is gone, or more bytes have come already, sound or not.
        """
        self._end()
        cycle = self.cycle
        if self._in_message or self._is_broken or self.pipeline or not cycle.keep_alive or cycle.disconnected:
            return None
        if self.transport.is_closing() or self.flow.write_paused:
            return None
        outlet = self._desk.park(self.transport, self._counted, held)
        self.flow.resume_reading()
        self.connections.discard(self)
        cycle.disconnected = True  # whatever its task does from here on is not sent
        self._in_hand = None
        del self.parser, self.cycle, self.scope  # these refer to each other: let go of them now
        return outlet


def address_of(transport: asyncio.Transport) -> str:
    """Of a connection's other end; empty on a socket that has none. uvloop keeps nothing of having been asked."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
