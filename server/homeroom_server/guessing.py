"""Who tries keys: an address whose keys are unknown again and again has to wait, and nobody else there does."""

import time
from dataclasses import dataclass
from ipaddress import ip_network

import structlog

from homeroom.errors import Code, error

KEY_FAILURES_MAX = 20
"""Unknown keys of one address within a minute; those after them are not looked for."""
_WINDOW_SECONDS = 60.0
_ADDRESSES_MAX = 10_000
"""Of which failures are counted; those of further ones are counted as if they came from one."""

_now = time.monotonic
log = structlog.get_logger()


@dataclass(slots=True)
class _Failures:
    ends_at: float
    count: int = 0


class Guesses:
    """Unknown keys of late, by address; where none is known, all together. An IPv6 caller is its /64."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}  # in the order in which they end

    def check(self, address: str) -> None:
        """Raises RetryLater 2004 if this address has sent too many unknown keys."""
        self._forget()
        failures = self._failures.get(self._place(address))
        if failures is not None and failures.count >= KEY_FAILURES_MAX:
            detail = f"{KEY_FAILURES_MAX} unknown keys came from this address within a minute: wait until it is over"
            raise error(Code.CLIENT_LIMIT, detail)

    def note(self, address: str, request_id: str) -> None:
        """A key from this address is unknown."""
        self._forget()
        failures = self._failures.setdefault(self._place(address), _Failures(_now() + _WINDOW_SECONDS))
        failures.count += 1
        if failures.count == KEY_FAILURES_MAX:
            log.warning("an address tries unknown keys", address=address, request_id=request_id)

    def _place(self, address: str) -> str:
        place = str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
        return place if place in self._failures or len(self._failures) < _ADDRESSES_MAX else ""

    def _forget(self) -> None:
        now = _now()
        while self._failures:
            first = next(iter(self._failures))
            if self._failures[first].ends_at > now:
                return
            del self._failures[first]
