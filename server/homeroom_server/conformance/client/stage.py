"""One case being played: the scripted Core, what the client has called so far, and what the case waits for."""

import re
import time
from collections.abc import Callable, Sequence

import anyio
import orjson

from homeroom_server.conformance.client.answering import Answer
from homeroom_server.conformance.client.scripted_core import ENROLMENT, Json, ScriptedCore

WRITTEN_BYTES_KEPT = 4_000
_WRITTEN_LINES_TOLD = 15
_CALLS_TOLD = 6
_ASKED_ANEW_SECONDS = 1.5
_BODY_TOLD = 200


class CaseFailedError(Exception):
    """The client did something else than the case wants; the message says both."""


class Call:
    """One request of the client, `at` seconds after the case began; `told`: in words, what it was answered."""

    def __init__(
        self, at: float, service: str, name: str, body: Json, organization: str, idempotency_key: str | None = None
    ) -> None:
        self.at = at
        self.service = service
        self.name = name
        self.body = body
        self.organization = organization
        self.idempotency_key = idempotency_key
        self.answer: Answer | None = None
        self.told = "not answered yet"

    @property
    def records(self) -> Sequence[Json]:
        """Those of a Get or Submit, as far as they can be read."""
        found = self.body.get("records", ())
        records = found if isinstance(found, list) else []
        return [record for record in records if isinstance(record, dict) and isinstance(record.get("id"), str)]

    def record(self, record_id: str) -> Json | None:
        """What a Get or Submit says of one record."""
        return next((record for record in self.records if record["id"].lower() == record_id), None)

    def __str__(self) -> str:
        body = orjson.dumps(self.body).decode() if self.body else ""
        body = re.sub(r'"body":\{[^{}]*\}', '"body":{…}', body)
        shown = body if len(body) <= _BODY_TOLD else f"{body[:_BODY_TOLD]}… ({len(body):,} characters)"
        return " ".join(filter(None, (f"{self.at:.2f} s:", self.service, self.name, shown, "→", self.told)))


class Stage:
    """What a case has in its hands.

    `interrupt` sees every call before the Core does, and may answer in its place. `mismatch_expected`: the case has
    made hashes differ. `node`: what Is Data Available shows of the Core; it may be behind. `may_end`: a client that
    ends now does right. `writes`: the client can be told to write. `holding`: how many questions are held. `written`:
    the end of what the client wrote to its standard output and error. `told`, `proved`: the highest cursor that a
    type was given, and the Core's revision when its hash last agreed.
    """

    def __init__(self, key: str, types: Sequence[str] = (ENROLMENT,), *, writes: bool = True) -> None:
        self.key = key
        self.types = types
        self.writes = writes
        self.core = self.node = ScriptedCore()
        self.interrupt: Callable[[Call], Answer | None] = lambda call: None
        self.mismatch_expected = False
        self.may_end = False
        self.holding = 0
        self.closed = False
        self.waits_ended = 0
        self.written = b""
        self.calls: list[Call] = []
        self.orders: list[Json] = []
        self.told: dict[str, int] = {}
        self.proved: dict[str, int] = {}
        self.hashes_sent = 0
        self.mismatches = 0
        self.sources_brought: dict[str, int] = {}
        self.first_answers: dict[str, tuple[Json, Answer]] = {}
        self.ready = anyio.Event()
        self.started = anyio.Event()
        self._expected = "the client calls"
        self._fault = ""
        self._begun = time.monotonic()
        self._changed = anyio.Event()

    @property
    def seconds(self) -> float:
        """Since the client was started."""
        return time.monotonic() - self._begun

    def begin(self) -> None:
        """The Core is as the case wants it: the client may come."""
        self.ready.set()

    def come(self) -> None:
        """The client has been started: its time runs."""
        self._begun = time.monotonic()
        self.started.set()

    def tell(self, order: Json) -> None:
        """Have the client do something."""
        self.orders.append(order)
        self.wake()

    def fall_behind(self) -> None:
        """From now on the node shows nothing new, as one that reads from a standby."""
        self.node = self.core.as_it_is()

    def catch_up(self) -> None:
        """The node shows what the Core has."""
        self.node = self.core
        self.wake()

    def end_waits(self) -> None:
        """Answer what is held now, as a node does that drains."""
        self.waits_ended += 1
        self.wake()

    def close(self) -> None:
        """The case is over: nothing is held any longer."""
        self.closed = True
        self.wake()

    def fail(self, instead: str) -> None:
        """The client did this, which it must not."""
        self._fault = self._fault or instead
        self.wake()

    def wake(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._changed.set()
        self._changed = anyio.Event()

    def watch(self) -> anyio.Event:
        """Set when something changes from now on."""
        return self._changed

    async def hold(self) -> None:
        """Hold a question until something changes."""
        self.holding += 1
        self.wake()
        try:
            await self.watch().wait()
        finally:
            self.holding -= 1

    @property
    def last_words(self) -> str:
        """The end of what the client wrote."""
        return "\n".join(self.written.decode(errors="replace").splitlines()[-_WRITTEN_LINES_TOLD:])

    async def until(self, condition: Callable[[], bool], expected: str) -> None:
        """Return when the condition holds; CaseFailedError as soon as the client has done what it must not."""
        self._expected = expected
        while True:
            changed = self.watch()
            if self._fault:
                raise CaseFailedError(self.words(self._fault))
            if condition():
                return
            await changed.wait()

    async def in_step(self, expected: str) -> None:
        """Return when the client has proved by its hashes that it holds what it should of every type of the case."""
        self.wake()  # the case may have changed the Core
        wanted = f"{expected}, and an Is Data Available then carries the version hash of that"
        while True:
            with anyio.move_on_after(_ASKED_ANEW_SECONDS) as wait:
                await self.until(lambda: all(self.proved.get(n) == self.core.revision for n in self.types), wanted)
            if not wait.cancelled_caught:
                return
            self.end_waits()  # the question that is held may have come without a hash

    async def held(self) -> None:
        """Return when the client waits in a question."""
        self.wake()
        await self.until(lambda: self.holding > 0, "it waits for changes: Is Data Available with a waitSeconds above 0")

    async def nothing_more(self, seconds: float, expected: str) -> None:
        """Give the client time to do what it must not."""
        with anyio.move_on_after(seconds):
            await self.until(lambda: False, expected)

    def called(self, service: str) -> Sequence[Call]:
        return [call for call in self.calls if call.service == service]

    def submitted(self, record_id: str) -> Sequence[tuple[Call, Json]]:
        """Every Submit of a record so far, and what it said of it."""
        return [(call, found) for call in self.called("submit") if (found := call.record(record_id)) is not None]

    def words(self, instead: str) -> str:
        """What a vendor's developer is told."""
        if not self.hashes_sent and self.called("is-data-available"):
            instead += "; it has never sent a versionHash, and nothing else proves what it holds"
        last = "\n".join(f"  {call}" for call in self.calls[-_CALLS_TOLD:]) or "  none"
        return f"Expected: {self._expected}.\nInstead: {instead}.\nIts last calls:\n{last}"
