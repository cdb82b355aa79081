"""A restore as a plan: what a backup has, held against what both sides have by now."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from homeroom_merge.backup import Found, pages
from homeroom_merge.codec import canonical
from homeroom_merge.erased import Erased
from homeroom_merge.guards import Pass, Verdict
from homeroom_merge.merging import UNTOUCHED
from homeroom_merge.plan import Change
from homeroom_merge.planning import Merge, Planned, Totals, keep
from homeroom_merge.reach import Reach
from homeroom_merge.records import Known
from homeroom_merge.restoring import Then, restored, then_of
from homeroom_merge.store import erasures, restores
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Numbered
from homeroom_merge.store.restores import Row
from homeroom_merge.terms import Terms

_AT_ONCE = 1_000
_HELD = Verdict(Pass.NOTHING, ("a restore is always held",))


async def prepare(connection: Conn, subject: int, terms: Terms, found: Found) -> int:
    """Read all of a backup, and know its records again if this state lost them. BackupError: nothing was changed.

    How many records are left out: their students were erased.
    """
    left_out = 0
    async with connection.transaction():
        async for page, away in pages(connection, found, await _erased(connection, terms)):
            await restores.know(connection, subject, [_row(known, then_of(known, terms.shape)) for known in page])
            left_out += away
    return left_out


async def plan_restore(connection: Conn, run: UUID, subject: int, terms: Terms, reach: Reach, found: Found) -> Planned:
    """What puts an entity back, stored as the run's plan. BackupError; the caller's transaction is left then."""
    async for page, _ in pages(connection, found, await _erased(connection, terms)):
        await restores.stage(connection, run, subject, [_row(known, then_of(known, terms.shape)) for known in page])
    merged, totals, last = restore_with(connection, run, terms, reach), Totals(), 0
    while numbers := await restores.next_staged(connection, run, last, _AT_ONCE):
        block = list((await records.read(connection, numbers)).values())
        await keep(connection, run, block, await merged(block), totals)
        last = numbers[-1]
    await restores.keep_planned(connection, run)
    return Planned(totals.changes, totals.conflicts, totals.waits, totals.tally, _HELD)


def restore_with(connection: Conn, run: UUID, terms: Terms, reach: Reach) -> Merge:
    """The merge of a run that puts records back."""

    async def merged(block: Sequence[Numbered]) -> list[Change]:
        staged = await restores.staged(connection, run, [each.number for each in block])
        return [
            _restored(each.known, _then(*staged.get(each.number, (None, None, None))), terms, reach) for each in block
        ]

    return merged


async def _erased(connection: Conn, terms: Terms) -> Erased:
    return await erasures.erased(connection, terms.feed, terms.entity, terms.student)


def _restored(known: Known, then: Then, terms: Terms, reach: Reach) -> Change:
    if terms.type_of(known.school_year) is None:
        return UNTOUCHED  # of a year that is not merged any more
    return restored(reach.seen(known), then, terms.shape, hub=reach.hub, sis=reach.sis)


def _then(hub: str | None, sis: str | None, covered: Sequence[str] | None) -> Then:
    return Then(
        None if hub is None else orjson.loads(hub),
        None if sis is None else orjson.loads(sis),
        None if covered is None else frozenset(covered),
    )


def _row(known: Known, then: Then) -> Row:
    hub, sis = (None if body is None else canonical(body) for body in (then.hub, then.sis))
    covered = None if then.covered is None else sorted(then.covered)
    return Row(known.hub_id, known.sis_key, known.school, known.school_year, hub, sis, covered)
