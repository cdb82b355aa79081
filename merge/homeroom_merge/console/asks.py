"""What people say to a run: go on, be forgotten, be taken back."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from starlette.responses import Response

from homeroom_merge.console.asking import asking
from homeroom_merge.console.run import can_be_undone, none_such, shown, the_run
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.reporting import kept
from homeroom_merge.runners.queue import defer_approve, defer_undo
from homeroom_merge.store import runs
from homeroom_merge.store.reports import Head

_NOT_LOOKED = "Say that you have looked at it. Nothing was done."
_NOT_HELD = "It is held no longer: somebody was quicker, or a newer plan has taken its place. Nothing was done."
_NOT_TO_UNDO = "There is nothing to take back: it goes on, is held, or wrote nothing. Nothing was done."


async def approve(visit: FeedVisit) -> Response:
    """A worker carries the held plan out."""
    return await _asked(visit, _approve)


async def discard(visit: FeedVisit) -> Response:
    """The held plan is forgotten, at once."""
    return await _asked(visit, _discard)


async def undo(visit: FeedVisit) -> Response:
    """A worker takes back what the run wrote."""
    return await _asked(visit, _undo)


async def _asked(visit: FeedVisit, doing: Callable[[FeedVisit, UUID, Head, bool], Awaitable[Response]]) -> Response:
    form = await visit.form()
    found = await the_run(visit)
    return none_such(visit) if found is None else await doing(visit, *found, form.get("looked") == "yes")


async def _approve(visit: FeedVisit, run: UUID, head: Head, has_looked: bool) -> Response:
    if head.status != "held":
        return await shown(visit, run, head, 409, _NOT_HELD)
    if not has_looked:
        return await shown(visit, run, head, 422, _NOT_LOOKED)
    async with asking(visit.host) as app:
        await visit.note(f"approves run {run} of {head.entity} of {visit.feed}")
        job = await defer_approve(app, visit.feed, [head.entity], [run], visit.visitor.name)
    return visit.to(f"/jobs/{job}")


async def _discard(visit: FeedVisit, run: UUID, head: Head, _has_looked: bool) -> Response:
    if head.status == "held":
        await visit.note(f"discards run {run} of {head.entity} of {visit.feed}")
    if not await runs.decide(visit.connection, run, "cancelled", visit.visitor.name):
        return await shown(visit, run, head, 409, _NOT_HELD)
    return visit.to(f"/runs/{run}")


async def _undo(visit: FeedVisit, run: UUID, head: Head, has_looked: bool) -> Response:
    report = await kept(visit.connection, run)
    if report is None or head.status == "held" or not can_be_undone(report):
        return await shown(visit, run, head, 409, _NOT_TO_UNDO)
    if not has_looked:
        return await shown(visit, run, head, 422, _NOT_LOOKED)
    async with asking(visit.host) as app:
        await visit.note(f"takes back run {run} of {head.entity} of {visit.feed}")
        job = await defer_undo(app, visit.feed, [head.entity], [run], visit.visitor.name)
    return visit.to(f"/jobs/{job}")
