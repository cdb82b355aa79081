"""Only so many requests are worked on at once; the others wait in turn, not too many of them and not all for long."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_NEWS_SHARE = 0.1
"""Of what the next in line tells, in what is expected."""


class _Waiting(NamedTuple):
    begin: Callable[[], None]
    since: float
    place: int


_Line = OrderedDict[Hashable, _Waiting]


class Turns:
    """Held requests take no turn. Two lines, which are let in by turns: those that are patient, and all others.

    Who asks to be held, or was held, loses nothing by waiting: a herd comes back whole. Others are refused where they
    would wait for too long: who is let in is served as soon as ever (after Nichols and Jacobson, "Controlling Queue
    Delay", 2012). How long that is, those tell who were let in before; the first in line is always let in, and tells.
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._at_once_max = settings.requests_at_once_max
        self._waiting_max = settings.turns_waiting_max
        self._seconds_max = settings.turn_seconds_max
        self._tally = tally
        self._next: _Line = OrderedDict()
        self._other: _Line = OrderedDict()
        self._patient, self._hurried = self._next, self._other
        self._seconds_a_place = 0.0
        self.at_once = 0

    @property
    def waiting(self) -> int:
        return len(self._patient) + len(self._hurried)

    def take(self, who: Hashable, begin: Callable[[], None], *, patient: bool, welcome: bool) -> bool:
        """Call `begin` now or in its turn; False if too many wait already, or for too long, unless it is `welcome`."""
        if self.at_once < self._at_once_max:
            begin()
            return True
        now = time.monotonic()
        if not welcome and not (self.has_room() and (patient or self._moves(now))):
            return False
        line = self._patient if patient else self._hurried
        line[who] = _Waiting(begin, now, len(line) + 1)
        return True

    def has_room(self) -> bool:
        """Whether one more may wait; one who may not is counted as refused."""
        if self.waiting < self._waiting_max:
            return True
        self._tally.refusals["turns_waiting_max"] += 1
        return False

    def leave(self, who: Hashable) -> None:
        """Whoever has gone waits no longer."""
        self._patient.pop(who, None)
        self._hurried.pop(who, None)

    def begun(self) -> None:
        """A request has come in whole, and is worked on."""
        self.at_once += 1

    def ended(self) -> None:
        """A request was answered, or waits from now on."""
        self.at_once -= 1
        while self.at_once < self._at_once_max and (self._next or self._other):
            line = self._next or self._other
            _, first = line.popitem(last=False)
            self._next, self._other = self._other, self._next
            if line is self._hurried:
                told = (time.monotonic() - first.since) / first.place
                self._seconds_a_place += _NEWS_SHARE * (told - self._seconds_a_place)
            first.begin()

    def _moves(self, now: float) -> bool:
        """Whether those who are not patient need not wait for too long; one who would is counted as refused."""
        first = next(iter(self._hurried.values()), None)
        if first is None:
            return True
        expected = (len(self._hurried) + 1) * self._seconds_a_place
        if max(expected, now - first.since) <= self._seconds_max:
            return True
        self._tally.refusals["turn_seconds_max"] += 1
        return False
