"""The records of a run as its report tells them: what was left out of it, then what was planned and what came of that.

A run may have a million; so they are read some at a time, each time from where the last reading ended.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import anyio

from homeroom_merge.plan import Change, Kind
from homeroom_merge.report.model import Outcome, Problem, RecordEntry, Result, entry_of, problems_of
from homeroom_merge.report.page import group_of
from homeroom_merge.store import run_pages
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.run_pages import EVERYTHING, LeftOut, PlanFilter, Planned

_AT_ONCE = 1_000
_WINDOW = 20_000
"""Records that one statement looks through."""
_LAST = 2**63 - 1
LOOKING_SECONDS = 2.0
"""A page is sought so long; then it is what was found by then."""

_RESULTS: Mapping[str, Result] = {result.value: result for result in Result}
_OUTCOMES: Mapping[str, Outcome] = {**{outcome.value: outcome for outcome in Outcome}, "moved": Outcome.STALE}
_FAILED = frozenset({Outcome.FAILED, Outcome.UNKNOWN, Outcome.STALE})
_OPEN = ("planned", "halfway")
_PLACE = re.compile(r"([lp])(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a run's records were read: of what was left out, or of the plan, beyond a number."""

    is_left_out: bool = True
    number: int = 0

    def __str__(self) -> str:
        return f"{'l' if self.is_left_out else 'p'}{self.number}"


BEGINNING = Place()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: of one of report.page's groups, named so. Empty: all."""

    group: str = ""
    name: str = ""


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records of a run, and from where the next are read; None: there are no more."""

    entries: list[RecordEntry]
    next: Place | None


def place_of(text: str) -> Place:
    """What a place said of itself; the beginning if it is none."""
    found = _PLACE.fullmatch(text)
    return BEGINNING if found is None else Place(found[1] == "l", int(found[2]))


async def entries(connection: Conn, run: UUID) -> AsyncGenerator[RecordEntry, None]:
    """All of them, one by one."""
    after: Place | None = BEGINNING
    while after is not None:
        page = await read(connection, run, after, _AT_ONCE)
        for entry in page.entries:
            yield entry
        after = page.next


async def read(connection: Conn, run: UUID, after: Place, limit: int, wanted: Wanted = ALL) -> RecordPage:
    """The next ones that are wanted, at most so many; fewer, where they are not found within LOOKING_SECONDS."""
    numbers = await run_pages.records_named(connection, run, wanted.name) if wanted.name else None
    found: list[RecordEntry] = []
    if after.is_left_out:
        if wanted.group in ("", Outcome.INVALID):
            name = wanted.name or None
            rows = await run_pages.left_out(connection, run, after.number, limit, numbers, name)
            found = [_left_out(left) for _, left in rows]
            if len(rows) == limit:
                return RecordPage(found, Place(True, rows[-1][0]))
        after = Place(is_left_out=False)
    if wanted.group == Outcome.INVALID:
        return RecordPage(found, None)
    return await _planned(connection, run, after, limit, found, wanted.group, numbers)


async def _planned(
    connection: Conn,
    run: UUID,
    after: Place,
    limit: int,
    found: list[RecordEntry],
    group: str,
    numbers: list[int] | None,
) -> RecordPage:
    wanted = _FILTERS.get(group, EVERYTHING)._replace(records=numbers)
    ends_at, number = anyio.current_time() + LOOKING_SECONDS, after.number
    while (last := await _window(connection, run, number, wanted)) is not None:
        while True:
            rows = await run_pages.planned(connection, run, number, last, limit - len(found), wanted)
            is_whole = len(rows) < limit - len(found)
            shown = [_entry(planned) for _, planned in rows]
            found += [entry for entry in shown if not group or group_of(entry) == group]
            if is_whole:
                break
            number = rows[-1][0]
            if len(found) == limit:
                return RecordPage(found, Place(False, number))
        number = last
        if anyio.current_time() > ends_at:
            return RecordPage(found, Place(False, number))
    return RecordPage(found, None)


async def _window(connection: Conn, run: UUID, after: int, wanted: PlanFilter) -> int | None:
    """Up to which record is looked at once; None: there are no more."""
    if wanted.records is not None:
        return max((number for number in wanted.records if number > after), default=None)
    if wanted == EVERYTHING:
        return None if after == _LAST else _LAST
    return await run_pages.window(connection, run, after, _WINDOW)


_FILTERS: Mapping[str, PlanFilter] = {
    Outcome.CONFLICT: PlanFilter(("conflict",), _OPEN, '"conflicts":[{'),
    Outcome.WAITS: PlanFilter(("waits",), _OPEN, '"waitsFor":[['),
    Outcome.STALE: PlanFilter(("stale", "moved")),
    Outcome.FAILED: PlanFilter(("failed",)),
    Outcome.UNKNOWN: PlanFilter(("unknown",)),
    **{kind: PlanFilter((), ("done", *_OPEN), f'"kind":"{kind}"') for kind in Kind},
    "noted": PlanFilter((), ("done", *_OPEN), '"writes":[]'),
}
"""By group, what can be told of a change without reading it: its text is canonical."""


def _left_out(left: LeftOut) -> RecordEntry:
    problems = tuple(Problem(each.detail, each.pointer, left.side, cure=each.cure) for each in left.faults)
    names = (left.sis_key, left.hub_id, left.place) if left.sis_key or left.hub_id else (left.place, None, "")
    return RecordEntry(
        *names[:2], Outcome.INVALID, left.school, left.school_year, problems=problems, note=names[2] or ""
    )


def _entry(planned: Planned) -> RecordEntry:
    change, outcome = planned.change, _outcome(planned.change, planned.outcome)
    results = {
        side: (_RESULTS.get(result, Result.UNKNOWN), detail) for side, (result, detail) in planned.results.items()
    }
    entry = entry_of(change, outcome, results)
    if outcome in _FAILED and planned.detail and not problems_of(entry):
        return entry_of(change, outcome, results, [Problem(planned.detail)])
    return replace(entry, note=planned.detail) if outcome is Outcome.DONE and planned.detail else entry


def _outcome(change: Change, outcome: str) -> Outcome:
    """What became of a change; one that is not carried out is in conflict or waits all the same."""
    found = _OUTCOMES.get(outcome, Outcome.PLANNED)
    if found is not Outcome.PLANNED:
        return found
    return Outcome.CONFLICT if change.conflicts else Outcome.WAITS if change.waits_for else found
