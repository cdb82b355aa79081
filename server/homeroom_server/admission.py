"""How many may do something costly at once; who comes too many is refused early and told so."""

from collections.abc import Iterator
from contextlib import contextmanager

from homeroom.errors import Code, error
from homeroom_server.tally import Tally


class Admission:
    """A named limit. Held requests and bulk reads have one each, so that neither can starve the other."""

    def __init__(self, name: str, limit: int, tally: Tally) -> None:
        self._name = name
        self._limit = limit
        self._tally = tally
        self.admitted = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Counted while the block runs; raises RetryLater 2001 over the limit."""
        if self.admitted >= self._limit:
            self._tally.refusals[self._name] += 1
            raise error(Code.CORE_NOT_AVAILABLE, f"this node serves {self._limit} of these at once ({self._name})")
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1
