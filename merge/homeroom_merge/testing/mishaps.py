"""What the writes of a SIS double come to: mishaps at will."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Literal

from homeroom_merge.connectors.connector import Outcome

Fault = Literal["transient", "refused", "unknownWritten", "unknownLost", "brokenWritten", "brokenLost"]
"""`unknown...`: nobody is told whether the row was written or lost; `broken...`: the same by an error."""


class Mishaps:
    """What each double does at will, by key of the record."""

    def __init__(self) -> None:
        self.tries = 0
        self.is_down = False
        self.wait_asked_seconds: float | None = None
        """What a transient failure asks for."""
        self.meanwhile: Callable[[str], None] | None = None
        """Called with the key just before a record is written: somebody else's chance."""
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)

    def fail(self, key: str, *faults: Fault) -> None:
        """What the next writes of a record come to, one after the other."""
        self._faults[key].extend(faults)

    async def _tried(self, key: str, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """What one write comes to."""
        self.tries += 1
        if self.is_down:
            return Outcome("transient", "the SIS is down", retry_after_seconds=self.wait_asked_seconds)
        fault = self._faults[key].popleft() if self._faults[key] else None
        match fault:
            case "transient":
                return Outcome("transient", "try again", retry_after_seconds=self.wait_asked_seconds)
            case "refused":
                return Outcome("refused", "the SIS does not want it")
            case "unknownLost":
                return Outcome("unknown", "no answer came")
            case "brokenLost":
                raise ConnectionResetError
        if self.meanwhile is not None:
            self.meanwhile(key)
        outcome = await write()
        if fault == "brokenWritten":
            raise ConnectionResetError
        return Outcome("unknown", "no answer came") if fault == "unknownWritten" else outcome

    def _check_up(self) -> None:
        if self.is_down:
            raise ConnectionRefusedError
