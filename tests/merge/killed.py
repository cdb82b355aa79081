"""A merge that is killed at a given point: between any two things that it does to its state, to the hub or to a SIS."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homeroom import Client
from homeroom_merge.connectors.hub import Hub
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.draining import drain
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.store import backups, intake, journal, known, runs, seen, triggers
from tests.merge.feeds import group_of, opened_state
from tests.merge.pupils import TABLE, Pupils, feed_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
AS_HUB = Rules("Student", Method.RESOLVE_AS_HUB)
ENTITIES = ("SchoolAuthority", "School", "Student")
_POINTS = (
    (seen, "store_hub", "link_alike", "move_hub_cursor", "move_sis_cursor", "draw_ids"),
    (intake, "begin", "add", "fail", "take", "count_absences", "miss"),
    (runs, "begin", "store_plan", "note_outcomes", "end", "decide"),
    (journal, "intend", "note_results", "note_sis_result"),
    (backups, "begin", "complete"),
    (triggers, "forget_echoes", "dirty", "done", "clear"),
    (known, "settle", "show_written", "show_sis"),
    (Hub, "write"),
    (SqlDatabase, "write"),
)


def kill_at(point: int) -> Callable[[], int]:
    """Count what is done, before and after each thing, and kill -9 at the point; how many points have passed."""
    passed = 0

    def counted(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*arguments: Any, **named: Any) -> Any:
            tick()
            found = await call(*arguments, **named)
            tick()
            return found

        return wrapped

    def tick() -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for owner, *names in _POINTS:
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    return lambda: passed


async def main(url: str, key: str, state_url: str, source: str, point: int, what: str) -> None:
    """Merge what is in a folder or a SQLite file, and approve what is held; the feed is named as the source is.

    `what`: `run` for everything, `undo` to take that back, `drain` for what is dirty.
    """
    passed, path = kill_at(point), Path(source)
    async with opened_state(state_url) as own, Client(url, key, "A.9", retry_seconds=20) as client:
        if path.suffix == ".sqlite":
            sis = SqlDatabase(f"sqlite:///{path}", {"Student": TABLE})
            group = await feed_of(client, own, sis, Pupils(prefix=path.stem), AS_HUB, feed=path.stem)
        else:
            group = await group_of(client, own, path, ENTITIES, frozenset({"S.91"}), "A.9", path.name)
        if what == "drain":
            while await drain(own, group, "Student", NOW) is not None:
                pass
        else:
            ended = await runs.with_status(own, path.stem, "success", "finishedWithIssues")
            done = [run.id for run in ended if run.undoes is None]
            courses = await (group.undo(done[-1:], NOW) if what == "undo" else group.run(NOW))
            await group.approve([course.run for course in courses if course.status == "held"], NOW, "tests")
    sys.stdout.write(str(passed()))


if __name__ == "__main__":
    address, api_key, database, folder_or_file, at, told = sys.argv[1:]
    asyncio.run(main(address, api_key, database, folder_or_file, int(at), told))
