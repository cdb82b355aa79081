"""Settings in the browser: looked at, compared, changed by those who may, and never over somebody else's head."""

import re
from collections.abc import AsyncIterator
from datetime import date
from html import unescape

import pytest

from homeroom_merge.settings.diff import diff, usual
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.store import settings as store
from homeroom_merge.testing import MemorySis
from homeroom_server.settings import Settings
from tests.merge.console import FEED, SETTINGS, Browser, browsing, events, peopled
from tests.merge.pupils import School, opened_school

METHOD = SETTINGS.replace('# method = "manual"', 'method = "resolveAsHub"')
BROKEN = SETTINGS.replace("# absences = 2", "absences = 0\nabsence = 3")
ELSEWHERE = {"Origin": "https://evil.example"}


@pytest.fixture
async def school(database_of_test: str, settings: Settings) -> AsyncIterator[School]:
    async with opened_school(database_of_test, settings, MemorySis()) as school:
        await peopled(school)
        yield school


@pytest.fixture
async def olga(school: School) -> AsyncIterator[Browser]:
    async with browsing(school.core, "olga") as browser:
        yield browser


@pytest.fixture
async def amir(school: School) -> AsyncIterator[Browser]:
    async with browsing(school.core, "amir") as browser:
        yield browser


async def newest(school: School) -> tuple[int, str]:
    found = await store.pull(school.own, "raven", "default")
    assert found is not None
    return found.version, found.toml


async def pushed(browser: Browser, toml: str, after: int, status: int = 303) -> str:
    """What comes of pushing a text after it was looked at."""
    looked_at = await browser.web.post(
        f"{FEED}/settings/edit",
        data={"form_token": browser.form_token, "state": "default", "after": str(after), "toml": toml, "do": "check"},
    )
    mark = re.findall(r'name="mark" value="([^"]+)"', looked_at.text)
    said = {"state": "default", "after": str(after), "toml": toml, "comment": "better", "mark": mark, "do": "push"}
    return (await browser.post("/settings/edit", status, **said)).text


async def test_what_is_in_force_is_shown_and_why(school: School, amir: Browser) -> None:
    page = await amir.get("/settings")
    assert "version 1, the feed's own" in page
    assert "Pushed by ada" in page
    assert "HOMEROOM_KEY" in page, "the name of the variable, in which the secret is"
    await store.push(school.own, "raven", "summer", METHOD, "holidays", "ada")
    await store.bind(school.own, "raven", "summer", date(2020, 7, 1), date(2099, 8, 31))
    page = await amir.get("/settings")
    assert "bound to the days from 2020-07-01 to 2099-08-31" in page
    said = re.findall(r'<th scope="row">([^<]+)</th><td class="value">([^<]*)</td><td>([^<]+)</td>', page)
    assert ("entity.Student.method", "resolveAsHub", "changed") in [(a, unescape(b).strip('"'), c) for a, b, c in said]
    assert ("entity.Student.absences", "2", "usual") in said
    rows = (await amir.web.get(f"{FEED}/settings?as=json")).json()
    assert [(row["stateName"], row["version"], row["comment"]) for row in rows] == [
        ("summer", 1, "holidays"),
        ("default", 1, "the first"),
    ]


def test_what_a_new_file_says_is_usual_but_for_what_has_to_be_said() -> None:
    for kind in ("csv", "sql", "oneroster", "edfi"):
        settings = read_settings(as_toml(kind, "raven", "A.9", ["S.91"], ["Student"]))
        assert diff(usual(settings), settings) == []
    said = read_settings(METHOD.replace('# encoding = ""', 'encoding = "windows-1252"'))
    assert [each.path for each in diff(usual(said), said)] == ["connector.options.encoding", "entity.Student.method"]


async def test_a_text_is_checked_compared_and_then_pushed(school: School, amir: Browser) -> None:
    assert "absences = 2" in await amir.get("/settings/edit")
    said = {"state": "default", "after": "1"}
    wrong = unescape((await amir.post("/settings/edit", 422, **said, toml=BROKEN, do="push")).text)
    assert "absences: 0 is too small; 1 is the least" in wrong
    assert "absence: there is no such setting; did you mean absences?" in wrong
    assert "absences = 0\nabsence = 3" in wrong, "the text is kept"
    shown = (await amir.post("/settings/edit", 200, **said, toml=METHOD.replace("\n", "\r\n"), do="push")).text
    assert "entity.Student.method" in shown, "nothing is pushed that was not looked at"
    (mark,) = re.findall(r'name="mark" value="([^"]+)"', shown)
    await amir.post("/settings/edit", 200, **said, toml=METHOD + "# more", mark=mark, do="push")
    assert await newest(school) == (1, SETTINGS)
    sent = await amir.post("/settings/edit", **said, toml=METHOD, mark=mark, do="push", comment="the hub is right")
    assert "It is the newest version now" in await amir.get(sent.headers["Location"])
    assert await newest(school) == (2, METHOD)
    assert await events(school) == [("amir", "pushed version 2 of default of raven: the hub is right")]


async def test_a_push_over_somebody_else_s_is_refused_and_the_text_is_kept(school: School, olga: Browser) -> None:
    await pushed(olga, METHOD, after=1)
    refused = unescape(await pushed(olga, SETTINGS + "# mine", after=1, status=409))
    assert "default of raven is at version 2, not 1" in refused
    assert "# mine" in refused
    assert await newest(school) == (2, METHOD)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('name = "raven"', 'name = "heron"', "these are the settings of raven"),
        ('schools = ["S.91"]', 'schools = ["S.91", "S.0990"]', "you may not speak for S.0990"),
        ('authority = "A.9"', 'authority = "A.3030"', "you may not speak for A.3030"),
        ("# organizations = []", 'organizations = ["S.0990"]', "you may not speak for S.0990"),
        ("https://core.example.org", "https://evil.example", "hub.url: an operator changes this"),
        ("/srv/sis-exports", "/etc", "connector.options.folder: an operator changes this"),
        ('"HOMEROOM_KEY"', '"OTHERS_KEY"', "secrets.hub_key: an operator changes this"),
        ('formatter = "oneroster"', 'formatter = "evil"', "feed.formatter: an operator changes this"),
        ('# place = ""', 'place = "file:///srv/else"', "backup.place: an operator changes this"),
        (
            "# [[hooks]]",
            '[[hooks]]\nkind = "command"\ncommand = ["/bin/sh"]\n#',
            "hooks.0.command: an operator changes this",
        ),
    ],
)
async def test_an_administrator_pushes_nothing_beyond_their_schools(
    school: School, amir: Browser, old: str, new: str, why: str
) -> None:
    assert old in SETTINGS
    toml = SETTINGS.replace(old, new, 1)
    assert why in unescape(await pushed(amir, toml, after=1, status=422))
    assert await newest(school) == (1, SETTINGS)
    await store.push(school.own, "raven", "default", toml, "by an operator", "olga")
    await store.push(school.own, "raven", "default", SETTINGS, "and back", "olga")
    again = await amir.post("/settings/again", 409, state="default", version="2", after="3")
    assert why in unescape(again.text)


async def test_operators_may_change_all_but_whose_feed_it_is(school: School, olga: Browser) -> None:
    other = SETTINGS.replace("/srv/sis-exports", "/srv/else").replace('["S.91"]', '["S.91", "S.92"]')
    await pushed(olga, other, after=1)
    assert await newest(school) == (2, other)
    await pushed(olga, other.replace('"raven"', '"heron"'), after=2, status=422)


async def test_an_old_version_is_used_again_unless_somebody_pushed(school: School, amir: Browser) -> None:
    await pushed(amir, METHOD, after=1)
    page = await amir.get("/settings/version?state=default&version=1")
    assert "Use this version again, as version 3" in page
    assert "entity.Student.method" in await amir.get("/settings/difference?a=default:1&b=default:2")
    said = {"state": "default", "version": "1", "after": "2"}
    await amir.post("/settings/again", **said)
    assert await newest(school) == (3, SETTINGS)
    assert "is at version 3, not 2" in (await amir.post("/settings/again", 409, **said)).text
    assert "They say the same" in await amir.get("/settings/difference?a=default:1&b=default:3")
    file = await amir.web.get(f"{FEED}/settings/version?state=default&version=2&as=toml")
    assert (file.text, file.headers["Content-Disposition"]) == (METHOD, 'attachment; filename="settings.toml"')
    rows = (await amir.web.get(f"{FEED}/settings/difference?a=default:1&b=default:2&as=json")).json()
    assert rows == [{"path": "entity.Student.method", "old": '"manual"', "new": '"resolveAsHub"'}]


async def test_a_feed_is_paused_with_a_reason_and_goes_on(school: School, amir: Browser) -> None:
    assert "say why" in (await amir.post("/settings/pause", 409, because="  ")).text
    await amir.post("/settings/pause", because="report cards")
    page = await amir.get("/settings")
    assert "runs by itself since just now: report cards" in page
    assert (await store.find_pause(school.own, "raven")) is not None
    await amir.post("/settings/resume")
    assert await store.find_pause(school.own, "raven") is None
    assert [what for _, what in await events(school)] == ["paused raven: report cards", "resumed raven"]


async def test_two_feeds_are_compared_by_those_who_see_both(school: School, amir: Browser) -> None:
    heron = METHOD.replace('"raven"', '"heron"').replace("S.91", "S.92")
    await store.push(school.own, "heron", "default", heron, "", "ada")
    others = SETTINGS.replace('"raven"', '"plain"').replace("S.91", "S.0990")
    await store.push(school.own, "plain", "default", others, "", "ada")
    page = await amir.get("/console/merges/compare?a=raven&b=heron")
    assert "entity.Student.method" in page
    assert "entity.Student.absences" not in page
    assert "plain" not in page
    page = await amir.get("/console/merges/compare?a=raven&b=heron&all=1")
    assert page.index("entity.Student.method") < page.index("entity.Student.absences")
    hidden = await amir.get("/console/merges/compare?a=raven&b=plain", 404)
    assert hidden.replace("plain", "none") == await amir.get("/console/merges/compare?a=raven&b=none", 404)
    rows = (await amir.web.get("/console/merges/compare?a=raven&b=heron&as=json")).json()
    assert {row["path"] for row in rows} == {"feed.name", "feed.schools", "entity.Student.method"}
    assert "Compare" in await amir.get("/console/merges/compare")


SHOWN = (
    "/settings",
    "/settings/version?state=default&version=1",
    "/settings/difference?a=default:1&b=default:1",
)
ACTS = ("/settings/edit", "/settings/again", "/settings/pause", "/settings/resume")
SAID = {"state": "default", "version": "1", "after": "1", "toml": METHOD, "because": "x", "do": "check"}


async def test_others_reach_nothing_and_viewers_only_look(school: School) -> None:
    async with browsing(school.core, "petra") as petra, browsing(school.core, "vera") as vera:
        for place in (*SHOWN, "/settings/edit"):
            assert "There is no feed raven that you may see" in await petra.get(place, 404)
        for place in ACTS:
            assert "There is no feed raven that you may see" in (await petra.post(place, 404, **SAID)).text
            await vera.post(place, 403, **SAID)
        for place in SHOWN:
            assert (await vera.get(place)).count('method="post"') == 1, "to sign out"
        await vera.get("/settings/edit", 403)
        await petra.get("/console/merges/compare?a=raven", 404)
        assert "raven" not in await petra.get("/console/merges/compare")
    assert await newest(school) == (1, SETTINGS)
    assert await store.find_pause(school.own, "raven") is None


async def test_a_form_of_another_site_changes_nothing(school: School, olga: Browser) -> None:
    for place in ACTS:
        for token, headers in (("guessed", {}), (olga.form_token, ELSEWHERE)):
            answer = await olga.web.post(FEED + place, data={**SAID, "form_token": token}, headers=headers)
            assert (answer.status_code, "Nothing was done" in answer.text) == (403, True)
    assert await newest(school) == (1, SETTINGS)


EVIL = (
    "",
    "\0",
    "x" * 5_000,
    "a = " + "[" * 20_000,
    "a = " + "9" * 20_000,
    "a = 0x" + "f" * 20_000,
    "[entity.Student.delete_policy]\nvalue = 0x" + "f" * 20_000,
    "[a" + ".a" * 15_000 + "]",
    "a" + ".a" * 15_000 + " = 1",
    'a = "\\ud800"',
    "<script>alert(1)</script>",
    "x" * 40_001,
)


@pytest.mark.parametrize("number", range(len(EVIL)))
async def test_any_text_of_settings_is_answered(olga: Browser, number: int) -> None:
    answer = await olga.web.post(
        f"{FEED}/settings/edit", data={**SAID, "toml": EVIL[number], "form_token": olga.form_token}
    )
    assert answer.status_code in (409, 422)
    assert "<script" not in answer.text


async def test_any_input_is_answered_and_stays_text(school: School, olga: Browser) -> None:
    evil = "</textarea><script>alert(1)</script>"
    await store.push(school.own, "raven", evil, f"# {evil}\n" + SETTINGS, evil, evil)
    for place in ("/settings", f"/settings/version?state={evil}&version=1", f"/settings/edit?state={evil}"):
        page = await olga.get(place)
        assert "<script" not in page
        assert "&lt;script&gt;" in page
    for hostile in ("%00", "x" * 5_000, "9" * 30, "-1", "%ff", "default:0", ":", "default:" + "9" * 12):
        for place in ("/settings?page=", "/settings?done=", "/settings?as="):
            await olga.get(place + hostile)
        for place in (
            "/settings/version?version=1&state=",
            "/settings/version?state=default&version=",
            "/settings/difference?a=default:1&b=",
            "/settings/edit?state=none",
            "/console/merges/compare?a=none",
        ):
            await olga.get(place + hostile, 404)
    for hostile in ("\0", "x" * 5_000, "9" * 30, "-1", ""):
        for place in ACTS:
            for name in ("state", "version", "after", "mark", "comment", "because", "do"):
                said = {**SAID, name: hostile, "form_token": olga.form_token}
                answer = await olga.web.post(FEED + place, data=said)
                assert answer.status_code in (200, 303, 404, 409, 422), (place, name, hostile)
