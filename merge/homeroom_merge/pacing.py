"""How often, and how far apart, what failed for now is tried again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pacing:
    """Pauses double, with jitter, up to the longest; a wait that a SIS asks for is kept, unless it is longer still."""

    first_seconds: float = 0.5
    pause_seconds_max: float = 60
    wait_asked_seconds_max: float = 900
    attempts_max: int = 5
    given_up_in_a_row_max: int = 3
    """So many records given up one after the other: the SIS is down, and the others are not tried."""

    def pause_seconds(self, failures: int, asked_seconds: float | None = None) -> float | None:
        """How long to wait after so many failures; None to give up."""
        if failures >= self.attempts_max or (asked_seconds or 0) > self.wait_asked_seconds_max:
            return None
        pause = min(self.pause_seconds_max, self.first_seconds * 2.0 ** (failures - 1))
        return max(pause * random.uniform(0.5, 1), asked_seconds or 0)
