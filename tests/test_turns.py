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
