"""Whether the files of a folder have come to rest. Pure: what stands there and the time come as arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Stamps = Mapping[str, str]
"""Size and time of change of each file, by name."""


@dataclass(frozen=True, slots=True)
class Settling:
    """A folder as it was looked at last, and since when it has been so."""

    stamps: Stamps = field(default_factory=dict)
    since: float = float("-inf")

    def looked(self, stamps: Stamps, now: float) -> "Settling":
        return self if stamps == self.stamps else Settling(stamps, now)

    def is_quiet(self, now: float, quiet_seconds: float) -> bool:
        return now - self.since >= quiet_seconds
