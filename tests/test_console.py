"""The console as people's browsers see it: signing in, what they may see, and forms of other sites."""

import csv
import io
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from homeroom_merge.console.frame.files import PER_PAGE
from homeroom_server import people
from homeroom_server.app import create_app
from homeroom_server.operations import OperationError
from homeroom_server.peers import Peers, networks
from homeroom_server.people import FAILURES_OF_NAME_MAX, PersonRole
from tests.conftest import Core
from tests.records import accepted, available, note

PASSWORD = "otters swim at night"
ELSEWHERE = {"Origin": "https://evil.example"}


async def browser(core: Core) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(core.app)
    return httpx.AsyncClient(base_url="http://core", transport=transport, follow_redirects=False)


async def sign_in(web: httpx.AsyncClient, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return await web.post("/console/sign-in", data={"name": name, "password": password, **more})


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.fixture
async def core_with_people(plain_core: Core) -> Core:
    connection = await plain_core.connect()
    for name, role, codes in (
        ("olga", PersonRole.OPERATOR, []),
        ("amir", PersonRole.ADMINISTRATOR, ["A.3020"]),
        ("vera", PersonRole.VIEWER, ["S.0982"]),
        ("mina", PersonRole.VIEWER, ["O.1"]),
    ):
        await people.create(connection, name, role, codes, PASSWORD)
    return plain_core


@pytest.fixture
async def web(core_with_people: Core) -> AsyncIterator[httpx.AsyncClient]:
    async with await browser(core_with_people) as web:
        yield web


async def test_who_is_not_signed_in_is_shown_where_to_and_comes_back(web: httpx.AsyncClient) -> None:
    sent = await web.get("/console/clients")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/console/sign-in?next=/console/clients")
    asked = await web.get(sent.headers["Location"])
    assert 'value="/console/clients"' in asked.text
    done = await sign_in(web, "olga", next="/console/clients?client=a")
    assert (done.status_code, done.headers["Location"]) == (303, "/console/clients?client=a")
    cookie = done.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/console" in cookie
    page = await web.get("/console/clients")
    assert page.status_code == 200
    assert "No client has asked yet" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("place", ["https://evil.example", "//evil.example", "/v1/hello", ""])
async def test_signing_in_leads_to_no_other_site(web: httpx.AsyncClient, place: str) -> None:
    assert (await sign_in(web, "olga", next=place)).headers["Location"] == "/console"


@pytest.mark.parametrize(
    ("name", "home"), [("olga", "/console/now"), ("mina", "/console/now"), ("vera", "/console/clients")]
)
async def test_the_console_leads_everybody_home(web: httpx.AsyncClient, name: str, home: str) -> None:
    assert (await web.get("/console")).headers["Location"] == "/console/sign-in?next=/console"
    await sign_in(web, name)
    assert (await web.get("/console")).headers["Location"] == home
    page = await web.get(home)
    assert page.status_code == 200
    assert ('href="/console/now"' in page.text) == (home == "/console/now")


async def test_a_wrong_password_is_refused_like_a_wrong_name(web: httpx.AsyncClient) -> None:
    wrong, unknown = await sign_in(web, "olga", "wrong"), await sign_in(web, "nobody", "wrong")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text.replace("olga", "") == unknown.text.replace("nobody", "")
    assert "Set-Cookie" not in wrong.headers


@pytest.mark.parametrize("name", ["\0", "\udc80".encode("utf-8", "surrogatepass").decode("latin-1"), "x" * 60_000])
async def test_any_name_is_a_wrong_name(web: httpx.AsyncClient, name: str) -> None:
    assert (await sign_in(web, name)).status_code == 401
    assert (await sign_in(web, "x" * 70_000)).status_code == 403, "more than a form may be"


async def test_who_guesses_has_to_wait_and_nobody_else(web: httpx.AsyncClient, core_with_people: Core) -> None:
    for _ in range(FAILURES_OF_NAME_MAX):
        assert (await sign_in(web, "olga", "wrong")).status_code == 401
    locked = await sign_in(web, "olga")
    assert locked.status_code == 429
    assert "try again in 15 minutes" in locked.text
    assert locked.headers["Retry-After"] == "900"
    assert (await sign_in(web, "amir")).status_code == 303
    connection = await core_with_people.connect()
    await connection.execute("update sign_in_failure set failed_at = failed_at - interval '16 minutes'")
    assert (await sign_in(web, "olga")).status_code == 303
    told = await connection.fetch("select actor, detail from audit_event order by happened_at")
    assert [tuple(row) for row in told[-2:]] == [("amir", "signed in"), ("olga", "signed in")]
    assert sum(row["detail"] == "a sign-in failed" for row in told) == FAILURES_OF_NAME_MAX


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("203.0.113.9, nonsense", "10.9.9.9"),
        ("", "10.9.9.9"),
    ],
)
async def test_a_proxy_of_ours_says_who_calls_and_whether_by_tls(
    core_with_people: Core, said: str, counted: str
) -> None:
    services = replace(core_with_people.services, peers=Peers(networks("10.0.0.0/8 127.0.0.1")))
    app = create_app(services)
    headers = {"X-Forwarded-For": said, "X-Forwarded-Proto": "https"}
    transport = httpx.ASGITransport(app, client=("10.9.9.9", 4711))
    async with httpx.AsyncClient(base_url="http://core", transport=transport, headers=headers) as behind:
        assert (await sign_in(behind, "olga", "wrong")).status_code == 401
        assert "Secure" in (await sign_in(behind, "vera")).headers["Set-Cookie"]
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(base_url="http://core", transport=transport, headers=headers) as stranger:
        assert (await sign_in(stranger, "olga", "wrong")).status_code == 401
        assert "Secure" not in (await sign_in(stranger, "vera")).headers["Set-Cookie"]
    connection = await core_with_people.connect()
    assert [
        row["address"] for row in await connection.fetch("select address from sign_in_failure order by 1")
    ] == sorted([counted, "192.0.2.7"])


async def test_a_node_tells_where_a_connection_comes_from(core_with_people: Core) -> None:
    async with core_with_people.served(), httpx.AsyncClient(base_url=core_with_people.base_url) as web:
        assert (await sign_in(web, "olga", "wrong")).status_code == 401
        connection = await core_with_people.connect()
        assert await connection.fetchval("select address from sign_in_failure") == "127.0.0.1"


async def test_a_form_of_another_site_does_nothing(web: httpx.AsyncClient) -> None:
    said = {"name": "olga", "password": PASSWORD}
    assert (await web.post("/console/sign-in", data=said, headers=ELSEWHERE)).status_code == 403
    await sign_in(web, "olga")
    page = await web.get("/console/clients")
    for data, headers in (({}, {}), ({"form_token": "guessed"}, {}), ({"form_token": form_token(page)}, ELSEWHERE)):
        refused = await web.post("/console/sign-out", data=data, headers=headers)
        assert refused.status_code == 403
        assert "Nothing was done" in refused.text
    assert (await web.get("/console/clients")).status_code == 200
    assert (await web.post("/console/sign-out", data={"form_token": form_token(page)})).status_code == 303
    assert (await web.get("/console/clients")).status_code == 303


@pytest.mark.parametrize("change", ["disabled", "password", "idle", "old"])
async def test_a_session_ends_with_what_it_rests_on(
    web: httpx.AsyncClient, core_with_people: Core, change: str
) -> None:
    await sign_in(web, "olga")
    connection = await core_with_people.connect()
    match change:
        case "disabled":
            await people.set_disabled(connection, "olga", disabled=True)
        case "password":
            await people.set_password(connection, "olga", "another otter swims")
        case "idle":
            await connection.execute("update person_session set seen_at = now() - interval '13 hours'")
        case "old":
            await connection.execute("update person_session set begun_at = now() - interval '8 days'")
    assert (await web.get("/console/clients")).status_code == 303
    assert (await sign_in(web, "olga")).status_code == (401 if change in ("disabled", "password") else 303)


@pytest.mark.parametrize(
    ("name", "role", "codes", "password", "said"),
    [
        ("", PersonRole.OPERATOR, ["S.0982"], "short", "a name has 1 to 100"),
        ("x", PersonRole.OPERATOR, ["S.0982"], PASSWORD, "an operator sees everything"),
        ("x", PersonRole.VIEWER, [], PASSWORD, "name the organisations"),
        ("x", PersonRole.VIEWER, ["S.1"], PASSWORD, "no such organisation: S.1"),
        ("x", PersonRole.OPERATOR, [], "aaaaaaaaaaaaaaa", "six different"),
        ("olga", PersonRole.OPERATOR, [], PASSWORD, "somebody named 'olga' already"),
    ],
)
async def test_an_account_that_cannot_be_is_refused_with_every_reason(
    core_with_people: Core, name: str, role: PersonRole, codes: list[str], password: str, said: str
) -> None:
    with pytest.raises(OperationError, match=said) as refused:
        await people.create(await core_with_people.connect(), name, role, codes, password)
    if password == "short":
        assert "an operator sees everything" in str(refused.value)
        assert "12 to 256" in str(refused.value)


async def followed(core: Core) -> None:
    """Three clients: one in step, one that has not taken three changes, one that was not heard of for an hour."""
    maple, spruce = await core.client("S.0982"), await core.client("A.3030")
    foothills = await core.client("A.3020")
    await available(foothills, "Note", 0)
    versions = await accepted(maple, "Note", note("a"), note("b"), note("c"))
    await available(maple, "Note", versions[-1])
    await available(spruce, "Note", 0)
    await core.services.client_streams.write()
    connection = await core.connect()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    await connection.execute(
        """
        update client_stream s set asked_at = $1 from organization o where o.number = s.organization and o.code = $2
        """,
        long_ago,
        "A.3030",
    )


async def test_who_needs_help_comes_first_and_says_why(web: httpx.AsyncClient, core_with_people: Core) -> None:
    await followed(core_with_people)
    await sign_in(web, "olga")
    rows = (await web.get("/console/clients?as=json")).json()
    assert [(row["organization"], row["state"], row["behind"]) for row in rows] == [
        ("A.3030", "silent", 0),
        ("A.3020", "behind", 3),
        ("S.0982", "inStep", 0),
    ]
    page = (await web.get("/console/clients")).text
    assert "It last asked 1 hour ago" in page
    assert "It has not taken 3 changes, the oldest from just now" in page
    assert page.index("A.3030") < page.index("A.3020") < page.index("S.0982")


@pytest.mark.parametrize(
    ("name", "seen"), [("amir", {"A.3020", "S.0982"}), ("vera", {"S.0982"}), ("mina", {"A.3020", "A.3030", "S.0982"})]
)
async def test_people_of_organisations_see_theirs_alone(
    web: httpx.AsyncClient, core_with_people: Core, name: str, seen: set[str]
) -> None:
    await followed(core_with_people)
    await sign_in(web, name)
    rows = (await web.get("/console/clients?as=json")).json()
    assert {row["organization"] for row in rows} == seen
    others = (await web.get("/console/clients?as=json&client=A.3030+1")).json()
    assert others == []
    assert ("A.3030" in (await web.get("/console/clients")).text) == ("A.3030" in seen)


async def test_what_is_downloaded_is_no_formula(web: httpx.AsyncClient, core_with_people: Core) -> None:
    await followed(core_with_people)
    connection = await core_with_people.connect()
    await connection.execute("update client set name = '=cmd|calc!A0' where name like 'S.0982%'")
    await sign_in(web, "olga")
    answer = await web.get("/console/clients?as=csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="clients.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert "'=cmd|calc!A0" in [row["client"] for row in rows]
    page = await web.get("/console/clients")
    assert "=cmd|calc!A0" in page.text


async def test_hostile_names_stay_text(web: httpx.AsyncClient, core_with_people: Core) -> None:
    await followed(core_with_people)
    connection = await core_with_people.connect()
    await connection.execute("update client set name = $1 where name like 'S.0982%'", "<script>\"&'</script>")
    await sign_in(web, "olga")
    page = (await web.get("/console/clients")).text
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for query in ("client=%00", "page=99999999999", "page=-1", "page=%ff", "client=" + "x" * 5_000):
        assert (await web.get(f"/console/clients?{query}")).status_code == 200


async def test_many_are_shown_page_by_page(web: httpx.AsyncClient, core_with_people: Core) -> None:
    await followed(core_with_people)
    connection = await core_with_people.connect()
    await connection.execute(
        """
        insert into client_stream (client, organization, notification_type, asked_at, cursor, told_reason, told_records)
        select client, organization, 'Plan.' || n, now(), 0, 'none', 0
        from client_stream, generate_series(2000, 1999 + $1) as n
        """,
        PER_PAGE,
    )
    await sign_in(web, "olga")
    first, last = await web.get("/console/clients"), await web.get("/console/clients?page=4")
    assert (first.text.count("<tr>"), last.text.count("<tr>")) == (1 + PER_PAGE, 1 + 3)
    assert 'rel="next"' in first.text
    assert 'rel="next"' not in last.text
