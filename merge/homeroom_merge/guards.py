"""Whether a plan may go on by itself, or waits for a person to look at it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum

from homeroom_merge.plan import Change, FieldChange, Kind
from homeroom_merge.values import ABSENT, Value, path_of, pattern_of, pointer

AFFECTED_MIN = 5
"""Fewer records than this are never held for their share."""
OUT_OF_VIEW_PER_CENT = 10
"""Of an entity's live base records; beyond it, it is hardly that a few pupils have left."""
_DELETES = frozenset({Kind.DELETE, Kind.DEACTIVATE})
_CREATES = frozenset({Kind.CREATE, Kind.UNDELETE})


@dataclass(frozen=True, slots=True)
class Limits:
    """Per cent of the live base records of an entity; above it a plan is held. None: not judged."""

    deletes: float | None = 10
    updates: float | None = 75
    creates: float | None = 75
    emptied: float | None = 10
    deletes_apart: bool = False
    """While deletes are held, creates and updates go on."""


@dataclass(frozen=True, slots=True)
class Season:
    """Days, both included, on which other limits hold; None: a blackout, on which nothing runs by itself."""

    name: str
    starts: date
    ends: date
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records of an entity are affected. `emptied`: by pattern of the field."""

    creates: int = 0
    updates: int = 0
    deletes: int = 0
    emptied: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        emptied = Counter(self.emptied) + Counter(other.emptied)
        counts = (self.creates + other.creates, self.updates + other.updates, self.deletes + other.deletes)
        return Tally(*counts, emptied)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a plan is held against. `live`: the live base records; `earlier`: realtime, the last 24 hours."""

    live: int
    today: date
    """In the feed's own zone."""
    is_first: bool = False
    columns_missing: frozenset[str] = frozenset()
    """Known columns that the feed lacks."""
    earlier: Tally = field(default_factory=Tally)


class Pass(StrEnum):
    """What of a plan may go on by itself."""

    ALL = "all"
    NO_DELETES = "noDeletes"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a plan fares. The reasons are for people."""

    may: Pass
    reasons: tuple[str, ...] = ()


def tally(changes: Iterable[Change]) -> Tally:
    """The records that a plan affects; one that conflicts is not written and does not count."""
    kinds: Counter[str] = Counter()
    emptied: Counter[str] = Counter()
    for change in changes:
        if change.conflicts or not change.writes:
            continue
        kinds[_gravest({write.kind for write in change.writes})] += 1
        emptied.update({_pattern(moved) for moved in change.fields if moved.to and _is_emptied(moved)})
    return Tally(kinds["creates"], kinds["updates"], kinds["deletes"], emptied)


def judge(planned: Tally, standing: Standing, limits: Limits, seasons: Sequence[Season] = ()) -> Verdict:
    """Whether the plan may go on."""
    season = season_of(standing.today, seasons)
    if season and season.limits is None:
        return Verdict(Pass.NOTHING, (f"{standing.today} is a blackout date: {season.name}",))
    limits = season.limits if season and season.limits else limits
    if standing.is_first:
        limits = replace(limits, creates=None)
    both = planned + standing.earlier
    reasons = ["a first merge is always held"] if standing.is_first else []
    reasons += [f"the column {name} is missing" for name in sorted(standing.columns_missing)]
    reasons += _above(both.updates, limits.updates, standing.live, "updates")
    reasons += _above(both.creates, limits.creates, standing.live, "creates, which a change of ids looks like")
    for at, count in sorted(both.emptied.items()):
        reasons += _above(count, limits.emptied, standing.live, f"times {at} emptied")
    deletes = _above(both.deletes, limits.deletes, standing.live, "deletes")
    return Verdict(_passing(reasons, deletes, limits), (*reasons, *deletes))


def vanished(out_of_view: int, live: int) -> str:
    """What somebody has to know where many records are out of view on the hub, or all there are; empty: nothing."""
    is_few = out_of_view < AFFECTED_MIN and out_of_view < live
    if is_few or out_of_view * 100 <= OUT_OF_VIEW_PER_CENT * live:
        return ""
    return (
        f"{out_of_view:,} of {live:,} records are out of view on the hub, so that nothing of them is merged; see that "
        "the organizations under [hub] are right and still have access, and that what associates them with these "
        "records (enrolments, grants) is on the hub and names their schools"
    )


def season_of(today: date, seasons: Sequence[Season]) -> Season | None:
    """The season in force; a blackout goes before others, then the one that begins last."""
    found = [season for season in seasons if season.starts <= today <= season.ends]
    return max(found, key=lambda season: (season.limits is None, season.starts), default=None)


def _passing(reasons: Sequence[str], deletes: Sequence[str], limits: Limits) -> Pass:
    if reasons or (deletes and not limits.deletes_apart):
        return Pass.NOTHING
    return Pass.NO_DELETES if deletes else Pass.ALL


def _above(affected: int, limit: float | None, live: int, what: str) -> list[str]:
    if limit is None or affected < AFFECTED_MIN or affected * 100 <= limit * live:
        return []
    share = f"{affected * 100 / live:.1f} %" if live else "all"
    return [f"{affected} {what}: {share} of {live} records, more than {limit:g} %"]


def _gravest(kinds: set[Kind]) -> str:
    return "deletes" if kinds & _DELETES else "creates" if kinds & _CREATES else "updates"


def _is_emptied(moved: FieldChange) -> bool:
    """Whether a field that held something is about to hold nothing."""
    return not _is_empty(moved.base) and _is_empty(moved.outcome) and moved.pointer != ""


def _is_empty(value: Value) -> bool:
    return value is ABSENT or value is None or value in ("", [], {})


def _pattern(moved: FieldChange) -> str:
    return pointer(pattern_of(path_of(moved.pointer)))
