"""What is written down of a run while it goes: its steps, its settings, its failures, and what its report tells."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import anyio
import asyncpg
import pytest

from homeroom_merge.group import Group
from homeroom_merge.records import Method
from homeroom_merge.report.lines import entry_line
from homeroom_merge.report.model import Outcome, Report, Status, StepName, StepStatus
from homeroom_merge.reporting import kept
from homeroom_merge.rules import Rules
from homeroom_merge.run import Course
from homeroom_merge.run_records import entries
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.terms import Basis, Terms
from homeroom_merge.testing import DROP_OFF, MemorySis
from homeroom_server.settings import Settings
from tests.merge.feeds import opened_state
from tests.merge.pupils import NOW, Pupils, School, opened_school, pupil

AS_HUB = Rules("Student", Method.RESOLVE_AS_HUB)


@asynccontextmanager
async def school_of(url: str, settings: Settings, sis: MemorySis, **cells: str) -> AsyncIterator[School]:
    async with opened_school(url, settings, sis) as school:
        for key in cells or {"r1": "Ada"}:
            put(school, key)
        yield school


def put(school: School, key: str, /, **cells: object) -> None:
    sis = memory_of(school)
    row = sis.rows["Student"].get(key, {"first": "Ada", "last": "Bear", "school": "S.91"})
    sis.put("Student", key, **{**row, **cells})
    sis.export()


def memory_of(school: School) -> MemorySis:
    assert isinstance(school.sis, MemorySis)
    return school.sis


def report_of(course: Course) -> Report:
    assert course.report is not None, course.status
    return course.report


def statuses(report: Report) -> dict[str, str]:
    return {step.name: step.status for step in report.steps if step.status is not StepStatus.NOT_RUN}


async def running(own: asyncpg.Connection) -> int:
    return int(await own.fetchval("select count(*) from homeroom_merge.run where status = 'running'"))


async def test_every_step_is_told_with_its_times_and_counts_and_the_settings_in_force(
    database_of_test: str, settings: Settings
) -> None:
    basis = Basis("winter", 7, {"entity.Student.method": "manual"})
    async with school_of(database_of_test, settings, MemorySis()) as school:
        school.change = lambda terms: replace(terms, basis=basis)
        report = report_of(await school.merge(AS_HUB))
        assert report.status is Status.SUCCESS
        assert statuses(report) == {
            "fetchHub": "ok",
            "fetchSis": "ok",
            "verify": "ok",
            "merge": "ok",
            "plan": "ok",
            "guard": "issues",
            "backup": "ok",
            "persistHub": "ok",
            "persistSis": "ok",
        }, "of the held plan and of what was approved"
        steps = {step.name: step for step in report.steps}
        assert all(
            step.begun_at and step.ended_at and step.begun_at <= step.ended_at for step in report.steps if step.counts
        )
        assert steps[StepName.PERSIST_HUB].counts == {"done": 1}
        assert steps[StepName.FETCH_SIS].counts == {"records": 1}
        assert (report.settings_state, report.settings_version, report.overrides) == ("winter", 7, basis.overrides)
        school.change = lambda terms: replace(terms, fetches_hub=False, persists_sis=False)
        assert set(statuses(report_of(await school.merge(AS_HUB)))) == {
            *("fetchSis", "verify", "merge", "plan", "guard", "persistHub")
        }, "what settings leave out is not run"


async def test_a_record_with_faults_is_told_with_its_place_and_never_as_done(
    database_of_test: str, settings: Settings
) -> None:
    async with school_of(database_of_test, settings, MemorySis(), r1="", r2="") as school:
        await school.merge(AS_HUB)
        put(school, "r1", phones="no list")
        put(school, "", id="", phones="no list")
        course = await school.merge(AS_HUB)
        report = report_of(course)
        assert (report.status, statuses(report)["verify"]) == (Status.FINISHED_WITH_ISSUES, "issues")
        assert report.summary.outcomes == {"invalid": 2}
        (told,) = [entry async for entry in entries(school.own, course.run) if entry.sis_key == "r1"]
        assert told.outcome is Outcome.INVALID
        assert [(problem.pointer, problem.message) for problem in told.problems] == [("/phones", "it is no list")]
        assert told.note, "where it stands"
        put(school, "r1", phones=None)
        memory_of(school).remove("Student", "")
        assert report_of(await school.merge(AS_HUB)).status is Status.SUCCESS
        again = await kept(school.own, course.run)
        assert again == report, "the report of that run says the same after the record was mended"


async def test_what_fails_ends_its_run_with_the_cause_and_the_next_goes_on(
    database_of_test: str, settings: Settings
) -> None:
    async with school_of(database_of_test, settings, MemorySis()) as school:
        await school.merge(AS_HUB)
        sis = memory_of(school)
        sis.is_down = True
        report = report_of(await school.merge(AS_HUB))
        assert (report.status, statuses(report)["fetchSis"]) == (Status.FAILED, "failed")
        (group,) = report.summary.failures
        assert group.advice is not None, group
        assert await running(school.own) == 0
        sis.is_down = False

        def broken(key: str) -> None:
            raise KeyError("grade")

        sis.meanwhile = broken
        await school.say("r1", pupil("Eve"))
        report = report_of(await school.merge(AS_HUB))
        assert (report.status, statuses(report)["persistSis"]) == (Status.FAILED, "failed")
        assert "KeyError" in next(step.message for step in report.steps if step.status is StepStatus.FAILED)
        sis.meanwhile = None
        assert report_of(await school.merge(AS_HUB)).status is Status.SUCCESS
        assert sis.rows["Student"]["r1"]["first"] == "Eve"
        assert await running(school.own) == 0


async def test_what_depends_on_a_failed_entity_is_not_begun(database_of_test: str, settings: Settings) -> None:
    async with school_of(database_of_test, settings, MemorySis()) as school:
        group = await school.group(AS_HUB)
        terms, sides = group._terms["Student"], group._sides["Student"]
        down = MemorySis()
        down.is_down = True
        shape = replace(terms.shape, refers_to=frozenset({"School"}))
        both = {
            "School": replace(terms, entity="School", shape=replace(terms.shape, refers_to=frozenset())),
            "Student": replace(terms, shape=shape),
        }
        group = Group(
            school.own, both, {"School": replace(sides, sis=LocalSis(down, Pupils("School"))), "Student": sides}
        )
        first, second = await group.run(NOW)
        assert (first.status, second.status) == ("failed", "cancelled")
        assert "depends on School" in report_of(second).notes[0]


async def test_who_cancels_ends_the_run_and_the_next_one_finds_out_what_was_open(
    database_of_test: str, settings: Settings
) -> None:
    async with school_of(database_of_test, settings, MemorySis()) as school:
        await school.merge(AS_HUB)
        sis = memory_of(school)
        await school.say("r1", pupil("Eve"))
        group = await school.group(AS_HUB)
        with anyio.CancelScope() as scope:
            sis.meanwhile = lambda key: scope.cancel()
            await group.run(NOW)
        assert scope.cancelled_caught
        (course,) = group.courses
        assert (course.status, report_of(course).status) == ("cancelled", Status.CANCELLED)
        assert await running(school.own) == 0
        sis.meanwhile = None
        assert (await school.merge(AS_HUB)).status == "success"
        assert sis.rows["Student"]["r1"]["first"] == "Eve"
        assert sis.writes["r1"] == 1, "never twice"


async def test_a_transaction_whose_scope_is_cancelled_is_ended_whole(database_of_test: str) -> None:
    async with opened_state(database_of_test) as own:
        with anyio.CancelScope() as scope:
            async with own.transaction():
                await own.execute("create table half_done ()")
                scope.cancel()
                await own.execute("select pg_sleep(60)")
        assert scope.cancelled_caught
        assert not own.is_in_transaction()
        assert await own.fetchval("select to_regclass('half_done')") is None


async def test_what_no_feed_has_shown_for_long_is_named(database_of_test: str, settings: Settings) -> None:
    async with school_of(database_of_test, settings, MemorySis(DROP_OFF)) as school:
        await school.merge(AS_HUB)
        await school.say("r1", pupil("Eve"))
        assert report_of(await school.merge(AS_HUB)).status is Status.SUCCESS
        await school.own.execute("update homeroom_merge.journal set ended_at = $1", NOW - timedelta(days=15))
        late = report_of(await school.merge(AS_HUB))
        assert late.status is Status.FINISHED_WITH_ISSUES
        (note,) = late.notes
        assert "r1 (since 2026-11-07)" in note


def only_raven(terms: Terms) -> Terms:
    both = frozenset({"S.91", "S.92"})
    return replace(terms, schools=both, only=frozenset({"S.91"}))


async def test_a_run_for_one_school_writes_and_misses_nothing_of_others(
    database_of_test: str, settings: Settings
) -> None:
    async with school_of(
        database_of_test, settings, MemorySis(DROP_OFF), **dict.fromkeys(("r1", "r2", "h1", "h2"), "")
    ) as school:
        sis = memory_of(school)
        put(school, "h1", school="S.92")
        put(school, "h2", school="S.92")
        school.change = lambda terms: replace(only_raven(terms), only=None)
        await school.merge(AS_HUB)
        put(school, "r1", first="Eve")
        put(school, "h1", first="Eve")
        sis.remove("Student", "h2")
        sis.export()
        school.change = only_raven
        course = await school.merge(AS_HUB)
        assert course.status == "success"
        hub = await school.hub()
        assert (hub["r1"]["firstName"], hub["h1"]["firstName"]) == ("Eve", "Ada")
        state = await school.own.fetchval("select sis_state from homeroom_merge.record where sis_key = 'h2'")
        assert state == "live", "its absence says nothing in this run"
        school.change = lambda terms: replace(only_raven(terms), only=None)
        await school.merge(AS_HUB)
        assert (await school.hub())["h1"]["firstName"] == "Eve", "the next run for all takes it up"


async def test_a_report_of_many_records_is_written_in_little_memory(database_of_test: str) -> None:
    async with opened_state(database_of_test) as own:
        change = {"writes": [], "fields": [], "conflicts": [], "waitsFor": [], "note": "n" * 4_000, "school": "S.91"}
        rest = {"sisKey": "k", "hubId": None, "schoolYear": None, "awaits": False, "unlink": False, "setAside": False}
        await own.execute("insert into homeroom_merge.feed (name, state_name) values ('raven', 'default')")
        await own.execute(
            "insert into homeroom_merge.subject (feed, entity) select number, 'Student' from homeroom_merge.feed"
        )
        run: UUID = await own.fetchval(
            """
            insert into homeroom_merge.run (subject, group_id, runner, status)
            select number, gen_random_uuid(), 'manual', 'success' from homeroom_merge.subject returning id
            """
        )
        await own.execute(
            """
            insert into homeroom_merge.planned (run, record, change, is_delete, outcome)
            select $1, n, $2, false, 'done' from generate_series(1, 20000) n
            """,
            run,
            json.dumps(change | rest),
        )
        tracemalloc.start()
        try:
            report = await kept(own, run)
            written = sum([len(entry_line(entry)) async for entry in entries(own, run)])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert report is not None
        assert report.summary.outcomes == {"done": 20_000}
        assert written > 80_000_000
        assert peak < 25_000_000, "records pass by"


@pytest.mark.parametrize("status", ["held", "success"])
async def test_a_report_follows_what_becomes_of_its_run(database_of_test: str, settings: Settings, status: str) -> None:
    async with school_of(database_of_test, settings, MemorySis()) as school:
        group = await school.group(AS_HUB)
        (held,) = await group.run(NOW, dry=True)
        assert (report_of(held).status, report_of(held).dry_run) == (Status.HELD, True)
        if status == "success":
            await group.approve([held.run], NOW, "tests")
        report = await kept(school.own, held.run)
        assert report is not None
        assert (report.status, report.dry_run) == (Status(status), status == "held")
        assert ("approved by tests" in report.notes) == (status == "success")
