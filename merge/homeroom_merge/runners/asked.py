"""What is asked for by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeroom_merge.values import Value


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done by hand; `overrides`: KEY=VALUE, for this run alone."""

    feed: str
    by: str
    entities: Sequence[str] = ()
    schools: Sequence[str] = ()
    overrides: Sequence[str] = ()
    dry: bool = False


@dataclass(frozen=True, slots=True)
class OfRuns:
    """Runs that somebody approves of, or takes back; `entities`: whose they are."""

    feed: str
    by: str
    entities: Sequence[str]
    runs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Typed:
    """The value that somebody wants in place of a conflict, by record and field."""

    feed: str
    by: str
    entity: str
    record: int
    pointer: str
    value: Value
