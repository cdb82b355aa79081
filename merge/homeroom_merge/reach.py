"""What of a change can be carried out: settings may leave a side unwritten, and a SIS holds its own schools only.

The base does not move for what is not written: those members keep what was agreed on, or have no base still.
"""

from dataclasses import dataclass, replace

from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import Change, Kind
from homeroom_merge.records import Base, Known
from homeroom_merge.values import Json, SideName, path_of

_WHOLE = frozenset({Kind.CREATE, Kind.DELETE, Kind.UNDELETE, Kind.DEACTIVATE})


@dataclass(frozen=True, slots=True)
class Reach:
    """What a run can write, and for whose records. `hub`, `sis`: whether that side is written at all."""

    fields: frozenset[str]
    """The members that the SIS can carry."""
    schools: frozenset[str]
    """The feed's own."""
    hub: bool = True
    sis: bool = True
    only: frozenset[str] | None = None
    """In this run, just the records of these; None: all."""

    def seen(self, known: Known) -> Known:
        """A record as the SIS could show it: where it never did, what it can express is what it would cover."""
        if known.sis.covered is not None:
            return known
        return replace(known, sis=replace(known.sis, covered=self.fields))

    def within(self, change: Change, known: Known, school: str | None = None) -> Change:
        """What is left of a change. `school`: whose a record of the hub would be in the SIS, if that is asked."""
        owner = known.school or school
        is_foreign = _creates(change) and owner not in self.schools
        if is_foreign or (self.only is not None and owner not in self.only):
            return UNTOUCHED
        away: set[SideName] = {write.side for write in change.writes if not self._writes(write.side)}
        if not away:
            return change
        return replace(
            change,
            writes=tuple(write for write in change.writes if write.side not in away),
            base=_left(change, known, away),
            note=_joined(change.note, f"the {' and the '.join(sorted(away))} is not written"),
        )

    def asks_school(self, change: Change, known: Known) -> bool:
        """Whether only the SIS can tell which school would own a record that it does not have yet."""
        return known.school is None and (_creates(change) or self.only is not None)

    def _writes(self, side: SideName) -> bool:
        return self.hub if side == "hub" else self.sis


def _creates(change: Change) -> bool:
    return any(write.side == "sis" and write.kind is Kind.CREATE for write in change.writes)


def _joined(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more


def _left(change: Change, known: Known, away: set[SideName]) -> Base | None:
    """The base without what is not written; None where it does not move at all."""
    after, before = change.base, known.base
    if after is None or any(write.side in away and write.kind in _WHOLE for write in change.writes):
        return None
    names = {path_of(moved.pointer)[0] for moved in change.fields if moved.pointer and away.intersection(moved.to)}
    kept = {name for name in names if before and (before.covered is None or name in before.covered)}
    covered = after.covered
    if names - kept:
        covered = (frozenset(after.hub) | frozenset(after.sis) if covered is None else covered) - (names - kept)
    was = before or Base({}, {})
    return replace(
        after,
        hub=_with(after.hub, was.hub, names, kept),
        sis=_with(after.sis, was.sis, names, kept),
        covered=covered,
    )


def _with(now: Json, then: Json, names: set[str], kept: set[str]) -> Json:
    rest = {name: value for name, value in now.items() if name not in names}
    return rest | {name: then[name] for name in kept if name in then}
