"""A merge that is killed at a given point: between any two things that it does to its state or to the hub."""

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
from homeroom_merge.store import known, runs, seen
from tests.merge.feeds import group_of, opened_state

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ENTITIES = ("SchoolAuthority", "School", "Student")
_POINTS = (
    (seen, "store_hub", "store_sis", "count_absences", "link_alike", "move_hub_cursor", "move_sis_cursor", "draw_ids"),
    (runs, "begin", "store_plan", "intend", "note_results", "note_outcomes", "end", "decide"),
    (known, "settle", "show_written"),
    (Hub, "write"),
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


async def main(url: str, key: str, state_url: str, folder: str, point: int) -> None:
    """Merge what is in the folder, and approve what is held; the feed is named as the folder is."""
    passed = kill_at(point)
    async with opened_state(state_url) as own, Client(url, key, "A.9", retry_seconds=20) as client:
        group = await group_of(client, own, Path(folder), ENTITIES, frozenset({"S.91"}), "A.9", Path(folder).name)
        courses = await group.run(NOW)
        await group.approve([course.run for course in courses if course.status == "held"], NOW, "tests")
    sys.stdout.write(str(passed()))


if __name__ == "__main__":
    address, api_key, database, interchange, at = sys.argv[1:]
    asyncio.run(main(address, api_key, database, interchange, int(at)))
