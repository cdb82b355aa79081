"""Large bodies of calls in hand: so many bytes of them at once, that a flood of them costs time and not memory."""

from collections.abc import MutableMapping
from typing import Any

from homeroom.errors import Code, error
from homeroom_server.tally import Tally

_SMALL_BYTES_MAX = 64 * 1024
"""Not counted: there are only so many requests at once."""
_BYTES = "homeroom.body_bytes"


class Bodies:
    """Counts what a call holds, under its scope, until it has ended."""

    def __init__(self, bytes_max: int, tally: Tally) -> None:
        self._bytes_max = bytes_max
        self._tally = tally
        self.bytes_in_hand = 0

    def expect(self, scope: MutableMapping[str, Any], size: int) -> None:
        """Raises RetryLater 2001 if there is no room for that much; nothing is kept free for who may be slow.

        One alone is let in, however large.
        """
        others = self.bytes_in_hand - scope.get(_BYTES, 0)
        if size > _SMALL_BYTES_MAX and others and others + size > self._bytes_max:
            self._tally.refusals["bodies_bytes_max"] += 1
            raise error(Code.CORE_NOT_AVAILABLE, "too many large bodies are in hand on this node (bodies_bytes_max)")

    def hold(self, scope: MutableMapping[str, Any], size: int) -> None:
        """A call holds that much by now; raises as `expect` does."""
        self.expect(scope, size)
        if size > _SMALL_BYTES_MAX:
            self.bytes_in_hand += size - scope.get(_BYTES, 0)
            scope[_BYTES] = size

    def let_go(self, scope: MutableMapping[str, Any]) -> None:
        """The call has ended."""
        self.bytes_in_hand -= scope.pop(_BYTES, 0)
