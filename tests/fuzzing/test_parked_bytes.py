"""Whatever bytes come in whatever pieces: every whole request gets its own answer, in turn, and nobody another's."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzzing.target import Target
from tests.fuzzing.test_interface import CASES
from tests.fuzzing.wire import FRAMINGS, NO_REQUESTS, Answer, Call, Json, Wire
from tests.records import note

CALLERS = ["school", "authority", "ministry", "reader", "disabled"]
QUESTIONS: dict[str, tuple[str, Json | None]] = {
    "stream": (
        "/v1/is-data-available",
        {"waitSeconds": 0, "types": [{"notificationType": "Note", "maxCoreVersion": 0}]},
    ),
    "records": ("/v1/get/Note", {"records": [{"id": name} for name in ("of.school", "of.ministry", "nobody")]}),
    "hello": ("/v1/hello", None),
    "error": ("/v1/get/X{nonce}", {"records": []}),
    "hold": ("/v1/is-data-available", None),
}
Asked = tuple[Call, Callable[[Answer], bool]]
FILES_OF_POOLS_MAX = 20
"""Connections to the database come and go with what is asked."""


@dataclass(frozen=True)
class Script:
    """What one connection sends: requests, and then perhaps what is none, all of it cut into pieces somewhere."""

    asked: Sequence[tuple[str, str, str]]
    nonsense: bytes
    cuts: Sequence[float]
    end: str
    kept: float
    """Of all bytes, the share that is sent before it half-closes or resets."""


SCRIPT = st.builds(
    Script,
    st.lists(
        st.tuples(st.sampled_from(list(QUESTIONS)), st.sampled_from(CALLERS), st.sampled_from(FRAMINGS)), max_size=20
    ),
    st.sampled_from([b"", *NO_REQUESTS]),
    st.lists(st.floats(0, 1), max_size=12) | st.just([place / 97 for place in range(97)]),
    st.sampled_from(["all", "all", "half-close", "reset"]),
    st.floats(0, 1),
)


class World:
    """What the node holds, as a plain client sees it."""

    def __init__(self, target: Target, web: httpx.Client) -> None:
        self.target = target
        self._nonces = itertools.count(1)
        self._web = web
        self.cursor = 0
        for caller in ("school", "ministry"):
            self.ask(caller, "/v1/submit/Note", {"records": [note(f"of.{caller}")]})
        self.wake()
        self.plain = {
            (name, caller): self.ask(caller, *QUESTIONS[name])
            for name in ("stream", "records", "hello")
            for caller in CALLERS
        }

    def ask(self, caller: str, path: str, body: Json | None) -> Answer:
        method, headers = ("GET" if body is None else "POST"), {"Authorization": f"Bearer {self.target.keys[caller]}"}
        answer = self._web.request(method, path, json=body, headers=headers)
        return Answer(answer.status_code, answer.json())

    def wake(self) -> None:
        """Let something come that all who are held wait for."""
        news = note("news", str(next(self._nonces)), self.cursor)
        (result,) = self.ask("ministry", "/v1/submit/Bulletin", {"records": [news]}).document["results"]
        assert result["rejections"] == []
        self.cursor = result["coreVersion"]

    def call(self, name: str, caller: str, framing: str) -> Asked:
        """A request, and whether an answer is its own."""
        path, body = QUESTIONS[name]
        nonce, cursor = next(self._nonces), self.cursor
        if name == "hold":
            entry = {"notificationType": "Bulletin", "maxCoreVersion": cursor}
            body = {"waitSeconds": 300, "types": [entry]}
        call = Call(path.format(nonce=nonce), self.target.keys[caller], body, framing)

        def is_its_own(answer: Answer) -> bool:
            if caller == "disabled":
                return (answer.status, answer.document["code"]) == (401, 1003)
            if name == "error":
                return answer.status == 400 and f"X{nonce}" in answer.document["detail"]
            if name == "hold":
                (entry,) = answer.document["types"]
                return [each["id"] for each in entry["records"]] == ["news"]
            return _without_time(answer) == _without_time(self.plain[name, caller])

        return call, is_its_own

    def play(self, scripts: Sequence[Script]) -> None:
        """All at once, piece by piece in turn; fails where an answer is not what its request should get."""
        parts = [[self.call(*each) for each in script.asked] for script in scripts]
        with ExitStack() as stack:
            wires = [stack.enter_context(closing(Wire(self.target))) for _ in scripts]
            self._play(scripts, parts, wires)

    def _play(self, scripts: Sequence[Script], parts: Sequence[Sequence[Asked]], wires: Sequence[Wire]) -> None:
        said = [b"".join(call.to_bytes() for call, _ in calls) for calls in parts]
        sent = [_sent(script, whole) for script, whole in zip(scripts, said, strict=True)]
        for pieces in itertools.zip_longest(
            *(_pieces(script, whole) for script, whole in zip(scripts, sent, strict=True))
        ):
            for wire, piece in zip(wires, pieces, strict=True):
                if piece:
                    wire.send(piece)
        for wire, script in zip(wires, scripts, strict=True):
            if script.end == "half-close":
                wire.end()
            elif script.end == "reset":
                wire.reset()
        self.wake()
        for wire, script, calls in zip(wires, scripts, parts, strict=True):
            if script.end != "reset":
                _check(wire, script, [is_its_own for _, is_its_own in calls])


def _without_time(answer: Answer) -> Answer:
    kept = {name: value for name, value in answer.document.items() if name != "serverTime"}
    return Answer(answer.status, kept)


def _sent(script: Script, whole: bytes) -> bytes:
    whole += script.nonsense + (Call("/v1/hello", "nobody", None).to_bytes() if script.nonsense else b"")
    return whole if script.end == "all" else whole[: int(script.kept * len(whole))]


def _pieces(script: Script, sent: bytes) -> list[bytes]:
    places = sorted({0, len(sent), *(int(cut * len(sent)) for cut in script.cuts)})
    return [sent[start:stop] for start, stop in itertools.pairwise(places)]


def _check(wire: Wire, script: Script, expected: Sequence[Callable[[Answer], bool]]) -> None:
    if script.end == "half-close":
        for is_its_own in expected:
            if (answer := wire.answer()) is None or (answer.status, answer.document) == (400, None):
                break
            assert is_its_own(answer), (script, answer)
        return
    for is_its_own in expected:
        answer = wire.answer()
        assert answer is not None, script
        assert is_its_own(answer), (script, answer)
    if script.nonsense:
        last = wire.answer()
        if last is not None and last.status == 401:  # who sent it has no key: told so before its body was broken
            last = wire.answer()
        assert last is not None, script
        assert last.status == 400, (script, last)
    else:
        wire.end()
    assert wire.answer() is None, script


@pytest.fixture(scope="module")
def world(target: Target) -> Iterator[World]:
    with httpx.Client(base_url=target.url) as web:
        yield World(target, web)


@pytest.mark.timeout(3_600)
def test_every_request_gets_its_own_answer_and_nothing_is_left(world: World) -> None:
    before = world.target.in_use()

    @settings(
        max_examples=CASES * 20 or 300,
        deadline=None,
        database=None,
        derandomize=not CASES,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.lists(SCRIPT, min_size=1, max_size=4))
    def attack(scripts: Sequence[Script]) -> None:
        world.play(scripts)

    attack()
    _until_as(world.target, before)
    world.target.assert_is_well()


@pytest.mark.parametrize("nonsense", NO_REQUESTS, ids=lambda bytes_: repr(bytes_[:60]))
@pytest.mark.parametrize("asked", [[], [("hello", "school", "length")], [("hold", "school", "length")]], ids=len)
def test_what_is_no_request_is_told_so_in_its_turn(world: World, nonsense: bytes, asked: Any) -> None:
    world.play(
        [Script(asked, nonsense, [], "all", 1), Script(asked, nonsense, [place / 50 for place in range(50)], "all", 1)]
    )


def _until_as(target: Target, before: dict[str, float]) -> None:
    """Until no more is in use than there was: of what was sent nothing is left."""
    until = time.monotonic() + 30
    while True:
        now = target.in_use()
        more = {
            name: value for name, value in now.items() if value > before[name] + FILES_OF_POOLS_MAX * (name == "files")
        }
        if not more:
            return
        assert time.monotonic() < until, (before, more)
