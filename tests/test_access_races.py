"""Commits that fall between two steps of the access worker: the result is that of some serial order, every time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from homeroom import Client
from homeroom_server import operations
from homeroom_server.access import calendar
from homeroom_server.settings import Settings
from homeroom_server.store import access_triggers, associations, showing
from tests.access import enrol, settled, turn_to, write_catalogue
from tests.conftest import Core, open_core
from tests.records import accepted, record
from tests.test_access import ELK, FOOTHILLS, MAPLE, PLAIN, see

STEPS = [
    (access_triggers, "claim_triggers"),
    (access_triggers, "lock_students"),
    (showing, "lock_types_of"),
    (associations, "read_facts"),
    (associations, "read_grants"),
    (associations, "write_associations"),
    (showing, "show_and_hide"),
    (access_triggers, "finish_triggers"),
]
Step = tuple[ModuleType, str]


@pytest.fixture
async def race_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with open_core(database_of_test, changed) as core:
        await settled(core.services)
        yield core


async def waits_for_a_lock(core: Core) -> bool:
    async with core.services.pool.acquire() as connection:
        query = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        return await connection.fetchval(query) is not None


async def race(
    core: Core,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    first: Callable[[], Awaitable[Any]],
    second: Callable[[], Awaitable[Any]],
) -> None:
    """`first` commits and the worker takes it up; before its step, `second` commits, or comes to wait for a lock."""
    original = getattr(*step)
    reached, go_on = anyio.Event(), anyio.Event()

    async def paused(*arguments: Any) -> Any:
        if not reached.is_set():
            reached.set()
            await go_on.wait()
        return await original(*arguments)

    monkeypatch.setattr(*step, paused)
    over = anyio.Event()

    async def do_second() -> None:
        await second()
        over.set()

    async with anyio.create_task_group() as tasks:
        await first()
        with anyio.fail_after(10):
            await reached.wait()
            tasks.start_soon(do_second)
            while not over.is_set() and not await waits_for_a_lock(core):
                await anyio.sleep(0.005)
        go_on.set()
    monkeypatch.undo()
    await settled(core.services)


@pytest.mark.parametrize("step", STEPS, ids=[name for _, name in STEPS])
async def test_two_exits_at_two_schools_of_one_authority(
    race_core: Core, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    maple, elk, plain, foothills = [await race_core.client(code) for code in (MAPLE, ELK, PLAIN, FOOTHILLS)]
    await accepted(plain, "Student", record("s1", {}))
    await enrol(plain, "e0", "s1", "0990")
    one, two = await enrol(maple, "e1", "s1", "0982"), await enrol(elk, "e2", "s1", "0983")
    await settled(race_core.services)
    await race(
        race_core,
        monkeypatch,
        step,
        lambda: enrol(maple, "e1", "s1", "0982", one, exit="2021-06-30"),
        lambda: enrol(elk, "e2", "s1", "0983", two, exit="2021-06-30"),
    )
    seen = [await see(client, "Student", "s1") for client in (maple, elk, foothills, plain)]
    assert seen == ["NoAccess", "NoAccess", "NoAccess", "Normal"]


@pytest.mark.parametrize("step", STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("grant_first", [True, False])
async def test_a_new_record_and_a_new_grant(
    race_core: Core, monkeypatch: pytest.MonkeyPatch, step: Step, grant_first: bool
) -> None:
    maple, plain = await race_core.client(MAPLE), await race_core.client(PLAIN)
    await accepted(maple, "Student", record("s1", {}))
    await settled(race_core.services)
    connection = await race_core.connect()

    async def grant() -> None:
        await operations.grant(connection, PLAIN, "s1", None)
        race_core.services.access_worker.wake()

    async def write() -> None:
        await accepted(maple, "Document", record("d1", {"studentId": "s1"}))

    first, second = (grant, write) if grant_first else (write, grant)
    await race(race_core, monkeypatch, step, first, second)
    seen = [await see(plain, kind, i) for kind, i in (("Student", "s1"), ("Document", "d1"), ("DocumentStatus", "d1"))]
    assert seen == ["Normal"] * 3


@pytest.mark.parametrize("step", STEPS, ids=[name for _, name in STEPS])
async def test_a_grant_that_is_revoked_while_it_is_worked_off(
    race_core: Core, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    maple, plain = await race_core.client(MAPLE), await race_core.client(PLAIN)
    await accepted(maple, "Student", record("s1", {}))
    await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await settled(race_core.services)
    one, two = await race_core.connect(), await race_core.connect()
    await race(
        race_core,
        monkeypatch,
        step,
        lambda: operations.grant(one, PLAIN, "s1", None),
        lambda: operations.revoke(two, PLAIN, "s1"),
    )
    for kind, record_id in (("Student", "s1"), ("Document", "d1"), ("DocumentStatus", "d1"), ("StudentStatus", "s1")):
        assert await see(plain, kind, record_id) in ("NoAccess", "Unknown")
        assert await see(maple, kind, record_id) == "Normal"


class TestCalendar:
    """A day begins once, whatever nodes run, and not at all if it would take too much away."""

    async def lapse_together(self, core: Core, students: int, last: date) -> list[Client]:
        maple, plain = await core.client(MAPLE), await core.client(PLAIN)
        await accepted(maple, "Student", *(record(f"s{n}", {}) for n in range(students)))
        connection = await core.connect()
        for number in range(students):
            await operations.grant(connection, PLAIN, f"s{number}", last)
        await settled(core.services)
        return [maple, plain]

    async def test_a_clock_that_jumps_empties_nothing(
        self, database_of_test: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = date.today() + timedelta(days=3)
        changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
        changed = replace(changed, access_lapse_held_min=5)
        async with open_core(database_of_test, changed) as core:
            maple, plain = await self.lapse_together(core, 10, last)

            async def today(connection: object, time_zone: str) -> date:
                return last + timedelta(days=1)

            monkeypatch.setattr(associations, "today", today)
            held = calendar.Holding()
            pool = core.services.access_worker._pool
            assert not await calendar.begin_day(pool, changed, held)
            assert held.day == last + timedelta(days=1)
            await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
            await settled(core.services)
            assert [await see(plain, "Student", "s5"), await see(plain, "Document", "d1")] == ["Normal", "Normal"]
            await turn_to(core.services, last + timedelta(days=1))
            assert [await see(plain, "Student", "s5"), await see(plain, "Document", "d1")] == ["NoAccess", "NoAccess"]

    async def test_two_nodes_begin_a_day_once(
        self, database_of_test: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = date.today() + timedelta(days=3)
        changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
        async with open_core(database_of_test, changed) as core, open_core(database_of_test, changed) as other:
            _, plain = await self.lapse_together(core, 40, last)

            async def today(connection: object, time_zone: str) -> date:
                return last + timedelta(days=1)

            monkeypatch.setattr(associations, "today", today)
            with anyio.fail_after(10):
                while await see(plain, "Student", "s39") != "NoAccess":
                    await anyio.sleep(0.02)
            await settled(core.services)
            await settled(other.services)
            connection = await core.connect()
            query = "select count(*), count(distinct student) from access_event where not begun"
            assert [tuple(row) for row in await connection.fetch(query)] == [(40, 40)]
            query = "select count(*), count(distinct version) from viewer where state = 'revoked'"
            rows = [tuple(row) for row in await connection.fetch(query)]
            assert rows == [(160, 80)], (
                "a student and its status each take one version, for the school and its authority"
            )

    @pytest.mark.parametrize(
        ("lapsing", "active", "held"),
        [(0, 0, False), (1_000, 1_000, False), (1_001, 1_001, True), (1_999, 10_000, False), (2_001, 10_000, True)],
    )
    def test_what_is_too_much(self, lapsing: int, active: int, held: bool) -> None:
        assert calendar.is_too_many(lapsing, active, Settings()) == held


async def test_two_thousand_students_who_move_stall_nobody(race_core: Core) -> None:
    maple, plain, ministry = [await race_core.client(code) for code in (MAPLE, PLAIN, "O.1")]
    students = [f"s{number}" for number in range(2_000)]
    for start in range(0, 2_000, 500):
        await accepted(maple, "Student", *(record(s, {}) for s in students[start : start + 500]))
    await settled(race_core.services)
    bodies = [{"studentId": s, "school": "0990", "start": "2020-09-01"} for s in students]
    enrolments = [record(f"e{body['studentId']}", body, organization=PLAIN) for body in bodies]
    slowest = 0.0
    moved = anyio.Event()

    async def write_beside() -> None:
        nonlocal slowest
        number = 0
        while not moved.is_set():
            begun = anyio.current_time()
            await accepted(maple, "Document", record(f"d{number}", {"studentId": "elsewhere"}))
            slowest = max(slowest, anyio.current_time() - begun)
            number += 1

    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_beside)
            for start in range(0, 2_000, 500):
                await accepted(ministry, "Enrolment.2027", *enrolments[start : start + 500])
            while await see(plain, "Student", students[-1]) != "Normal":
                await anyio.sleep(0.05)
            moved.set()
        await settled(race_core.services)
    assert slowest < 2, "a writer waits for batches, not for the move"
    assert {await see(maple, "Student", s) for s in students[::400]} == {"NoAccess"}
