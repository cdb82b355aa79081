"""When absence from a feed comes to count as a delete."""

from collections.abc import Collection
from dataclasses import dataclass

from homeroom_merge.records import State

FEEDS_DEFAULT = 2
Pair = tuple[str, int | None]
"""A school's code and a school year; None for records of no year."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a feed spoke of. `pairs`: (school, school year) covered; None: all of its own schools, in every year."""

    complete: bool
    schools: frozenset[str]
    """The feed's own."""
    pairs: frozenset[Pair] | None = None


def state_when_absent(
    pair: tuple[str | None, int | None],
    absences: int,
    feed: Spoken,
    years_allowed: Collection[int] | None = None,
    feeds: int = FEEDS_DEFAULT,
) -> State:
    """DELETED or ABSENT, for a record of this (school, school year) that a feed does not show.

    `absences`: the complete feeds in a row that covered the pair and lacked the record, this one included.
    """
    return State.DELETED if counts(pair, feed, years_allowed) and absences >= feeds else State.ABSENT


def counts(pair: tuple[str | None, int | None], feed: Spoken, years_allowed: Collection[int] | None = None) -> bool:
    """Whether a record's absence from this feed says anything at all."""
    school, year = pair
    if not feed.complete or school is None or school not in feed.schools:
        return False
    if feed.pairs is not None and (school, year) not in feed.pairs:
        return False
    return years_allowed is None or year is None or year in years_allowed
