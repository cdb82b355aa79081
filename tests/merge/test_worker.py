"""Workers as processes: nights, runs asked for by hand, and what becomes of them when something dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import asyncpg
import pytest

from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.queue import defer_approve, defer_drain, defer_manual, defer_undo, defer_value, open_queue
from homeroom_merge.store.connection import connect
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.cluster import Postgres
from tests.conftest import Core, open_core
from tests.merge.feeds import on_the_hub
from tests.merge.interchanges import ORGANIZATIONS, put, student
from tests.merge.test_merge_command import COMMAND, ORGANIZATIONS_OF_THE_CORE, Prompt

ROOT = Path(__file__).parent.parent.parent
BEFORE, NIGHT, MORNING = "2026-11-22T08:00+00:00", "2026-11-22T08:45+00:00", "2026-11-22T15:00+00:00"
"""Half past one in Edmonton is half past eight: before that, then, and when the night is over."""
JOBS = "select status::text from homeroom_merge_queue.procrastinate_jobs order by id"
TWICE = "select record from journal where result = 'done' group by record, side having count(*) > 1"

WAITER = "select max(virtualtransaction) from pg_locks where not granted"
"""Which transaction waits for a lock: once it is told to end, none does, or another."""


@dataclass
class Place(Prompt):
    """A Core, a folder of interchange files, the state of merges, and a clock that tests set."""

    core: Core
    state_url: str
    own: asyncpg.Connection

    @property
    def clock(self) -> Path:
        return self.folder / "now"

    def set_clock(self, now: str) -> None:
        (self.folder / "then").write_text(now)
        (self.folder / "then").replace(self.clock)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[anyio.abc.Process]:
        """A process that works; told to stop at the end."""
        command = [sys.executable, "-m", "tests.merge.worked", self.state_url, str(self.folder), str(self.clock)]
        log = self.folder / "worker.log"
        with log.open("ab") as file:
            async with await anyio.open_process(
                command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=file
            ) as process:
                try:
                    yield process
                finally:
                    if process.returncode is None:
                        process.terminate()
                    with anyio.fail_after(30, shield=True):
                        await process.wait()
        assert process.returncode in (0, -signal.SIGKILL), log.read_text()

    async def until(self, asked: Callable[[], Awaitable[object]], seconds: float = 40) -> None:
        """Until it is so."""
        try:
            with anyio.fail_after(seconds):
                while not await asked():
                    await anyio.sleep(0.05)
        except TimeoutError:
            pytest.fail((self.folder / "worker.log").read_text()[-6000:])

    async def statuses(self, runner: str = "nightly") -> list[str]:
        rows = await self.own.fetch("select status from run where runner = $1 order by begun_at", runner)
        return [row["status"] for row in rows]

    async def jobs(self) -> list[str]:
        return [row["status"] for row in await self.own.fetch(JOBS)]

    async def jobs_are(self, *statuses: str) -> None:
        async def are() -> bool:
            return await self.jobs() == list(statuses)

        await self.until(are)

    async def until_not(self, sql: str, value: object) -> None:
        """Until a query finds something else."""

        async def differs() -> bool:
            return bool(await self.query(sql) != value)

        await self.until(differs)

    async def query(self, sql: str, *arguments: object) -> Any:
        return await self.own.fetchval(sql, *arguments)


@pytest.fixture
async def place(database_of_test: str, settings: Settings, folder: Path) -> AsyncIterator[Place]:
    """A feed that has agreed with the hub on three pupils, and has a fourth; its night begins at half past one."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(database_of_test, replace(settings, catalogue="roster")))
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        key = await core.key("A.9")
        await stack.enter_async_context(core.served())
        exports = folder / "exports"
        exports.mkdir()
        put(exports, "EducationOrganization", ORGANIZATIONS)
        put(exports, "Student", "".join(student(str(number)) for number in range(3)))
        environment = {**os.environ, "HOMEROOM_KEY": key, "HOMEROOM_MERGE_DATABASE_URL": database_of_test}
        environment["HOMEROOM_MERGE_SANDBOX_USERS"] = "none"  # folders of tests are closed to other users
        own = await connect(database_of_test)
        stack.push_async_callback(own.close)
        place = Place(folder, environment, core, database_of_test, own)
        place.set_clock(BEFORE)
        said = await place.do(
            *("settings", "start", "edfi", "--name", "elk", "--authority", "A.9", "--school", "S.91"),
            *("--entity", "SchoolAuthority", "--entity", "School", "--entity", "Student"),
        )
        for old, new in (
            ("https://core.example.org", core.base_url),
            ("/srv/sis-exports", str(exports)),
            ("# organizations = []", 'organizations = ["A.9"]'),
            ('# nightly = ""', 'nightly = "30 1 * * *"'),
            ("# nightly_spread_minutes = 60", "nightly_spread_minutes = 10"),
        ):
            said = said.replace(old, new)
        (folder / "elk.toml").write_text(said)
        await place.do("settings", "push", "elk.toml")
        await own.execute("update settings set pushed_at = '2026-11-21T12:00+00:00'")
        await place.do("migrate")
        await place.do("run", "--feed", "elk", exit_code=3)
        await place.do("approve", "--feed", "elk", "--by", "me")
        put(exports, "Student", "".join(student(str(number)) for number in range(4)))
        yield place


@pytest.mark.timeout(180)
async def test_each_night_runs_once_whoever_looks_at_the_clock(place: Place) -> None:
    async with place.worker(), place.worker():
        await place.until(lambda: place.query("select count(*) > 1 from homeroom_merge_queue.procrastinate_workers"))
        assert await place.jobs() == []
        place.set_clock(NIGHT)
        await place.jobs_are("succeeded")
        assert await place.statuses() == ["success"] * 3
        place.set_clock("2026-11-23T08:45+00:00")
        await place.jobs_are("succeeded", "succeeded")
    assert len(await on_the_hub(place.core, "Student")) == 4
    assert await place.own.fetch(TWICE) == []
    said = json.loads(await place.do("jobs", "--feed", "elk", "--json"))
    assert [(each["queue"], each["status"]) for each in said["jobs"]] == [("nightly", "succeeded")] * 2
    assert [(each["date"], each["job"]) for each in said["nights"]] == [("2026-11-23", 2), ("2026-11-22", 1)]
    assert "next night: " in await place.do("jobs", "--feed", "elk")


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_doubled_hour_has_one_night(place: Place) -> None:
    await place.own.execute("update settings set pushed_at = '2026-10-31T12:00+00:00'")
    place.set_clock("2026-11-01T07:45+00:00")  # 01:45 for the first time
    async with place.worker():
        await place.jobs_are("succeeded")
        place.set_clock("2026-11-01T08:45+00:00")  # and again
        await place.own.execute("update night set hand_out_at = now() - interval '1 day'")
        place.set_clock("2026-11-02T08:45+00:00")
        await place.jobs_are("succeeded", "succeeded")
    assert (
        await place.query("select array_agg(local_date::text order by 1)::text from night") == "{2026-11-01,2026-11-02}"
    )


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_what_has_not_begun_by_the_end_of_the_night_is_reported_and_left(place: Place) -> None:
    place.set_clock(MORNING)
    async with place.worker():
        await place.jobs_are("succeeded")
    assert await place.statuses() == ["cancelled"] * 3
    run = await place.query("select id::text from run where runner = 'nightly' limit 1")
    assert "the night ended at 13:00" in await place.do("report", run)
    assert len(await on_the_hub(place.core, "Student")) == 3


@pytest.mark.timeout(180)
async def test_nothing_runs_by_itself_in_a_blackout_or_a_pause(place: Place) -> None:
    file = place.folder / "elk.toml"
    days = "starts = 2026-11-22\nends = 2026-11-22\n"
    file.write_text(file.read_text() + f'[[blackouts]]\nname = "report cards"\n{days}')
    await place.do("settings", "push", "elk.toml")
    place.set_clock(NIGHT)
    async with place.worker():
        await place.until(lambda: place.query("select skipped = 'blackout: report cards' from night"))
        await place.own.execute("update feed set paused_at = now(), paused_because = 'holidays'")
        place.set_clock("2026-11-23T08:45+00:00")
        await place.until(lambda: place.query("select bool_or(skipped = 'paused: holidays') from night"))
        await place.own.execute("update feed set paused_at = null")
        place.set_clock("2026-11-24T08:45+00:00")
        await place.jobs_are("succeeded")


@pytest.mark.timeout(240)
async def test_another_worker_takes_over_from_one_that_is_killed(place: Place) -> None:
    place.set_clock(NIGHT)
    locked = place.own.transaction()
    await locked.start()
    await place.own.execute("lock table journal in access exclusive mode")
    async with place.worker() as first:
        await place.until(lambda: place.query("select count(*) from pg_locks where not granted"))
        async with place.worker():
            first.kill()
            await first.wait()
            await locked.rollback()
            await place.jobs_are("succeeded")
            await place.until(lambda: place.query("select count(*) = 0 from run where status = 'running'"))
    assert await place.query("select attempts from homeroom_merge_queue.procrastinate_jobs") == 2
    assert len(await on_the_hub(place.core, "Student")) == 4
    assert await place.own.fetch(TWICE) == []
    assert "cancelled" in await place.statuses()
    cut = await place.query("select id::text from run where status = 'cancelled'")
    assert "cut off, and rolled up by a later run" in await place.do("report", cut)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_run_without_a_job_is_rolled_up_once_its_heart_has_stopped(place: Place) -> None:
    command = [COMMAND, "run", "--feed", "elk"]
    locked = place.own.transaction()
    await locked.start()
    await place.own.execute("lock table journal in access exclusive mode")
    async with await anyio.open_process(
        command, cwd=place.folder, env=place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        await place.until(lambda: place.query("select count(*) from pg_locks where not granted"))
        process.kill()
        await process.wait()
    await locked.rollback()
    assert await place.query("select count(*) from run where status = 'running'") == 1
    async with place.worker():
        await place.until(lambda: place.query("select count(*) = 0 from run where status = 'running'"))


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_the_database_restarts_and_the_worker_goes_on(place: Place) -> None:
    server = Postgres(place.folder / "state")
    server.init()
    server.start()
    try:
        place.environment["HOMEROOM_MERGE_DATABASE_URL"] = place.state_url = server.url
        await place.do("settings", "push", "elk.toml")
        place.set_clock(NIGHT)
        locks = "select count(*) > 0 from pg_locks where not granted"
        other = await connect(server.url)
        await other.execute("begin; lock table planned in access exclusive mode")

        async def waits() -> bool:
            return server.sql(locks) == "t"

        async def ended() -> bool:
            return server.sql("select count(*) from homeroom_merge.night where job is not null") == "1" and (
                server.sql("select string_agg(status::text, ',') from homeroom_merge_queue.procrastinate_jobs")
                == "succeeded"
            )

        async with place.worker():
            await place.until(waits)
            server.stop()
            other.terminate()
            server.start()
            await place.until(ended, seconds=90)
        assert server.sql("select count(*) from homeroom_merge.run where status = 'running'") == "0"
        assert server.sql("select count(*) > 1 from homeroom_merge.run") == "t"
    finally:
        if server.running:
            server.stop()


@pytest.mark.timeout(240)
async def test_a_run_by_hand_keeps_its_settings_beside_a_waiting_drain(place: Place) -> None:
    await place.do("migrate")
    asked = Asked("elk", "me", ("Student",), (), ("defaults.absences=7",))
    async with open_queue(place.state_url) as app:
        assert await defer_drain(app, "elk", "Student") is not None
        assert await defer_drain(app, "elk", "Student") is None, "one waits already"
        await defer_manual(app, asked)
        await defer_manual(app, replace(asked, overrides=("defaults.absences=8",)))
    async with place.worker(), place.worker():
        await place.jobs_are("succeeded", "succeeded", "succeeded")
    rows = await place.own.fetch("select overrides from run where runner = 'manual' order by begun_at desc limit 2")
    assert [json.loads(row["overrides"]) for row in rows] == [{"defaults.absences": 8}, {"defaults.absences": 7}]


@pytest.mark.timeout(240)
async def test_a_worker_approves_takes_back_and_sets_values_for_whoever_asks(place: Place) -> None:
    put(place.folder / "exports", "Student", "".join(student(str(number)) for number in range(9)))
    await place.do("run", "--feed", "elk", exit_code=3)
    held = await place.query("select id from run where status = 'held'")
    async with open_queue(place.state_url) as app, place.worker():
        await defer_approve(app, "elk", ["Student"], [held], "olga")
        await place.jobs_are("succeeded")
        assert len(await on_the_hub(place.core, "Student")) == 9
        assert await place.query("select decided_by from run where id = $1", held) == "olga"
        await defer_approve(app, "elk", ["Student"], [held], "olga")
        await place.jobs_are("succeeded", "succeeded")
        assert await place.query("select said from work where job = 2") == "none of them is held any more"
        await defer_undo(app, "elk", ["Student"], [held], "olga")
        await place.jobs_are("succeeded", "succeeded", "succeeded")
        undoing = "select r.{} from run r join work w on w.group_id = r.group_id where w.job = 3"
        assert await place.query(undoing.format("undoes")) == held
        assert await place.query(undoing.format("status")) == "held", "more deletes than the guard lets pass"
        await defer_approve(app, "elk", ["Student"], [await place.query(undoing.format("id"))], "olga")
        await place.jobs_are(*["succeeded"] * 4)
        assert len(await on_the_hub(place.core, "Student")) == 3
        await defer_value(app, "elk", "Student", 1, "/firstName", "Ida", "olga")
        await place.jobs_are(*["succeeded"] * 4, "failed")
        assert await place.query("select said from work where job = 5") == "there is no conflict there any more"


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_run_is_queued_followed_and_refused(place: Place) -> None:
    async with place.worker():
        said = json.loads(await place.do("run", "--feed", "elk", "--queue", "--entity", "Student", "--json"))
        assert (said["entity"], said["status"], said["runner"]) == ("Student", "success", "manual")
        assert "speaks for S.91" in await place.do("run", "--feed", "elk", "--queue", "--school", "S.9", exit_code=1)
    assert "no such setting" in await place.do("run", "--feed", "elk", "--queue", "--set", "x=1", exit_code=1)
    assert "no settings" in await place.do("run", "--feed", "moose", "--queue", exit_code=1)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_what_waits_is_dropped_and_what_runs_is_told_to_end(place: Place) -> None:
    async with open_queue(place.state_url) as app:
        for _ in range(3):
            await defer_manual(app, Asked("elk", "me"))
    assert "dropped" in await place.do("cancel", "1")
    for lock, by_run in (("planned", True), ("journal", False)):
        locked = place.own.transaction()
        await locked.start()
        await place.own.execute(f"lock table {lock} in access exclusive mode")
        async with place.worker():
            await place.until(lambda: place.query("select count(*) from pg_locks where not granted"))
            find = "select {} from run where status = 'running'" if by_run else "select {} from work"
            name = await place.query(find.format("id::text" if by_run else "max(job)::text"))
            waiter = await place.query(WAITER)
            assert "told to end" in await place.do("cancel", name)
            await place.until_not(WAITER, waiter)
            await locked.rollback()
            await place.until(lambda: place.query("select count(*) = 0 from run where status = 'running'"))
    for wrong in ("77", "abc", "00000000-0000-0000-0000-000000000000"):
        await place.do("cancel", wrong, exit_code=1)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_worker_that_is_told_to_stop_leaves_its_job_to_the_next(place: Place) -> None:
    async with open_queue(place.state_url) as app:
        await defer_manual(app, Asked("elk", "me", ("Student",), (), ("defaults.absences=7",)))
    locked = place.own.transaction()
    await locked.start()
    await place.own.execute("lock table journal in access exclusive mode")
    async with place.worker() as worker:
        await place.until(lambda: place.query("select count(*) from pg_locks where not granted"))
        waiter = await place.query(WAITER)
        worker.terminate()
        await place.until_not(WAITER, waiter)
        await locked.rollback()
        await worker.wait()
    assert await place.jobs() == ["todo"]
    assert "cancelled" in await place.statuses("manual")
    async with place.worker():
        await place.jobs_are("succeeded")
    assert json.loads(await place.query("select overrides from run order by begun_at desc limit 1")) == {
        "defaults.absences": 7
    }
    assert await place.own.fetch(TWICE) == []
