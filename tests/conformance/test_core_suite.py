"""The suite for Cores: ours passes it, and one with a fault fails the cases that are named for it, and no others."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import pytest

from homeroom_server import operations
from homeroom_server.conformance.core.suite import CASES, try_core
from homeroom_server.conformance.report import Outcome, Verdict
from homeroom_server.settings import Settings
from tests.conformance.faults import FAULTS, Faulty
from tests.conformance.stage import given, write_catalogue
from tests.conftest import Core, open_core

DOC = Path(__file__).parents[2] / "docs" / "conformance.md"
_AT_ONCE = 8
_ASKED_FIRST = 4
"""Who each of three keys is, and the catalogue."""
_COSTLY = {"too-many-records-are-refused", "as-many-records-as-allowed-are-taken", "too-large-a-body-is-refused"}
"""Cases that send much; no fault is about that."""


@pytest.fixture
async def stage(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    async with open_core(database_of_test, replace(settings, catalogue=write_catalogue(tmp_path))) as core:
        yield core


async def test_a_core_passes_every_case(core: Core) -> None:
    """With Alberta's catalogue, and the bodies that the page gives for it."""
    (example,) = re.findall("```json\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    told = await given(core, "S.0982", "S.0990", json.loads(example))
    year = datetime.now(UTC).year
    async with core.served():
        report = await try_core(core.base_url, replace(told, types={"type": f"EvaluatedMark.{year}"}, patience=3))
    assert [(verdict.case, verdict.said) for verdict in report.verdicts if verdict.outcome is not Outcome.PASSED] == []
    assert [verdict.case for verdict in report.verdicts] == list(CASES)
    assert report.passed
    assert await _living(core) == 0


async def test_a_run_that_is_broken_off_deletes_what_it_wrote(core: Core) -> None:
    def told(verdict: Verdict) -> None:
        if verdict.case == "each-record-stands-alone":
            raise KeyboardInterrupt

    given_ = await given(core, "S.0982", "S.0990")
    with pytest.raises(KeyboardInterrupt):
        await try_core("http://core", given_, told=told, transport=httpx.ASGITransport(core.app))
    assert await _living(core) == 0


async def test_each_fault_fails_the_cases_named_for_it_and_no_others(stage: Core) -> None:
    """Several at once, each between two schools of its own: what one suite writes no other sees."""
    await _open_schools(stage, 2 * len(FAULTS))
    failed: dict[str, dict[str, str]] = {}
    turn = anyio.Semaphore(_AT_ONCE)

    async def try_faulty(place: int, name: str) -> None:
        app = Faulty(stage.app, FAULTS[name][0])
        told = replace(await given(stage, f"S.T{2 * place}", f"S.T{2 * place + 1}"), patience=2)
        transport = httpx.ASGITransport(app, client=(f"10.0.0.{place + 1}", 1))
        async with turn:
            report = await try_core("http://core", told, CASES.keys() - _COSTLY, transport=transport)
        failed[name] = {found.case: found.said for found in report.verdicts if found.outcome is not Outcome.PASSED}

    async with anyio.create_task_group() as tasks:
        for place, name in enumerate(FAULTS):
            tasks.start_soon(try_faulty, place, name)
    wrong = {name: said for name, said in failed.items() if said.keys() != FAULTS[name][1]}
    assert wrong == {}


async def test_no_case_passes_where_nothing_is_answered(stage: Core) -> None:
    """Of a server that says who calls and what there is, and then 200 and {} to everything."""
    core = httpx.ASGITransport(stage.app)
    questions = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal questions
        questions += 1
        if questions > _ASKED_FIRST:
            return httpx.Response(200, json={})
        told = await core.handle_async_request(request)
        return httpx.Response(told.status_code, content=await told.aread())

    told = await given(stage, "S.0982", "S.0990")
    report = await try_core("http://core", told, transport=httpx.MockTransport(answer))
    untouched = {found.case for found in report.verdicts if found.outcome is not Outcome.FAILED}
    assert untouched == {"own-records-are-deleted"}


async def _open_schools(core: Core, count: int) -> None:
    lines = "".join(f"S.T{place},School {place},O.1\n" for place in range(count))
    connection = await core.connect()
    await operations.load_organizations(connection, f"code,name,parent\nO.1,Ministry,\n{lines}")


async def _living(core: Core) -> int:
    """How many records there are that nobody deleted, statuses apart: they follow."""
    connection = await core.connect()
    living: int = await connection.fetchval("select count(*) from record where not deleted and source_version is null")
    return living
