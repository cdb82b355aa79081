"""All records of an entity: what is to be written where, and whether the plan may go on (merge.md 2.3 to 2.5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from homeroom_merge.guards import Standing, Tally, Verdict, judge, tally
from homeroom_merge.merging import UNTOUCHED, merge
from homeroom_merge.plan import Change, Conflict, Kind
from homeroom_merge.reach import Reach
from homeroom_merge.records import State
from homeroom_merge.store import known as records
from homeroom_merge.store import runs, seen
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Numbered
from homeroom_merge.terms import Terms
from homeroom_merge.values import ABSENT

_AT_ONCE = 1_000
RE_KEY = "proposed re-key"
"""The rule of a conflict that only a person settles: a new key of the SIS carries a number that another record had."""

MOVING = "it moved each time it was about to be written"
"""The rule of a conflict that the next run takes up by itself, once the record keeps still."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan comes to. `conflicts`, `waits`: records that are not written."""

    changes: int
    conflicts: int
    waits: int
    tally: Tally
    verdict: Verdict


T = TypeVar("T")
Merge = Callable[[Numbered], Change]
"""What is to be done about a record as it stands; UNTOUCHED for nothing."""
Links = Mapping[str, Mapping[str, str | None]]
"""By entity, the hub id of each key of the SIS that is there."""


def merge_with(terms: Terms, links: Links, now: datetime, reach: Reach) -> Merge:
    """The merge of a run."""
    hub_ids = {entity: frozenset(linked.values()) for entity, linked in links.items()}

    def merged(each: Numbered) -> Change:
        known = reach.seen(each.known)
        change = reach.within(merge(known, terms.shape, terms.rules, terms.policy, now), known)
        if change is UNTOUCHED or not change.writes:
            return change
        missing = _missing(each, terms, links) or _missing_in_sis(change, terms, hub_ids)
        return replace(change, waits_for=missing) if missing else change

    return merged


async def plan(
    connection: Conn,
    run: UUID,
    subject: int,
    terms: Terms,
    merged: Merge,
    today: date,
    columns_missing: frozenset[str] = frozenset(),
) -> Planned:
    """Merge every record of which a side has changed, and store what comes of it. One transaction."""
    conflicts = waits = count = 0
    total = Tally()
    async with connection.transaction():
        first = not await records.has_bases(connection, subject)
        proposed = await seen.re_keys(connection, subject)
        await seen.draw_ids(connection, subject, sorted(proposed), uuids=terms.draws_uuids)
        block: list[tuple[int, Change]] = []
        async for each in records.changed(connection, subject):
            re_key = proposed.get(each.number)
            change = merged(each) if re_key is None else _proposal(each, re_key)
            if change is UNTOUCHED:
                continue
            count += 1
            conflicts += bool(change.conflicts)
            waits += bool(change.waits_for)
            block.append((each.number, change))
            if len(block) == _AT_ONCE:
                total += await _keep(connection, run, block)
                block = []
        total += await _keep(connection, run, block)
        live = await records.live_bases(connection, subject)
    standing = Standing(live, today, first and total.creates + total.updates > 0, columns_missing)
    return Planned(count, conflicts, waits, total, judge(total, standing, terms.limits, terms.seasons))


async def plan_anew(connection: Conn, run: UUID, numbers: Sequence[int], merged: Merge) -> None:
    """Merge these records again, after their sides have been fetched again, in place of what was planned."""
    async with connection.transaction():
        for page in _pages(numbers):
            found = await records.read(connection, page)
            changes = [(number, merged(found[number])) for number in page]
            await runs.replace_planned(connection, run, changes)


async def give_up(connection: Conn, run: UUID, numbers: Sequence[int]) -> None:
    """What has moved each time that it was about to be written is a conflict."""
    for page in _pages(numbers):
        async with connection.transaction():
            for number, each in (await records.read(connection, page)).items():
                known = each.known
                base = ABSENT if known.base is None else known.base.hub
                sis, hub = (ABSENT if side.body is None else side.body for side in (known.sis, known.hub))
                await runs.note_conflicts(connection, number, [Conflict("", base, sis, hub, MOVING)])
            await runs.note_outcomes(connection, run, [(number, "conflict", MOVING) for number in page])


async def moved_since(connection: Conn, run: UUID, merged: Merge) -> list[tuple[int, Change]]:
    """Of what a run has planned, what would be planned otherwise by now: taken out of it, and as it would be."""
    moved: list[tuple[int, Change]] = []
    before = [each async for each in runs.planned(connection, run, "planned")]
    for page in _pages(before):
        found = await records.read(connection, [number for number, _ in page])
        for number, change in page:
            if not any(conflict.rule == RE_KEY for conflict in change.conflicts):
                again = merged(found[number])
                moved += [(number, again)] if again != change else []
    await runs.note_outcomes(
        connection, run, [(number, "moved", "it has moved since it was shown") for number, _ in moved]
    )
    return moved


def _pages(every: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


async def _keep(connection: Conn, run: UUID, block: list[tuple[int, Change]]) -> Tally:
    await runs.store_plan(connection, run, block)
    return tally(change for _, change in block)


def _proposal(each: Numbered, re_key: str) -> Change:
    key = each.known.sis_key
    conflict = Conflict("", ABSENT, re_key, key, RE_KEY)
    return Change(key, None, conflicts=(conflict,), note=f"it may be {re_key} under another key")


def _missing(each: Numbered, terms: Terms, links: Links) -> tuple[tuple[str, str], ...]:
    """References of the SIS's record to what is not there yet; an entity that is not merged is not asked for."""
    body = each.known.sis.body if each.known.sis.state is State.LIVE else None
    if body is None:
        return ()
    return tuple(
        (found.entity, found.key)
        for found in terms.shape.references(body)
        if found.entity in links and found.key not in links[found.entity]
    )


def _missing_in_sis(
    change: Change, terms: Terms, hub_ids: Mapping[str, frozenset[str | None]]
) -> tuple[tuple[str, str], ...]:
    """References of a record that is to be made in the SIS to what the SIS does not have."""
    write = change.write_to("sis")
    if write is None or write.kind is not Kind.CREATE or write.body is None:
        return ()
    return tuple(
        (found.entity, found.key)
        for found in terms.shape.references(write.body)
        if found.entity in hub_ids and found.key not in hub_ids[found.entity]
    )


async def plan_undo(
    connection: Conn, run: UUID, subject: int, terms: Terms, merged: Merge, numbers: Sequence[int], today: date
) -> Planned:
    """What takes writes back, as a plan of its own."""
    async with connection.transaction():
        found = await records.read(connection, numbers)
        changes = [(number, change) for number in numbers if (change := merged(found[number])) is not UNTOUCHED]
        await runs.store_plan(connection, run, changes)
        live = await records.live_bases(connection, subject)
    total = tally(change for _, change in changes)
    conflicts = sum(bool(change.conflicts) for _, change in changes)
    return Planned(len(changes), conflicts, 0, total, judge(total, Standing(live, today), terms.limits, terms.seasons))
