"""Who would wait too long is refused, who is let in is served in time: the line by itself, on its own clock."""

import random
from collections.abc import Callable
from functools import partial

import pytest

from homeroom_server.edge import turns
from homeroom_server.edge.turns import Turns
from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_SERVICE_SECONDS = 0.01
_WARM_SECONDS = 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("times", [2, 5])
def test_beyond_capacity_the_line_stays_short_and_the_work_goes_on(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, chance = Clock(), random.Random(times)
    monkeypatch.setattr(turns, "time", clock)
    line = Turns(Settings(requests_at_once_max=1, turn_seconds_max=0.05), Tally())
    waits: list[float] = []
    served_until = 0.0

    def begin(came: float) -> None:
        nonlocal served_until
        line.begun()
        served_until = clock.now + _SERVICE_SECONDS
        if came > _WARM_SECONDS:
            waits.append(clock.now - came)

    def come(begin: Callable[[], None]) -> None:
        line.take(object(), begin, patient=False, welcome=False)

    come_at = 0.0
    while clock.now < 10:
        if line.at_once and served_until <= come_at:
            clock.now = served_until
            line.ended()
        else:
            clock.now = come_at
            come(partial(begin, come_at))
            come_at += chance.expovariate(times / _SERVICE_SECONDS)
    assert max(waits) <= 0.07
    assert len(waits) > 0.95 * (10 - _WARM_SECONDS) / _SERVICE_SECONDS


class TestOneAtATime:
    """One is worked on already, and two may wait, for no more than 1.25 s."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = Clock()
        monkeypatch.setattr(turns, "time", clock)
        return clock

    @pytest.fixture
    def tally(self) -> Tally:
        return Tally()

    @pytest.fixture
    def line(self, tally: Tally, clock: Clock) -> Turns:
        line = Turns(Settings(requests_at_once_max=1, turns_waiting_max=2, turn_seconds_max=1.25), tally)
        line.begun()
        return line

    @staticmethod
    def come(line: Turns, who: str, begun: list[str], *, patient: bool = False, welcome: bool = False) -> bool:
        def begin() -> None:
            begun.append(who)
            line.begun()

        return line.take(who, begin, patient=patient, welcome=welcome)

    def test_nobody_waits_for_a_place_that_is_free(self, line: Turns) -> None:
        begun: list[str] = []
        line.ended()
        assert self.come(line, "a", begun)
        assert (line.waiting, begun) == (0, ["a"])

    @pytest.mark.parametrize("patient", [False, True])
    def test_so_many_wait_and_no_more_but_for_those_who_are_welcome(
        self, line: Turns, tally: Tally, patient: bool
    ) -> None:
        begun: list[str] = []
        assert [self.come(line, who, begun, patient=patient) for who in "abc"] == [True, True, False]
        assert self.come(line, "d", begun, patient=patient, welcome=True)
        assert (line.waiting, begun) == (3, [])
        assert tally.refusals == {"turns_waiting_max": 1}

    @pytest.mark.parametrize("patient", [False, True])
    def test_who_has_gone_gets_no_turn_and_holds_nobodys_place(self, line: Turns, patient: bool) -> None:
        begun: list[str] = []
        self.come(line, "a", begun, patient=patient)
        self.come(line, "b", begun, patient=patient)
        line.leave("a")
        line.leave("whom it does not know")
        assert self.come(line, "c", begun, patient=patient)
        assert line.waiting == 2
        line.ended()
        line.ended()
        assert (line.waiting, begun) == (0, ["b", "c"])

    def test_the_patient_and_the_others_are_let_in_by_turns_and_one_by_one(self, line: Turns) -> None:
        begun: list[str] = []
        for who in ("p1", "p2", "o1", "o2", "o3"):
            self.come(line, who, begun, patient=who.startswith("p"), welcome=True)
        order = ["p1", "o1", "p2", "o2", "o3"]
        for count in range(1, 6):
            line.ended()
            assert begun == order[:count]

    @pytest.mark.parametrize(("seconds", "is_let_in"), [(1.25, True), (1.5, False)])
    def test_nobody_joins_a_line_whose_first_has_waited_too_long(
        self, line: Turns, tally: Tally, clock: Clock, seconds: float, is_let_in: bool
    ) -> None:
        self.come(line, "a", [])
        clock.now = seconds
        assert self.come(line, "b", []) == is_let_in
        assert self.come(line, "p", [], patient=True, welcome=is_let_in), "who is patient waits as long as it takes"
        assert tally.refusals["turn_seconds_max"] == (not is_let_in)

    def test_what_a_place_takes_is_learned_from_those_who_were_let_in(self, clock: Clock) -> None:
        tally = Tally()
        line = Turns(Settings(requests_at_once_max=1, turn_seconds_max=1.25), tally)
        line.begun()
        for who in "ab":
            self.come(line, who, [])
        clock.now = 4.0
        for _ in range(3):
            line.ended()
        line.begun()
        # A tenth of 4 s for one place, then a tenth of the way on to 2 s: 0.56 s a place.
        assert [self.come(line, who, []) for who in "cde"] == [True, True, False]
        assert tally.refusals == {"turn_seconds_max": 1}
