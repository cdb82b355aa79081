"""Jobs that somebody asked for."""

from uuid import UUID

from homeroom_merge import inbox
from homeroom_merge.inbox import InboxError
from homeroom_merge.runners.asked import Asked, OfRuns, Typed
from homeroom_merge.runners.queue import MANUAL
from homeroom_merge.runners.work import Means, opened_state, working
from homeroom_merge.store import inbox as conflicts
from homeroom_merge.store import jobs, runs


async def manual(means: Means, job: int, asked: Asked) -> None:
    """What somebody asked for, once nobody else works on it. InProgressError: somebody did for too long."""
    async with opened_state(means) as connection, working(means, connection, job, asked) as work:
        await work.go_once_free(lambda group, id_: group.run(means.clock(), runner=MANUAL, dry=asked.dry, group_id=id_))


async def approve(means: Means, job: int, asked: OfRuns) -> None:
    """Held plans go on, those of them that are held still. InProgressError, as for `manual`."""
    async with opened_state(means) as connection, working(means, connection, job, Asked(asked.feed, asked.by)) as work:
        held = {str(run.id): run.id for run in await runs.with_status(connection, asked.feed, "held")}
        approved = [held[run] for run in asked.runs if run in held]
        if not approved:
            await jobs.note(connection, job, None, "none of them is held any more")
            return
        await work.go_once_free(lambda group, _: group.approve(approved, means.clock(), asked.by))


async def undo(means: Means, job: int, asked: OfRuns) -> None:
    """What runs have changed is taken back, by runs of its own. InProgressError, as for `manual`."""
    async with opened_state(means) as connection, working(means, connection, job, Asked(asked.feed, asked.by)) as work:
        done = [UUID(run) for run in asked.runs]
        await work.go_once_free(lambda group, id_: group.undo(done, means.clock(), id_))


async def set_value(means: Means, job: int, typed: Typed) -> None:
    """A typed value settles a conflict. InboxError: it may not stand there, or there is no such conflict any more."""
    asked = Asked(typed.feed, typed.by, (typed.entity,))
    async with opened_state(means) as connection, working(means, connection, job, asked) as work:
        every = await conflicts.entries(connection, typed.feed, typed.entity, typed.record, None)
        found = [entry for entry in every if entry.pointer == typed.pointer]
        if not found:
            raise InboxError("there is no conflict there any more")
        await inbox.set_value(connection, found[0], typed.value, work.group, typed.by)
        await jobs.note(connection, job, None, "decided; the next run carries it out")
