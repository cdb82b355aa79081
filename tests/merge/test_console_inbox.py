"""The inbox in the browser: conflicts looked at, settled one by one or all at once, and carried out by the next run."""

import csv
import io
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest

from homeroom_merge import inbox
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.console.frame.files import PER_PAGE
from homeroom_merge.store import inbox as store
from homeroom_merge.store import jobs
from homeroom_merge.store.conflicts import COUNT_MAX
from homeroom_merge.store.inbox import Entry
from homeroom_server.settings import Settings
from tests.merge.console import FEED, Browser, browsing, events, peopled
from tests.merge.pupils import TABLE, File, School, opened_school, pupil
from tests.merge.test_inbox import disputed, first_names, night, re_keyed

ELSEWHERE = {"Origin": "https://evil.example"}


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "sis.sqlite")


@pytest.fixture
async def school(database_of_test: str, settings: Settings, file: File) -> AsyncIterator[School]:
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        await peopled(school)
        yield school
    await sis.close()


@pytest.fixture
async def amir(school: School) -> AsyncIterator[Browser]:
    """Who may settle conflicts of this feed."""
    async with browsing(school.core, "amir") as browser:
        yield browser


async def entries(school: School) -> list[Entry]:
    return await store.entries(school.own, "raven", None, None, None)


def place_of(entry: Entry) -> str:
    return f"/conflicts/{entry.record}?field={quote(entry.pointer)}"


def ticked(entry: Entry) -> str:
    return f"{entry.record}:{inbox.mark_of(entry)}:{entry.pointer}"


async def three_disputed(school: School, file: File) -> list[Entry]:
    """Three pupils, each with another first name on either side."""
    for key in ("r1", "r2", "r3"):
        file.put(key, first="Ada", last="Bear")
    await school.merge()
    for key in ("r1", "r2", "r3"):
        await school.say(key, pupil("Hub"))
        file.put(key, first="Sis")
    await school.merge()
    return await entries(school)


@pytest.mark.parametrize(
    ("said", "stands"),
    [({"do": "sis"}, "Sis"), ({"do": "hub"}, "Hub"), ({"do": "rule", "method": "alwaysSis"}, "Sis")],
)
async def test_what_is_said_of_a_conflict_is_carried_out_by_the_next_run(
    school: School, file: File, amir: Browser, said: dict[str, str], stands: str
) -> None:
    entry = await disputed(school, file)
    assert "Student r1" in await amir.get("/conflicts")
    page = await amir.get(place_of(entry))
    assert "the default of Student: manual; where both sides changed it differently, a person decides" in page
    assert "newest" not in page, "it would leave this conflict open"
    sent = await amir.post(place_of(entry) + "&from=entity%3DStudent", mark=inbox.mark_of(entry), **said)
    assert sent.headers["Location"] == f"{FEED}/conflicts?entity=Student&done={said['do']}&count=1"
    after = await amir.get(sent.headers["Location"])
    assert "the next run" in after
    assert "Student r1" not in after
    assert "Student r1" in await amir.get("/conflicts?show=decided")
    await school.merge()
    assert await first_names(school, file) == (stands, stands)
    assert "Nothing waits for a decision" in await amir.get("/conflicts")
    assert [who for who, _ in await events(school)] == ["amir"]


async def test_a_typed_value_is_asked_of_a_worker(school: School, file: File, amir: Browser) -> None:
    entry = await disputed(school, file)
    mark = inbox.mark_of(entry)
    for value, kind in (("Else", "text"), ('"Else"', "json")):
        sent = await amir.post(place_of(entry), do="value", value=value, mark=mark, **{"as": kind})
        place, _, number = sent.headers["Location"].rpartition("/")
        assert place == f"{FEED}/jobs"
        job = await jobs.find(school.own, int(number))
        assert job is not None
        assert (job.task, job.asked["value"], job.asked["by"]) == ("value", "Else", "amir")
        assert (job.asked["record"], job.asked["pointer"]) == (entry.record, "/firstName")
    for value in ("Else", "[" * 9_000, "9" * 10_001):
        assert "JSON" in (await amir.post(place_of(entry), 409, do="value", value=value, mark=mark)).text or len(value)


async def test_several_are_ticked_and_settled_together(school: School, file: File, amir: Browser) -> None:
    first, second, third = await three_disputed(school, file)
    sent = await amir.post("/conflicts?entity=Student&show=all", do="sis", chosen=[ticked(first), ticked(second)])
    assert sent.headers["Location"] == f"{FEED}/conflicts?entity=Student&show=all&done=sis&count=2"
    await amir.post("/conflicts", do="rule", method="resolveAsHub", chosen=[ticked(third)])
    await school.merge()
    names = {key: body["firstName"] for key, body in (await school.hub()).items()}
    assert names == {"r1": "Sis", "r2": "Sis", "r3": "Hub"}
    assert await entries(school) == []
    assert [what.partition(":")[0] for _, what in await events(school)] == [
        "took the sis's side in 2 conflicts of raven",
        "took the rule resolveAsHub in 1 conflicts of raven",
    ]


async def test_what_has_changed_since_it_was_seen_is_left_alone(school: School, file: File, amir: Browser) -> None:
    first, second, _ = await three_disputed(school, file)
    file.put("r2", first="Later")
    await school.merge()
    refused = await amir.post("/conflicts", 409, do="sis", chosen=[ticked(first), ticked(second)])
    assert "have changed or are gone since you saw them" in refused.text
    await amir.post(place_of(second), 409, do="sis", mark=inbox.mark_of(second))
    assert [each.decided_by for each in await entries(school)] == [None] * 3


async def test_all_that_a_filter_shows_are_settled_if_they_are_as_many_as_were_shown(
    school: School, file: File, amir: Browser
) -> None:
    await three_disputed(school, file)
    page = await amir.get("/conflicts?field=/firstName")
    assert 'name="expected" value="3"' in page
    await school.say("r1", pupil("Ada"))
    await school.merge()
    refused = await amir.post("/conflicts?field=/firstName", 409, do="hub-all", expected="3")
    assert "there are 2 open conflicts, not 3" in refused.text
    assert [each.decided_by for each in await entries(school)] == [None] * 2
    for expected in ("", "0", "-1", "x", "9" * 30):
        await amir.post("/conflicts?field=/firstName", 409, do="hub-all", expected=expected)
    await amir.post("/conflicts?field=/lastName", 409, do="hub-all", expected="2")
    await amir.post("/conflicts?field=/firstName&entity=Student", do="hub-all", expected="2")
    assert [each.decided_by for each in await entries(school)] == ["amir"] * 2
    await school.merge()
    assert await entries(school) == []


@pytest.mark.parametrize("way", ["same", "apart"])
async def test_a_proposed_re_key_is_answered(school: School, file: File, amir: Browser, way: str) -> None:
    entry = await re_keyed(school, file)
    page = await amir.get("/conflicts")
    assert 'name="chosen"' not in page, "no side of it can be taken"
    await amir.post("/conflicts", 409, do="sis", chosen=[ticked(entry)])
    assert "Is it the same record?" in await amir.get(place_of(entry))
    await amir.post(place_of(entry), do=way, mark=inbox.mark_of(entry))
    await night(school)
    assert set(await school.hub()) == ({"r1", "r2"} if way == "same" else {"r1", "r2", "r9"})
    assert await entries(school) == []


async def test_what_was_said_of_a_record_can_be_taken_back(school: School, file: File, amir: Browser) -> None:
    entry = await disputed(school, file)
    place, mark = place_of(entry), inbox.mark_of(entry)
    for said, undo, shown in (
        ({"do": "hub"}, "undecide", "amir decided on these values"),
        ({"do": "rule", "method": "resolveAsSis"}, "unrule", "resolveAsSis"),
        ({"do": "stick"}, "unstick", "is sticky"),
    ):
        await amir.post(place, mark=mark, **said)
        assert [each.stands for each in await entries(school)] == ["decided"]
        assert shown in await amir.get(place)
        sent = await amir.post(place, do=undo, at="/firstName")
        assert f"done={undo}" in sent.headers["Location"]
        assert await entries(school) == [entry], "as it was"
        await amir.post(place, 409, do=undo, at="/firstName")
    await school.merge()
    assert await first_names(school, file) == ("Hub", "Sis")


async def test_filters_show_what_they_say_and_rules_are_ready_to_copy(
    school: School, file: File, amir: Browser
) -> None:
    await three_disputed(school, file)
    page = await amir.get("/conflicts?key=r2")
    assert "Student r2" in page
    assert "Student r1" not in page
    assert "No conflict is so" in await amir.get("/conflicts?entity=Staff")
    page = unescape(await amir.get("/conflicts?entity=Student&field=/phones/[home]/number"))
    assert '[entity.Student.fields]\n"/phones/$/number" = "resolveAsHub"' in page


async def test_files_have_every_conflict(school: School, file: File, amir: Browser) -> None:
    await three_disputed(school, file)
    rows = (await amir.web.get(f"{FEED}/conflicts?as=json&key=r2")).json()
    assert [(row["sisKey"], row["pointer"], row["sis"], row["outcome"]) for row in rows] == [
        ("r2", "/firstName", '"Sis"', None)
    ]
    text = (await amir.get("/conflicts?as=csv")).removeprefix("\ufeff")
    assert [row["hub"] for row in csv.DictReader(io.StringIO(text))] == ['"Hub"'] * 3


async def many(school: School, count: int) -> None:
    """A feed with so many conflicts, of a thousand pupils."""
    await school.group()
    await school.own.execute("insert into subject (feed, entity) select number, 'Student' from feed")
    await school.own.execute(
        """
        insert into record (subject, sis_key, hub_state, sis_state)
        select s.number, 'k' || n, 'live', 'live' from subject s, generate_series(1, 1000) n
        """
    )
    await school.own.execute(
        """
        insert into conflict (record, subject, pointer, stands, base, sis, hub, rule, since)
        select r.number, r.subject, '/field' || n, 'open', '"a"', '"b"', '"c"', 'entity manual',
               now() - make_interval(secs => n)
        from record r, generate_series(1, $1 / 1000) n
        """,
        count,
    )


def rows_of(page: str) -> list[str]:
    return re.findall(r'name="chosen"\s+value="([^"]+)"', page)


async def test_a_hundred_thousand_are_shown_page_by_page_and_settled_at_once(school: School, amir: Browser) -> None:
    await many(school, COUNT_MAX)
    first, last = await amir.get("/conflicts"), await amir.get("/conflicts?before=end")
    assert "<strong>100,000</strong>" in first
    assert len(rows_of(first)) == len(rows_of(last)) == PER_PAGE
    seen = [*rows_of(first)]
    for _ in range(2):
        (on,) = re.findall(r'rel="next" href="\?([^"]+)"', first)
        first = await amir.get(f"/conflicts?{unescape(on)}")
        seen += rows_of(first)
    assert len(set(seen)) == 3 * PER_PAGE
    (back,) = re.findall(r'rel="prev" href="\?([^"]+)"', first)
    assert rows_of(await amir.get(f"/conflicts?{unescape(back)}")) == seen[PER_PAGE : 2 * PER_PAGE]
    assert 'rel="next"' not in last
    every = await entries(school)
    assert rows_of(last) == [ticked(each) for each in every[-PER_PAGE:]]
    middle = every[50_000]
    place = f"{(middle.since.timestamp() * 1_000_000):.0f}.{middle.record}.{middle.pointer}"
    assert len(rows_of(await amir.get(f"/conflicts?after={quote(place)}"))) == PER_PAGE
    await amir.post("/conflicts", do="sis-all", expected="100000")
    assert "Nothing waits" in await amir.get("/conflicts")


async def test_more_than_are_counted_are_settled_by_filters_alone(school: School, amir: Browser) -> None:
    await many(school, COUNT_MAX + 1_000)
    page = await amir.get("/conflicts")
    assert "100,000+" in page
    assert 'name="expected"' not in page
    assert 'name="expected" value="1000"' in await amir.get("/conflicts?field=/field7")


@pytest.mark.parametrize("place", ["/conflicts", "/conflicts/{record}?field=/firstName"])
async def test_others_reach_nothing_and_viewers_only_look(school: School, file: File, place: str) -> None:
    entry = await disputed(school, file)
    place = place.format(record=entry.record)
    said = {"do": "sis", "mark": inbox.mark_of(entry), "chosen": ticked(entry)}
    async with browsing(school.core, "petra") as petra:
        text = await petra.get(place, 404)
        assert text == await petra.get(place + ("&" if "?" in place else "?") + "as=csv", 404)
        assert "There is no feed raven that you may see" in text
        assert (await petra.post(place, 404, **said)).text == text
        assert "Student" not in text
    async with browsing(school.core, "vera") as vera:
        page = await vera.get(place)
        assert page.count('method="post"') == 1, "to sign out"
        assert "Sis" in page
        await vera.post(place, 403, **said)
    assert [each.decided_by for each in await entries(school)] == [None]


async def test_a_form_of_another_site_settles_nothing(school: School, file: File, amir: Browser) -> None:
    entry = await disputed(school, file)
    said = {"do": "sis", "mark": inbox.mark_of(entry), "chosen": ticked(entry)}
    for place in ("/conflicts", place_of(entry)):
        for token, headers in (("guessed", {}), ("", {}), (amir.form_token, ELSEWHERE)):
            answer = await amir.web.post(FEED + place, data={**said, "form_token": token}, headers=headers)
            assert (answer.status_code, "Nothing was done" in answer.text) == (403, True)
    assert [each.decided_by for each in await entries(school)] == [None]


async def test_hostile_values_stay_text(school: School, file: File, amir: Browser) -> None:
    entry = await disputed(school, file)
    evil = "</textarea><script>alert(1)</script>"
    await school.own.execute(
        "update conflict set hub = $1, sis = $2, rule = $3, pointer = $3", f'"{evil}"', f'"{"x" * 100_000}"', evil
    )
    for place in ("/conflicts?show=all", f"/conflicts/{entry.record}?field={quote(evil)}"):
        page = await amir.get(place)
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert len(page) < 60_000


HOSTILE = ("%00", "x" * 5_000, "99999999999999999999", "-1", "%ff", "'", "%F0%9F%A6%A6", "1.2.3", "%5B%22")


async def test_any_input_is_answered(school: School, file: File, amir: Browser) -> None:
    entry = await disputed(school, file)
    for evil in HOSTILE:
        for name in ("entity", "field", "key", "show", "after", "before", "done", "count", "as", "page"):
            await amir.get(f"/conflicts?{name}={evil}")
        for name in ("field", "from", "done"):
            await amir.get(f"/conflicts/{entry.record}?{name}={evil}")
        missing = await amir.web.get(f"{FEED}/conflicts/{evil}")
        assert missing.status_code == 404
    for evil in ("\0", "x" * 5_000, "9" * 30, "1:2", "1:2:3", ":", "\udc80".encode("utf-8", "replace").decode()):
        for name in ("do", "chosen", "mark", "expected", "method", "value", "as", "at"):
            for place in ("/conflicts", place_of(entry)):
                said = {"do": "rule", "chosen": ticked(entry), "mark": inbox.mark_of(entry), name: evil}
                answer = await amir.web.post(FEED + place, data={"form_token": amir.form_token, **said})
                assert answer.status_code in (303, 403, 409), (place, name, evil)
