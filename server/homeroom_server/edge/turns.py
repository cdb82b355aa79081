"""Only so many requests are worked on at once; the others' bytes wait in turn, and not too many of them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from homeroom_server.tally import Tally


class Turns:
    """Held requests take no turn; a connection that has been held is let in however many wait."""

    def __init__(self, at_once_max: int, waiting_max: int, tally: Tally) -> None:
        self._at_once_max = at_once_max
        self._waiting_max = waiting_max
        self._tally = tally
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self.at_once = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, connection: Hashable, speak: Callable[[], None], *, was_held: bool) -> bool:
        """Call `speak` now or in its turn; False if too many wait already."""
        if self.at_once < self._at_once_max:
            speak()
        elif was_held or len(self._waiting) < self._waiting_max:
            self._waiting[connection] = speak
        else:
            self._tally.refusals["turns_waiting_max"] += 1
            return False
        return True

    def leave(self, connection: Hashable) -> None:
        """Whoever has gone waits no longer."""
        self._waiting.pop(connection, None)

    def begun(self) -> None:
        """A request has come in whole."""
        self.at_once += 1

    def ended(self, count: int = 1) -> None:
        """Requests were answered, or wait from now on."""
        self.at_once -= count
        while self._waiting and self.at_once < self._at_once_max:
            self._waiting.popitem(last=False)[1]()
