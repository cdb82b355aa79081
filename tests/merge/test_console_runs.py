"""The pages about a feed's runs, as people of a Core that hosts merges see them."""

import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from homeroom_merge import run_records
from homeroom_merge.console.frame.files import PER_PAGE
from homeroom_merge.report.lines import entry_line
from homeroom_merge.run_records import entries
from homeroom_merge.store import settings
from tests.merge.browsing import FEED, TOML, held_run, say, signed_in, with_people
from tests.merge.pupils import NOW, School
from tests.merge.written import put
from tests.test_console import ELSEWHERE

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


@pytest.fixture
async def web(school: School) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's browser."""
    await with_people(school, "olga", "amir", "hana", "vera")
    async with signed_in(school.core, "olga") as web:
        yield web


async def with_issues(school: School) -> UUID:
    """A run that found a conflict, and a record with a fault."""
    put(school, "r1", first="Zoe")
    await school.say("r1", {"firstName": "Eve", "lastName": "Bear"})
    put(school, "r2", phones="no list")
    return (await school.merge()).run


async def many_planned(school: School, run: UUID, count: int) -> None:
    """The plan of a run grows by as many records, all like its last; every thousandth could not be written."""
    await school.own.execute(
        """
        insert into planned (run, record, change, is_delete, outcome)
        select p.run, p.record + n, p.change, p.is_delete, case when n % 1000 = 0 then 'failed' else 'planned' end
        from (select * from planned where run = $1 order by record desc limit 1) p, generate_series(1, $2) n
        """,
        run,
        count,
    )


async def test_all_feeds_say_how_they_stand(school: School, web: httpx.AsyncClient) -> None:
    await with_issues(school)
    await held_run(school)
    (row,) = (await web.get("/console/merges?as=json")).json()
    assert {name: row[name] for name in ("feed", "schools", "lastStatus", "held", "conflicts", "failing")} == {
        "feed": "raven",
        "schools": "S.91",
        "lastStatus": "held",
        "held": 1,
        "conflicts": 1,
        "failing": 1,
    }
    await settings.pause(school.own, "raven", "holidays")
    page = (await web.get("/console/merges")).text
    assert "holidays" in page
    assert f'href="{FEED}?status=held">1</a>' in page


async def test_many_feeds_are_shown_page_by_page_and_to_whom_they_belong(
    school: School, web: httpx.AsyncClient
) -> None:
    for number in range(PER_PAGE + 1):
        of_heron = TOML.replace('"raven"', f'"heron-{number:03}"').replace("S.91", "S.92")
        await settings.push(school.own, f"heron-{number:03}", "usual", of_heron, "", "tests")
    first, second = (await web.get("/console/merges")).text, (await web.get("/console/merges?page=2")).text
    assert (first.count('<th scope="row">'), second.count('<th scope="row">')) == (PER_PAGE, 2)
    async with signed_in(school.core, "hana") as hana:
        seen = {row["feed"] for row in (await hana.get("/console/merges?as=json")).json()}
        assert seen == {f"heron-{number:03}" for number in range(PER_PAGE + 1)}
        assert (await hana.get("/console/merges?page=2")).text.count('<th scope="row">') == 1
    async with signed_in(school.core, "vera") as vera:
        assert [row["feed"] for row in (await vera.get("/console/merges?as=json")).json()] == ["raven"]


async def test_runs_are_found_by_what_is_asked_for(school: School, web: httpx.AsyncClient) -> None:
    held = await held_run(school)
    await (await school.group()).run(NOW, runner="nightly", dry=True)
    every = (await web.get(f"{FEED}?as=json")).json()
    assert [row["begunAt"] for row in every] == sorted((row["begunAt"] for row in every), reverse=True)
    for query, found in (
        ("runner=nightly", lambda row: row["runner"] == "nightly"),
        ("status=success&runner=manual", lambda row: row["status"] == "success" and row["runner"] == "manual"),
        ("entity=Student", lambda row: True),
        ("entity=Staff", lambda row: False),
        ("from=2026-01-01&to=2100-01-01", lambda row: True),
        ("to=2025-12-31", lambda row: False),
    ):
        rows = (await web.get(f"{FEED}?as=json&{query}")).json()
        assert rows == [row for row in every if found(row)], query
    await school.own.execute("update run set status = 'held' where id = $1", held)
    page = (await web.get(FEED)).text
    assert f'href="{FEED}/runs/{held}">look at it' in page
    assert "No worker has been heard of" in page
    assert "<td>Student</td>" not in (await web.get(f"{FEED}?status=failed")).text


async def test_a_run_tells_how_it_went_and_each_record(school: School, web: httpx.AsyncClient) -> None:
    run = await with_issues(school)
    page = (await web.get(f"{FEED}/runs/{run}")).text
    for said in ("Done, but some records need you", "Fetch from the SIS", "it is no list", "<b>Zoe</b>", "<b>Eve</b>"):
        assert said in page
    assert "<h4>r1</h4>" in page
    only = (await web.get(f"{FEED}/runs/{run}?group=invalid")).text
    assert ("<h4>r2</h4>" in only, "<h4>r1</h4>" in only) == (True, False)
    only = (await web.get(f"{FEED}/runs/{run}?group=conflict")).text
    assert ("<h4>r2</h4>" in only, "<h4>r1</h4>" in only) == (False, True)
    only = (await web.get(f"{FEED}/runs/{run}?key=r1")).text
    assert ("<h4>r2</h4>" in only, "<h4>r1</h4>" in only) == (False, True)
    assert "No such record." in (await web.get(f"{FEED}/runs/{run}?key=nobody")).text


async def test_a_plan_of_thousands_of_records_is_paged(
    school: School, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "_WINDOW", 700)
    run = await held_run(school)
    await many_planned(school, run, 4_000)
    place, shown, pages = f"{FEED}/runs/{run}?group=failed", 0, 0
    page = (await web.get(place)).text
    assert page.count("<h4>") == 4
    place = f"{FEED}/runs/{run}?group=create"
    while place:
        page = (await web.get(place)).text
        assert page.count("<h4>") <= PER_PAGE
        shown, pages = shown + page.count("<h4>"), pages + 1
        found = re.search(r'rel="next" href="([^"]+)"', page)
        place = found[1].replace("&amp;", "&") if found else ""
    assert (shown, pages) == (4_005 - 4, -(-4_001 // PER_PAGE))


async def test_what_is_sought_too_long_is_sought_on_by_whoever_asks(
    school: School, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "_WINDOW", 100)
    run = await held_run(school)
    await many_planned(school, run, 1_500)
    monkeypatch.setattr(run_records, "LOOKING_SECONDS", -1.0)  # each look ends after its first hundred
    place, looks = f"{FEED}/runs/{run}?group=failed", 0
    while "<h4>" not in (page := (await web.get(place)).text):
        assert "None among those looked at so far." in page
        found = re.search(r'rel="next" href="([^"]+)"', page)
        assert found is not None
        place, looks = found[1].replace("&amp;", "&"), looks + 1
    assert looks == 1_000 // 100


async def test_the_whole_report_is_downloaded_with_every_record(school: School, web: httpx.AsyncClient) -> None:
    run = await with_issues(school)
    await many_planned(school, run, 1_000)
    lines = (await web.get(f"{FEED}/runs/{run}/report.jsonl")).content.splitlines(keepends=True)
    assert orjson.loads(lines[0])["run"] == str(run)
    assert lines[1:] == [entry_line(entry) async for entry in entries(school.own, run)]
    answer = await web.get(f"{FEED}/runs/{run}/report.csv")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="raven-Student-{run}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(rows) == len(lines) - 1 > 1_000
    page = await web.get(f"{FEED}/runs/{run}/report.html")
    assert "The first 100 of 999 are shown here" in page.text.replace("\n", " ")
    assert (await web.get(f"{FEED}/runs/{run}/report.exe")).status_code == 404


async def test_what_records_and_runs_say_stays_text(school: School, web: httpx.AsyncClient) -> None:
    put(school, "r1", first=HOSTILE)
    await school.say("r1", {"firstName": "Eve", "lastName": HOSTILE})
    put(school, "r2", phones="no list", last=HOSTILE)
    await school.merge()
    run = await held_run(school)
    await school.own.execute(
        "update run set log = jsonb_set(log::jsonb, '{notes}', to_jsonb(array[$2::text]))::text, report = null,"
        " overrides = jsonb_build_object($2::text, $2::text)::text, runner = $2 where id = $1",
        run,
        HOSTILE,
    )
    await school.own.execute("update planned set change = replace(change, 'Number 1', $1)", "<script>x")
    await school.own.execute("update left_out set place = $1", HOSTILE)
    await settings.pause(school.own, "raven", HOSTILE)
    for place in (
        "/console/merges",
        FEED,
        f"{FEED}?entity={HOSTILE}&from={HOSTILE}",
        f"{FEED}/runs/{run}",
        f"{FEED}/runs/{run}?key={HOSTILE}&group={HOSTILE}",
        f"{FEED}/runs/{run}/report.html",
    ):
        page = (await web.get(place)).text
        assert "<script>" not in page.replace("<script src=", ""), place


def places(core: Any, run: UUID) -> list[tuple[str, str]]:
    """Every method and place of a feed that there is."""
    found = []
    for route in core.app.routes:
        if route.path.startswith("/console/merges/{feed}"):
            place = route.path.replace("{feed}", "raven").replace("{run}", str(run)).replace("{job}", "1")
            place = re.sub(r"{[^}]*}", "1", place.replace("{form}", "html"))
            found += [(method, place) for method in route.methods - {"HEAD"}]
    assert ("POST", f"{FEED}/runs/{run}/approve") in found
    return found


async def test_who_may_not_see_a_school_reaches_nothing_of_its_feed(school: School, web: httpx.AsyncClient) -> None:
    run = await held_run(school)
    assert (await say(web, f"{FEED}/run", f"{FEED}/run")).status_code == 303
    async with signed_in(school.core, "hana") as hana:
        page = await hana.get("/console/merges")
        found = re.search(r'name="form_token" value="([^"]+)"', page.text)
        assert found is not None
        for method, place in places(school.core, run):
            data = {"form_token": found[1], "looked": "yes"} if method == "POST" else None
            answer = await hana.request(method, place, data=data)
            unknown = await hana.request(method, place.replace("raven", "wolf"), data=data)
            assert (answer.status_code, unknown.status_code) == (404, 404), place
            assert answer.text == unknown.text.replace("wolf", "raven"), place
        assert "raven" not in page.text
    assert await school.own.fetchval("select status from run where id = $1", run) == "held"
    assert await school.own.fetchval("select count(*) from homeroom_merge_queue.procrastinate_jobs") == 1


async def test_runs_and_jobs_of_another_feed_are_not_found_under_ones_own(
    school: School, web: httpx.AsyncClient
) -> None:
    run = await held_run(school)
    await say(web, f"{FEED}/run", f"{FEED}/run")
    of_heron = TOML.replace('"raven"', '"heron"').replace("S.91", "S.92")
    await settings.push(school.own, "heron", "usual", of_heron, "", "tests")
    async with signed_in(school.core, "hana") as hana:
        own = "/console/merges/heron"
        for place in (f"runs/{run}", f"runs/{run}/next", f"runs/{run}/report.csv", "jobs/1", "jobs/1/next"):
            assert (await hana.get(f"{own}/{place}")).status_code == 404, place
        for place in (f"runs/{run}/approve", f"runs/{run}/discard", f"runs/{run}/undo", "jobs/1/cancel"):
            assert (await say(hana, f"{own}/run", f"{own}/{place}", looked="yes")).status_code == 404, place
    assert await school.own.fetchval("select status from run where id = $1", run) == "held"


async def test_viewers_see_everything_and_change_nothing(school: School, web: httpx.AsyncClient) -> None:
    run = await held_run(school)
    async with signed_in(school.core, "vera") as vera:
        for place in (FEED, f"{FEED}/runs/{run}", f"{FEED}/runs/{run}/report.csv", f"{FEED}/jobs"):
            page = await vera.get(place)
            assert page.status_code == 200
            assert page.text.count('method="post"') <= 1, "to sign out"
        for method, place in places(school.core, run):
            if method == "POST":
                answer = await say(vera, FEED, place, looked="yes")
                assert answer.status_code == 403, place
                assert "Not for viewers" in answer.text
        assert (await vera.get(f"{FEED}/run")).status_code == 403
    assert await school.own.fetchval("select status from run where id = $1", run) == "held"


async def test_a_held_plan_is_discarded_once(school: School, web: httpx.AsyncClient) -> None:
    run = await held_run(school)
    place = f"{FEED}/runs/{run}"
    async with signed_in(school.core, "amir") as amir:
        assert (await say(amir, place, f"{place}/discard")).status_code == 303
        page = await amir.get(place)
        assert "Discarded by amir" in page.text
        assert "Cancelled" in page.text
        assert '<option value="create">' in page.text, "it keeps the report that it had"
        again = await say(amir, place, f"{place}/discard")
        assert again.status_code == 409
        assert "It is held no longer" in again.text
        assert (await say(amir, place, f"{place}/approve", looked="yes")).status_code == 409
    connection = await school.core.connect()
    told = await connection.fetch("select actor as person, detail as what from audit_event where detail like '%run%'")
    assert [tuple(row) for row in told] == [("amir", f"discards run {run} of Student of raven")]


async def test_nothing_is_asked_for_by_who_has_not_looked_or_from_elsewhere(
    school: School, web: httpx.AsyncClient
) -> None:
    done = UUID(str(await school.own.fetchval("select id from run where status = 'success'")))
    held = await held_run(school)
    for run, what in ((held, "approve"), (done, "undo")):
        place = f"{FEED}/runs/{run}"
        refused = await say(web, place, f"{place}/{what}")
        assert refused.status_code == 422
        assert "Say that you have looked at it" in refused.text
        data = {"form_token": "guessed", "looked": "yes"}
        assert (await web.post(f"{place}/{what}", data=data)).status_code == 403
        token = re.search(r'form_token" value="([^"]+)', refused.text)
        assert token is not None
        said = {"form_token": token[1], "looked": "yes"}
        assert (await web.post(f"{place}/{what}", data=said, headers=ELSEWHERE)).status_code == 403
    for run, what in ((held, "undo"), (done, "approve"), (done, "discard")):
        place = f"{FEED}/runs/{run}"
        assert (await say(web, place, f"{place}/{what}", looked="yes")).status_code == 409
    assert await school.own.fetchval("select count(*) from homeroom_merge_queue.procrastinate_jobs") == 0
    place = f"{FEED}/runs/{done}"
    assert (await say(web, place, f"{place}/undo", looked="yes")).headers["Location"] == f"{FEED}/jobs/1"


async def test_a_run_that_goes_on_shows_its_steps_so_far(school: School, web: httpx.AsyncClient) -> None:
    run = await held_run(school)
    await school.own.execute("update run set status = 'running' where id = $1", run)
    place = f"{FEED}/runs/{run}"
    page = (await web.get(place)).text
    assert "going on" in page
    assert "Fetch from the SIS" in page
    assert "5 records are in its plan, 0 of them are carried out." in page
    part = re.search(r'data-living="([^"]+)"', page)
    assert part is not None
    await school.own.execute("update run set status = 'failed' where id = $1", run)
    ended = await web.get(part[1])
    assert f'<a href="{place}">see its report</a>' in ended.text
    assert "data-living" not in ended.text
    answer = await web.get(f"{place}/report.csv")
    assert answer.status_code == 200
    await school.own.execute("update run set status = 'running' where id = $1", run)
    assert (await web.get(f"{place}/report.csv")).status_code == 409


@pytest.mark.parametrize(
    "place",
    [
        "/console/merges/%00",
        "/console/merges/raven%00?entity=%00&status=%00&from=%00",
        f"{FEED}?page=99999999999999999999&from=0001-01-01&to=9999-12-31",
        f"{FEED}?from={'9' * 5_000}&entity={'x' * 5_000}&runner=%ff",
        f"{FEED}/runs/%00",
        f"{FEED}/runs/{'f' * 5_000}",
        f"{FEED}/runs/{UUID(int=7)}",
        f"{FEED}/jobs/{'9' * 30}",
        f"{FEED}/jobs/-1",
        f"{FEED}/jobs/%C2%B2",
        "RUN?after=p999999999999999999&group=%00&key=%00",
        "RUN?after=l99999999999999999999",
        f"RUN?after=p1x&group={'x' * 5_000}&key={'x' * 5_000}",
    ],
)
async def test_bad_input_is_no_failure_of_ours(school: School, web: httpx.AsyncClient, place: str) -> None:
    run = await held_run(school)
    answer = await web.get(place.replace("RUN", f"{FEED}/runs/{run}"))
    assert answer.status_code in (200, 404)
