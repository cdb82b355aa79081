"""Only so many requests are worked on at once; the others wait in turn, not too many of them and not all for long."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_Line = OrderedDict[Hashable, tuple[Callable[[], None], float]]


class Turns:
    """Held requests take no turn. Two lines, which are let in by turns: those that are patient, and all others.

    Who asks to be held, or was held, loses nothing by waiting: a herd comes back whole. For others, while the first in
    line has waited for too long, more comes than can be answered: who comes then is refused, and who is let in is
    served as soon as ever (Nichols and Jacobson, "Controlling Queue Delay", 2012).
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._at_once_max = settings.requests_at_once_max
        self._waiting_max = settings.turns_waiting_max
        self._seconds_max = settings.turn_seconds_max
        self._tally = tally
        self._next: _Line = OrderedDict()
        self._other: _Line = OrderedDict()
        self._patient, self._hurried = self._next, self._other
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
        (self._patient if patient else self._hurried)[who] = begin, now
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
            _, (begin, _) = (self._next or self._other).popitem(last=False)
            self._next, self._other = self._other, self._next
            begin()

    def _moves(self, now: float) -> bool:
        """Whether those who are not patient need not wait for too long; one who would is counted as refused."""
        first = next(iter(self._hurried.values()), None)
        if first is None or now - first[1] <= self._seconds_max:
            return True
        self._tally.refusals["turn_seconds_max"] += 1
        return False
