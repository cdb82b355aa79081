"""How long to wait between tries, and for how long to ask to be held. Pure: chance and times come as arguments."""

from dataclasses import dataclass, replace

from homeroom.protocol import WAIT_SECONDS_DEFAULT

_PAUSE_SECONDS_FIRST = 0.5
_PAUSE_SECONDS_MAX = 60.0
_CUT_SECONDS_MIN = 2.0
"""A call that ends sooner failed for another reason than that somebody on the way would not hold it as long."""
_GOOD_WAITS = 10
_ANSWERED_ALIKE_MAX = 3


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: somewhere between nothing and a bound that doubles with every failure in a row."""

    failures: int = 0

    def failed(self) -> "Backoff":
        return Backoff(self.failures + 1)

    def pause_seconds(self, chance: float, retry_after_seconds: float | None = None) -> float:
        """Seconds to wait, for a `chance` between 0 and 1; never less than the server asked for."""
        bound = min(_PAUSE_SECONDS_MAX, _PAUSE_SECONDS_FIRST * 2.0 ** min(self.failures, 20))
        return max(chance * bound, retry_after_seconds or 0.0)


@dataclass(frozen=True, slots=True)
class Hold:
    """How long to ask to be held: what those on the way allow, learned from where they cut.

    A cut lowers it at once to nine tenths of what was reached; ten good waits in a row raise it by a second.
    """

    wait_seconds: int = WAIT_SECONDS_DEFAULT
    wait_seconds_max: int = WAIT_SECONDS_DEFAULT
    good_waits: int = 0

    def cut_after(self, seconds: float) -> "Hold":
        """The call was cut after that long."""
        if seconds < _CUT_SECONDS_MIN:
            return self
        return replace(self, wait_seconds=max(1, int(min(seconds, self.wait_seconds) * 0.9)), good_waits=0)

    def held(self, seconds: float) -> "Hold":
        """The call was answered after that long."""
        if seconds < self.wait_seconds * 0.9 or self.wait_seconds >= self.wait_seconds_max:
            return self
        if self.good_waits + 1 < _GOOD_WAITS:
            return replace(self, good_waits=self.good_waits + 1)
        return replace(self, wait_seconds=self.wait_seconds + 1, good_waits=0)


@dataclass(frozen=True, slots=True)
class LoopGuard:
    """Notices answers that come at once and change nothing, again and again."""

    alike: int = 0

    def answered(self, *, at_once: bool, moved: bool) -> "LoopGuard":
        return LoopGuard(self.alike + 1) if at_once and not moved else LoopGuard()

    @property
    def spinning(self) -> bool:
        return self.alike >= _ANSWERED_ALIKE_MAX

    @property
    def backoff(self) -> Backoff:
        """How to pause between answers that are all alike."""
        return Backoff(max(0, self.alike - _ANSWERED_ALIKE_MAX + 1))
