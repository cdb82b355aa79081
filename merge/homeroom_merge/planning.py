"""All records of an entity: what is to be written where, and whether the plan may go on (merge.md 2.3 to 2.5)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from homeroom_merge.codec import change_of, change_text
from homeroom_merge.guards import Pass, Standing, Tally, Verdict, judge, tally
from homeroom_merge.linking import Links
from homeroom_merge.merging import UNTOUCHED, merge
from homeroom_merge.plan import MOVING, RE_KEY, Change, Conflict
from homeroom_merge.reach import Reach
from homeroom_merge.records import Known
from homeroom_merge.sis.side import Sis
from homeroom_merge.store import inbox, realtime, runs, seen
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Numbered
from homeroom_merge.terms import Terms
from homeroom_merge.values import ABSENT

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The records of a run over just some, and the keys in the SIS under which new ones may be among them."""

    numbers: Sequence[int]
    sis_keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan comes to. `conflicts`, `waits`, `out_of_view`: records that are not written. `live`: base records."""

    changes: int
    conflicts: int
    waits: int
    tally: Tally
    verdict: Verdict
    out_of_view: int = 0
    live: int = 0


T = TypeVar("T")
Merge = Callable[[Sequence[Numbered]], Awaitable[list[Change]]]
"""What is to be done about records as they stand; UNTOUCHED for nothing."""


def merge_with(terms: Terms, links: Links, now: datetime, reach: Reach, sis: Sis) -> Merge:
    """The merge of a run."""

    async def merged(each: Numbered) -> Change:
        raw = links.decided(reach.seen(each.known), terms.shape)
        known = links.merged(raw, terms.shape)
        change = merge(known, terms.shape, terms.rules, terms.policy, now)
        change = reach.within(change, known, await _school(change, known))
        if change is UNTOUCHED:
            return change
        missing = links.missing(raw, change, terms.shape) if change.writes else ()
        return links.kept(replace(change, waits_for=missing) if missing else change, terms.shape)

    async def _school(change: Change, known: Known) -> str | None:
        if not reach.asks_school(change, known) or known.hub_id is None or known.hub.body is None:
            return None
        return (await sis.anticipated(known.hub_id, known.hub.body)).school

    async def all_merged(block: Sequence[Numbered]) -> list[Change]:
        return [await merged(each) for each in block]

    return all_merged


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
    total = Totals()
    async with connection.transaction():
        first = not await records.has_bases(connection, subject)
        proposed = await seen.re_keys(connection, subject)
        await seen.draw_ids(connection, subject, sorted(proposed), uuids=terms.draws_uuids)
        async for block in records.changed(connection, subject):
            await keep(connection, run, block, _proposing(block, await merged(block), proposed), total)
        live = await records.live_bases(connection, subject)
    is_first = first and total.tally.creates + total.tally.updates > 0
    return total.judged(Standing(live, today, is_first, columns_missing), terms)


async def plan_dirty(
    connection: Conn, run: UUID, subject: int, terms: Terms, merged: Merge, looked_at: LookedAt, today: date
) -> Planned:
    """Merge just these records, some of which may be new, judged with what realtime runs wrote in 24 hours.

    A plan that is held takes in what earlier ones of realtime runs hold, and so can replace them. One transaction.
    """
    total = Totals()
    async with connection.transaction():
        proposed = await seen.re_keys(connection, subject, looked_at.sis_keys)
        await seen.draw_ids(connection, subject, sorted(proposed), looked_at.sis_keys, uuids=terms.draws_uuids)

        async def add(numbers: Sequence[int]) -> None:
            for page in _pages(numbers):
                block = list((await records.read(connection, page)).values())
                await keep(connection, run, block, _proposing(block, await merged(block), proposed), total)

        await add(looked_at.numbers)
        earlier = Tally()
        async for changes in realtime.written_in_a_day(connection, subject, run):
            earlier += tally(changes)
        standing = Standing(await records.live_bases(connection, subject), today, earlier=earlier)
        planned = total.judged(standing, terms)
        if planned.verdict.may is not Pass.NOTHING:
            return planned
        await add(await realtime.held_numbers(connection, subject, run))
        await runs.replace_held(connection, subject, run, "realtime")
    return total.judged(standing, terms)


async def plan_again(
    connection: Conn, run: UUID, subject: int, terms: Terms, merged: Merge, numbers: Sequence[int], today: date
) -> Planned:
    """A plan for just these records: what takes back what was written of them."""
    total = Totals()
    async with connection.transaction():
        for page in _pages(numbers):
            block = list((await records.read(connection, page)).values())
            await keep(connection, run, block, await merged(block), total)
        live = await records.live_bases(connection, subject)
    return total.judged(Standing(live, today), terms)


@dataclass(slots=True)
class Totals:
    """What a plan comes to while it is made."""

    changes: int = 0
    conflicts: int = 0
    waits: int = 0
    out_of_view: int = 0
    tally: Tally = field(default_factory=Tally)

    def judged(self, standing: Standing, terms: Terms) -> Planned:
        """The whole of it, as the guards see it."""
        verdict = judge(self.tally, standing, terms.limits, terms.seasons)
        counts = self.changes, self.conflicts, self.waits
        return Planned(*counts, self.tally, verdict, self.out_of_view, standing.live)


async def keep(connection: Conn, run: UUID, block: Sequence[Numbered], merged: Sequence[Change], total: Totals) -> None:
    """Store what is to be done about some records as part of a run's plan."""
    changes = [(each.number, change) for each, change in zip(block, merged, strict=True) if change is not UNTOUCHED]
    await runs.store_plan(connection, run, changes)
    total.changes += len(changes)
    total.conflicts += sum(bool(change.conflicts) for _, change in changes)
    total.waits += sum(bool(change.waits_for) for _, change in changes)
    total.out_of_view += sum(change.set_aside for _, change in changes)
    total.tally += tally(change for _, change in changes)


async def plan_anew(connection: Conn, run: UUID, numbers: Sequence[int], merged: Merge) -> None:
    """Merge these records again, after their sides have been fetched again, in place of what was planned."""
    async with connection.transaction():
        for page in _pages(numbers):
            block = list((await records.read(connection, page)).values())
            changes = zip((each.number for each in block), await merged(block), strict=True)
            await runs.replace_planned(connection, run, list(changes))


async def give_up(connection: Conn, run: UUID, numbers: Sequence[int]) -> None:
    """What has moved each time that it was about to be written is a conflict."""
    for page in _pages(numbers):
        async with connection.transaction():
            found = await records.read(connection, page)
            await inbox.note_conflicts(connection, [(number, [_moving(each.known)]) for number, each in found.items()])
            await runs.note_outcomes(connection, run, [(number, "conflict", MOVING) for number in page])


async def moved_since(connection: Conn, run: UUID, merged: Merge) -> AsyncIterator[list[tuple[int, Change]]]:
    """Of what a run has planned, what would be planned otherwise by now: taken out of it, and as it would be."""
    async for page in runs.planned(connection, run, "planned"):
        judged = {number: text for number, text in page if not _is_proposal(text)}
        block = list((await records.read(connection, sorted(judged))).values())
        again = zip((each.number for each in block), await merged(block), strict=True)
        moved = [(number, change) for number, change in again if change_text(change) != judged[number]]
        told = [(number, "moved", "it has moved since it was shown") for number, _ in moved]
        await runs.note_outcomes(connection, run, told)
        if left := [(number, change) for number, change in moved if change is not UNTOUCHED]:
            yield left


def _pages(every: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


def _proposing(block: Sequence[Numbered], merged: Sequence[Change], proposed: Mapping[int, str]) -> list[Change]:
    """What is to be done about some records, with those that may be others under a new key as proposals."""
    return [
        change if each.number not in proposed else _proposal(each, proposed[each.number])
        for each, change in zip(block, merged, strict=True)
    ]


def _is_proposal(text: str) -> bool:
    return RE_KEY in text and any(conflict.rule == RE_KEY for conflict in change_of(text).conflicts)


def _proposal(each: Numbered, re_key: str) -> Change:
    key = each.known.sis_key
    conflict = Conflict("", ABSENT, re_key, key, RE_KEY)
    return Change(key, None, conflicts=(conflict,), note=f"it may be {re_key} under another key")


def _moving(known: Known) -> Conflict:
    base = ABSENT if known.base is None else known.base.hub
    sis, hub = (ABSENT if side.body is None else side.body for side in (known.sis, known.hub))
    return Conflict("", base, sis, hub, MOVING)
