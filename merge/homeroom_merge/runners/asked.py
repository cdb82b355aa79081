"""What is asked for by hand."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done by hand; `overrides`: KEY=VALUE, for this run alone."""

    feed: str
    by: str
    entities: Sequence[str] = ()
    schools: Sequence[str] = ()
    overrides: Sequence[str] = ()
    dry: bool = False
