"""What people ask for in the browser, and how they see workers do it."""

import re
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from homeroom_merge.console import jobs as console_jobs
from homeroom_merge.console import living
from homeroom_merge.console.living import stamp_of
from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.queue import defer_manual, defer_nightly, open_queue
from homeroom_merge.store import jobs
from homeroom_server import people
from homeroom_server.people import PersonRole
from tests.merge.browsing import FEED, held_run, say, signed_in, with_people
from tests.merge.interchanges import put, student
from tests.merge.pupils import NOW, School
from tests.merge.test_worker import Place, place  # noqa: F401  # a fixture
from tests.test_console import PASSWORD

ELK = "/console/merges/elk"


@pytest.fixture
async def web(school: School) -> AsyncIterator[httpx.AsyncClient]:
    await with_people(school, "olga", "amir", "vera")
    async with signed_in(school.core, "olga") as web:
        yield web


def living_part(page: str) -> str:
    found = re.search(r'data-living="([^"]+)"', page)
    assert found is not None
    return found[1]


class Looks:
    """Tells when a job is looked at."""

    def __init__(self) -> None:
        self.next = anyio.Event()

    def stamp_of(self, shown: object) -> str:
        self.next.set()
        return stamp_of(shown)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Looks at jobs, in quick succession."""
    looks = Looks()
    monkeypatch.setattr(living, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(console_jobs, "stamp_of", looks.stamp_of)
    return looks


async def test_a_run_is_asked_for_with_settings_of_its_own(school: School, web: httpx.AsyncClient) -> None:
    said = {"entity": "Student", "school": "S.91", "dry": "yes", "overrides": " entity.Student.absences=3 \n\n"}
    sent = await say(web, f"{FEED}/run", f"{FEED}/run", **said)
    assert (sent.status_code, sent.headers["Location"]) == (303, f"{FEED}/jobs/1")
    found = await jobs.find(school.own, 1)
    assert found is not None
    assert found.asked == {
        "feed": "raven",
        "by": "olga",
        "entities": ["Student"],
        "schools": ["S.91"],
        "overrides": ["entity.Student.absences=3"],
        "dry": True,
    }
    page = (await web.get(f"{FEED}/jobs/1")).text
    for shown in ("waits", "by olga", "entity.Student.absences=3", "No worker has been heard of"):
        assert shown in page
    assert f'href="{FEED}/jobs/1"' in (await web.get(f"{FEED}/jobs")).text


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"overrides": "entity.Student.absences=many"}, "entity.Student.absences"),
        ({"overrides": "<b>x</b>"}, "&lt;b&gt;x&lt;/b&gt;: this sets nothing"),
        ({"overrides": "x=1\n" * 51}, "at most 50 lines"),
        ({"overrides": "x=" + "1" * 5_000}, "of 1,000 characters"),
        ({"entity": "Staff"}, "Staff: it is not enabled"),
        ({"school": "S.92"}, "S.92: the feed does not speak for this school"),
    ],
)
async def test_what_cannot_be_run_is_said_and_what_was_typed_is_kept(
    school: School, web: httpx.AsyncClient, said: dict[str, str], fault: str
) -> None:
    answer = await say(web, f"{FEED}/run", f"{FEED}/run", **{"dry": "yes", **said})
    assert answer.status_code == 422
    assert fault in answer.text
    assert 'name="dry" value="yes" checked' in answer.text
    if "entity.Student" in said.get("overrides", ""):
        assert f">{said['overrides']}</textarea>" in answer.text
    assert await jobs.find(school.own, 1) is None


@pytest.mark.parametrize(
    "override",
    ['hub.url="https://evil.example"', 'feed.schools=["S.91", "S.92"]', "secrets.hub_key=PATH", '"hub"."url"="x"'],
)
async def test_only_operators_set_where_records_and_secrets_go(
    school: School, web: httpx.AsyncClient, override: str
) -> None:
    async with signed_in(school.core, "amir") as amir:
        refused = await say(amir, f"{FEED}/run", f"{FEED}/run", overrides=override)
        assert refused.status_code == 422
        assert await jobs.find(school.own, 1) is None
        allowed = await say(amir, f"{FEED}/run", f"{FEED}/run", overrides="defaults.absences=3")
        assert allowed.status_code == 303


async def test_a_job_that_waits_is_dropped_once(school: School, web: httpx.AsyncClient) -> None:
    await say(web, f"{FEED}/run", f"{FEED}/run")
    job = f"{FEED}/jobs/1"
    assert (await say(web, job, f"{job}/cancel")).status_code == 303
    page = await web.get(job)
    assert "dropped" in page.text
    assert "data-living" not in page.text
    again = await say(web, f"{FEED}/run", f"{job}/cancel")
    assert again.status_code == 409
    assert "It has ended already" in again.text


async def test_a_part_is_held_until_there_is_news(
    school: School, web: httpx.AsyncClient, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(web, f"{FEED}/run", f"{FEED}/run")
    part = living_part((await web.get(f"{FEED}/jobs/1")).text)
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await web.get(part))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            looks.next = anyio.Event()
            tasks.start_soon(ask)
            await looks.next.wait()
            await jobs.note(school.own, 1, None, "a run of Student of raven is going on: it waits")
    assert "a run of Student of raven is going on: it waits" in answers[0].text
    assert living_part(answers[0].text) != part
    monkeypatch.setattr(living, "HELD_SECONDS", 0.2)
    assert (await web.get(living_part(answers[0].text))).status_code == 204


async def test_a_part_is_held_no_longer_for_who_is_out_nor_for_too_many(
    school: School, web: httpx.AsyncClient, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(web, f"{FEED}/run", f"{FEED}/run")
    async with signed_in(school.core, "vera") as vera:
        part = living_part((await vera.get(f"{FEED}/jobs/1")).text)
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await vera.get(part))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                looks.next = anyio.Event()
                tasks.start_soon(ask)
                await looks.next.wait()
                await people.set_disabled(await school.core.connect(), "vera", disabled=True)
        assert answers[0].headers["Location"].startswith("/console/sign-in")
    monkeypatch.setattr(living, "WATCHERS_MAX", 0)
    assert (await web.get(part)).status_code == 503


async def test_a_job_shows_its_runs_and_nights_their_jobs(school: School, web: httpx.AsyncClient) -> None:
    async with open_queue(school.core.database_url, 1) as app:
        number = await defer_manual(app, Asked("raven", "olga"))
        await defer_nightly(app, "raven", NOW.date())
    (course,) = await (await school.group()).run(NOW)
    group = await school.own.fetchval("select group_id from run where id = $1", course.run)
    await jobs.note(school.own, number, group)
    page = (await web.get(f"{FEED}/jobs/{number}")).text
    assert f'<a href="{FEED}/runs/{course.run}">Student</a>' in page
    assert "Fetch from the hub" in page
    page = (await web.get(f"{FEED}/jobs")).text
    assert "The night of 2026-11-22" in page
    held = await held_run(school)
    assert str(held) not in (await web.get(f"{FEED}/jobs/{number}")).text


@pytest.mark.timeout(240)
async def test_a_plan_is_approved_and_taken_back_in_the_browser(place: Place) -> None:  # noqa: F811
    put(place.folder / "exports", "Student", "".join(student(str(number)) for number in range(9)))
    await place.do("run", "--feed", "elk", exit_code=3)
    held = await place.query("select id from run where status = 'held'")
    await people.create(await place.core.connect(), "amir", PersonRole.ADMINISTRATOR, ["A.9"], PASSWORD)
    async with signed_in(place.core, "amir") as web, place.worker():
        page = f"{ELK}/runs/{held}"
        sent = await say(web, page, f"{page}/approve", looked="yes")
        assert sent.status_code == 303
        await until_it_says(web, sent.headers["Location"], "done")
        assert "Approved by amir" in (await web.get(page)).text
        assert f'href="{page}">Student</a>' in (await web.get(sent.headers["Location"])).text
        sent = await say(web, page, f"{page}/undo", looked="yes")
        await until_it_says(web, sent.headers["Location"], "done")
        job = (await web.get(sent.headers["Location"])).text
        undoing = await place.query("select id from run where undoes = $1", held)
        assert f'href="{ELK}/runs/{undoing}">Student</a>' in job
        assert "A run that takes it back" in (await web.get(page)).text
        assert "No worker has been heard of" not in (await web.get(ELK)).text


async def until_it_says(web: httpx.AsyncClient, job: str, status: str) -> None:
    """Until the job stands so, as the page's own script follows it."""
    page = (await web.get(job)).text
    with anyio.fail_after(120):
        while "data-living" in page:
            answer = await web.get(living_part(page))
            page = answer.text or page
    assert f"{status}</span>" in page
