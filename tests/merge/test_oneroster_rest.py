"""A OneRoster 1.2 REST service over a real socket: what it gives, and what comes of one that is slow, wrong or bad."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from homeroom_merge.connectors.connector import Fetch
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.formatters import kit
from homeroom_merge.plan import Kind
from homeroom_merge.testing import Mishap, RestSis
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import open_core
from tests.merge.rosters import (
    CODES,
    FORMATTERS,
    TIGHT,
    Clock,
    connector,
    pupil,
    read,
    read_by_id,
    role,
    roster,
    service,
)
from tests.merge.tables import put
from tests.merge.test_merge_command import HELD, ORGANIZATIONS_OF_THE_CORE, Prompt, reports
from tests.merge.test_oneroster import FILES, manifest

LATER = "2026-11-21T08:00:00.000Z"
ROLE_IDS = {
    "r1": "u1.o91.student",
    "r2": "u2.o91.teacher",
    "r3": "u2.o9.administrator",
    "r4": "u3.o91.guardian",
}


@pytest.fixture
def sis() -> Iterator[RestSis]:
    with RestSis(roster(), page_max=2) as sis:
        yield sis


@pytest.fixture
def many(sis: RestSis) -> RestSis:
    """With seven pupils more."""
    sis.rows["users"] += [pupil(f"p{number}") for number in range(7)]
    return sis


def keys(readings: list[Any]) -> list[str]:
    return sorted(reading.key for reading in readings)


@pytest.mark.parametrize("entity", sorted(FORMATTERS))
async def test_the_service_says_what_the_files_say(sis: RestSis, tmp_path: Path, entity: str) -> None:
    files = dict(FILES)
    for old, new in ROLE_IDS.items():
        files["roles"] = files["roles"].replace(f"{old},", f"{new},")
    put(tmp_path, {**files, "manifest": manifest()})
    by_files, of_files = await read(CsvFolder(tmp_path, oneroster(CODES.lists)), entity)
    by_service, of_service = await read(connector(sis), entity)
    assert of_files
    assert not [reading.faults for reading in of_files if reading.faults]
    assert of_service == of_files
    assert (by_service.failure, by_service.complete) == (by_files.failure, by_files.complete) == ("", True)
    assert by_service.coverage.pairs == by_files.coverage.pairs
    assert by_service.coverage.columns is not None
    assert f"{'users' if entity == 'Student' else 'orgs'}/sourcedId" in by_service.coverage.columns


async def test_secrets_stay_outside(sis: RestSis, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fetch = await connector(sis).fetch("Student")
    (row,) = [row async for row in fetch.rows]
    assert row.place == "users u1"
    kit.check_no_secrets(FORMATTERS["Student"], row.row, ["hunter2"])
    assert "hunter2" not in str(row.row)
    assert "users: the member password was dropped: it holds secrets" in fetch.notes
    assert sis.client_secret not in caplog.text + repr(service(sis).__dict__)


async def test_the_service_is_only_read(sis: RestSis) -> None:
    feed = connector(sis)
    assert (feed.abilities.write, feed.abilities.delta, feed.abilities.by_id) == (False, True, True)
    assert (await feed.write("Student", Kind.DELETE, "u1", None, None)).result == "refused"
    assert (await feed.fetch("EvaluatedMark")).failure == "a OneRoster service carries no EvaluatedMark"


async def test_who_comes_back_to_a_school_has_two_enrolments(sis: RestSis) -> None:
    again = [role("student", "o91", beginDate=day) for day in ("2027-02-01", "2026-09-01")]
    sis.rows["users"] = [pupil("u1", roles=again)]
    _, readings = await read(connector(sis), "StudentSchoolEnrolment")
    assert keys(readings) == ["u1.o91.student", "u1.o91.student.2027-02-01"]


class TestPaging:
    @pytest.mark.parametrize(("total", "links"), [(True, True), (True, False), (False, True), (False, False)])
    async def test_every_page_is_read_however_the_service_tells_them(
        self, many: RestSis, total: bool, links: bool
    ) -> None:
        many.says_total, many.says_next = total, links
        fetch, readings = await read(connector(many), "Student")
        assert (fetch.failure, fetch.complete) == ("", True)
        assert keys(readings) == ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "u1"]
        assert many.counts()["users"] in (5, 6)

    async def test_a_feed_that_is_shorter_than_its_total_was_cut(self, sis: RestSis) -> None:
        sis.fail("users", Mishap(200, json.dumps({"users": [pupil("u1")]}).encode(), {"X-Total-Count": "2"}))
        sis.fail("users", Mishap(200, b'{"users": []}', {"X-Total-Count": "2"}))
        fetch, _ = await read(connector(sis), "Student")
        assert not fetch.complete
        assert fetch.failure == "users: 1 of 2 records came: the feed was cut; run it again"

    async def test_a_page_that_fails_fails_the_fetch(self, many: RestSis) -> None:
        def third(collection: str) -> None:
            if many.counts()["users"] == 2:
                many.fail("users", Mishap(404))

        many.meanwhile = third
        fetch, readings = await read(connector(many), "Student")
        assert readings
        assert not fetch.complete
        assert fetch.failure.startswith("users: the service answers 404")

    async def test_what_comes_twice_is_read_once_and_absence_is_not_counted(self, many: RestSis) -> None:
        def early(collection: str) -> None:
            if many.counts()["users"] == 1:
                many.rows["users"].append(pupil("a0"))

        many.says_total = False
        many.meanwhile = early
        fetch, readings = await read(connector(many), "Student")
        assert (fetch.failure, fetch.complete) == ("", False)
        assert "users: it moved while it was read, absence not counted" in fetch.notes
        assert keys(readings) == ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "u1"]

    async def test_a_record_that_slips_between_two_pages_is_not_counted_as_absent(self, many: RestSis) -> None:
        def delete(collection: str) -> None:
            if many.counts()["users"] == 1:
                many.rows["users"] = [user for user in many.rows["users"] if user["sourcedId"] != "p0"]

        many.meanwhile = delete
        fetch, readings = await read(connector(many), "Student")
        assert "p2" not in keys(readings), "it slipped to the page that had been read"
        assert (fetch.failure, fetch.complete) == ("", False)


class TestTrouble:
    async def test_a_token_is_kept_and_renewed_when_it_is_refused(self, many: RestSis) -> None:
        feed = connector(many)
        await read(feed, "Student")
        await read(feed, "Student")
        assert many.counts()["token"] == 1

        def refuse(collection: str) -> None:
            if collection == "users":
                many.expire()

        many.meanwhile = refuse
        fetch, _ = await read(feed, "Student")
        assert fetch.complete
        assert many.counts()["token"] == 1 + 4, "after each page but the last"

    async def test_a_token_is_renewed_before_it_expires(self, sis: RestSis) -> None:
        sis.token_seconds = 0.0
        sis.fail("users", *[Mishap(200, json.dumps({"users": [pupil("u1")]}).encode(), {"X-Total-Count": "1"})])
        feed = connector(sis)
        fetch, _ = await read(feed, "Student")
        assert fetch.failure.startswith("orgs: the service answers 401: it refuses the token")
        assert sis.counts() == {"token": 2, "orgs": 2}, "renewed once, then given up"

    async def test_the_scopes_are_those_of_the_standard(self, sis: RestSis) -> None:
        invalid = Mishap(400, b'{"error": "invalid_scope"}')
        sis.fail("token", invalid)
        sis.fail("demographics", Mishap(403))
        fetch, (reading,) = await read(connector(sis), "Student")
        forms = [form for _, place, form in sis.asked if place == "token"]
        scope = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
        assert [form["scope"] for form in forms] == [
            f"{scope}roster-core.readonly {scope}roster-demographics.readonly",
            f"{scope}roster-core.readonly",
        ]
        assert {form["grant_type"] for form in forms} == {"client_credentials"}
        assert "birthDate" not in reading.covered
        assert any(note.startswith("not covered: demographics") for note in fetch.notes)

    async def test_a_client_that_is_refused_hears_what_to_look_at(self, sis: RestSis) -> None:
        feed = connector(sis)
        sis.client_secret = "another"
        fetch, _ = await read(feed, "Student")
        assert "sis_client_secret" in fetch.failure
        assert not fetch.complete

    async def test_a_busy_service_is_waited_for_as_long_as_it_asks(self, sis: RestSis) -> None:
        sis.fail("users", Mishap(429, headers={"Retry-After": "1"}))
        sis.fail("orgs", Mishap(503, headers={"Retry-After": "Sun, 22 Nov 2026 08:00:00 GMT"}))
        fetch, _ = await read(connector(sis), "Student")
        assert fetch.complete
        times = [at for at, place, _ in sis.asked if place == "users"]
        assert times[1] - times[0] >= 1

    async def test_a_wait_beyond_bounds_is_said_and_not_kept(self, sis: RestSis) -> None:
        sis.fail("users", Mishap(429, headers={"Retry-After": "100000"}))
        with pytest.raises(ConnectionError, match="answers 429, and asks to be left alone for 100000 seconds"):
            await read(connector(sis), "Student")

    @pytest.mark.parametrize("mishap", [Mishap(500), Mishap(502), Mishap(200, b'{"users"', cut=True)])
    async def test_a_service_that_fails_is_asked_again(self, sis: RestSis, mishap: Mishap) -> None:
        sis.fail("users", mishap, mishap)
        fetch, _ = await read(connector(sis), "Student")
        assert fetch.complete
        sis.fail("users", mishap, mishap, mishap)
        with pytest.raises(ConnectionError, match="tried 3 times"):
            await read(connector(sis), "Student")

    async def test_a_service_that_is_away_is_a_connection_error(self) -> None:
        with RestSis(roster()) as sis:
            feed = connector(sis)
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await read(feed, "Student")


class TestHostility:
    @pytest.mark.parametrize(
        ("mishap", "said"),
        [
            (Mishap(200, b'{"users": [{"sourcedId"'), "is no JSON"),
            (Mishap(200, b'{"users": [' + b"[" * 5_000), "is no JSON"),
            (Mishap(200, b'{"people": []}'), "no list of that name"),
            (Mishap(200, b'{"users": [1]}'), "no list of that name"),
            (Mishap(200, b"x" * (TIGHT.body_bytes_max + 1)), "more than 100,000 bytes"),
            (Mishap(302, headers={"Location": "http://169.254.169.254/"}), "answers 302"),
            (Mishap(403), "roster-core.readonly"),
        ],
    )
    async def test_what_cannot_be_read_fails_with_its_cure(self, sis: RestSis, mishap: Mishap, said: str) -> None:
        sis.fail("users", mishap)
        fetch, readings = await read(connector(sis), "Student")
        assert said in fetch.failure
        assert (readings, fetch.complete) == ([], False)

    async def test_paging_ends_though_the_links_never_do(self, sis: RestSis) -> None:
        def page(number: int) -> Mishap:
            link = {"Link": f'<http://elsewhere.example/users?offset={number + 1}>; rel="next"'}
            return Mishap(200, json.dumps({"users": [pupil(f"x{number}")]}).encode(), link)

        sis.fail("users", *(page(number) for number in range(TIGHT.pages_max + 1)))
        fetch, _ = await read(connector(sis), "Student")
        assert fetch.failure == "users: more than 20 pages: its paging never ends"
        sis.fail("users", *(page(0) for _ in range(TIGHT.pages_max)))
        fetch, _ = await read(connector(sis), "Staff")
        assert "nothing new" in fetch.failure or "more than 20 pages" in fetch.failure

    async def test_odd_objects_are_faults_of_their_own(self, sis: RestSis) -> None:
        deep: Any = []
        for _ in range(500):
            deep = [deep]
        sis.rows["users"] += [pupil("x1", grades=deep), pupil("x2", roles="none"), pupil("x3", birthDate={"a": 1})]
        sis.rows["users"] += [pupil("x4", **{"@owner": "S.666"}), {**pupil(""), "sourcedId": None}]
        fetch, readings = await read(connector(sis), "Student")
        assert fetch.failure == ""
        by_key = {reading.key: reading for reading in readings}
        assert by_key["u1"].faults == ()
        assert by_key["x4"].school == "S.91"
        assert by_key[""].faults


class TestDelta:
    @pytest.fixture
    async def begun(self, many: RestSis) -> tuple[RestSis, dict[str, str]]:
        """A service of which everything has been read."""
        cursors = {}
        for entity in FORMATTERS:
            fetch, _ = await read(connector(many), entity)
            assert fetch.cursor is not None
            cursors[entity] = fetch.cursor
        for items in many.rows.values():
            for item in items:
                item["dateLastModified"] = "2026-11-01T00:00:00Z"
        many.asked.clear()
        return many, cursors

    async def test_a_delta_is_what_has_changed_with_what_is_joined(self, begun: tuple[RestSis, dict[str, str]]) -> None:
        sis, cursors = begun
        sis.rows["users"][3].update(givenName="Zoe", dateLastModified=LATER)
        fetch, (reading,) = await read(connector(sis), "Student", cursors["Student"])
        assert (reading.key, reading.body["firstName"], reading.school) == ("p0", "Zoe", "S.91")
        assert (fetch.complete, fetch.failure, fetch.coverage.columns) == (False, "", None)
        filters = {query["filter"] for _, place, query in sis.asked if place == "users"}
        assert filters == {"dateLastModified>'2026-11-20T07:55:00.000Z'"}, "a little before the last change"
        again, readings = await read(connector(sis), "Student", fetch.cursor)
        assert keys(readings) == ["p0"], "the overlap: seen twice, never missed"
        assert again.cursor == fetch.cursor

    async def test_changed_demographics_bring_their_user(self, begun: tuple[RestSis, dict[str, str]]) -> None:
        sis, cursors = begun
        sis.rows["demographics"][0].update(sex="other", dateLastModified=LATER)
        _, (reading,) = await read(connector(sis), "Student", cursors["Student"])
        assert (reading.key, reading.body["sex"], reading.body["firstName"]) == ("u1", "other", "Ada")
        sis.rows["demographics"][0]["dateLastModified"] = "2026-11-01T00:00:00Z"
        sis.rows["users"][0].update(givenName="Zoe", dateLastModified=LATER)
        _, (reading,) = await read(connector(sis), "Student", cursors["Student"])
        assert (reading.body["firstName"], reading.body["birthDate"]) == ("Zoe", "2014-03-02")

    @pytest.mark.parametrize(
        ("entity", "collection", "key"),
        [
            ("Student", "users", "u1"),
            ("Staff", "users", "u2"),
            ("Section", "classes", "k1"),
            ("StudentSchoolEnrolment", "users", "u1.o91.student"),
            ("CourseEnrolment", "enrollments", "e1"),
            ("StaffSection", "enrollments", "e2"),
        ],
    )
    async def test_what_is_to_be_deleted_is_a_delete(
        self, begun: tuple[RestSis, dict[str, str]], entity: str, collection: str, key: str
    ) -> None:
        sis, cursors = begun
        gone = next(item for item in sis.rows[collection] if item["sourcedId"] == key.partition(".")[0])
        gone.update(status="tobedeleted", dateLastModified=LATER)
        fetch, (reading,) = await read(connector(sis), entity, cursors[entity])
        assert (reading.key, reading.deleted, reading.faults, fetch.complete) == (key, True, (), False)

    async def test_a_delete_that_says_no_more_than_its_id_counts(self, begun: tuple[RestSis, dict[str, str]]) -> None:
        sis, cursors = begun
        bare = {"sourcedId": "e1", "status": "tobedeleted", "dateLastModified": LATER}
        sis.rows["enrollments"][0] = bare
        _, (reading,) = await read(connector(sis), "CourseEnrolment", cursors["CourseEnrolment"])
        assert (reading.key, reading.deleted) == ("e1", True)
        sis.rows["users"][0] = {**bare, "sourcedId": "u1"}
        _, (reading,) = await read(connector(sis), "Student", cursors["Student"])
        assert (reading.key, reading.deleted) == ("u1", True)

    @pytest.mark.parametrize("cause", ["age", "session", "filter", "nonsense", "itself"])
    async def test_where_a_delta_would_not_tell_all_everything_comes(
        self, begun: tuple[RestSis, dict[str, str]], cause: str
    ) -> None:
        sis, cursors = begun
        clock, entity = Clock(), "Contact" if cause == "itself" else "Section"
        cursor: str = cursors[entity]
        if cause == "age":
            clock.now += timedelta(hours=21)
        if cause == "session":
            sis.rows["academicSessions"][1]["title"] = "Autumn"
        if cause == "filter":
            sis.filters = False
        if cause == "nonsense":
            cursor = "{}"
        fetch, readings = await read(connector(sis, clock), entity, cursor)
        assert (len(readings), fetch.complete, fetch.failure) == (1, True, "")
        assert fetch.coverage.columns

    async def test_the_cursor_stays_before_what_changed_while_it_was_read(self, many: RestSis) -> None:
        def change(collection: str) -> None:
            if collection == "users" and many.counts()["users"] == 2:
                many.rows["users"][3].update(givenName="Zoe", dateLastModified="2090-01-01T00:00:00Z")
                many.rows["users"][0].update(dateLastModified="2099-01-01T00:00:00Z")

        many.meanwhile = change
        fetch, _ = await read(connector(many), "Student")
        many.meanwhile = None
        _, readings = await read(connector(many), "Student", fetch.cursor)
        assert [reading.body["firstName"] for reading in readings if reading.key == "p0"] == ["Zoe"], "p0 had been read"


async def test_an_organisation_of_which_only_its_end_is_told_is_absent(sis: RestSis) -> None:
    sis.rows["orgs"].append({"sourcedId": "o92", "status": "tobedeleted", "dateLastModified": LATER})
    fetch, readings = await read(connector(sis), "School")
    assert ([(reading.key, reading.faults) for reading in readings], fetch.complete) == ([("91", ())], True)


class TestById:
    @pytest.mark.parametrize("entity", sorted(FORMATTERS))
    async def test_each_entity_is_read_by_id_as_it_is_read_whole(self, sis: RestSis, entity: str) -> None:
        _, whole = await read(connector(sis), entity)
        assert list((await read_by_id(connector(sis), entity, *keys(whole), "nobody")).values()) == whole

    async def test_just_these_are_asked_for(self, many: RestSis) -> None:
        assert set(await read_by_id(connector(many), "Student", "p1", "p9")) == {"p1"}
        assert many.counts() == {"token": 1, "orgs": 1, "users/p1": 1, "users/p9": 1,
                                 "demographics/p1": 1, "demographics/p9": 1}  # fmt: skip

    async def test_ids_that_are_no_codes_are_found_too(self, sis: RestSis) -> None:
        odd = pupil("Ä b/1")
        sis.rows["users"].append(odd)
        _, readings = await read(connector(sis), "Student")
        (key,) = [reading.key for reading in readings if reading.key != "u1"]
        assert set(await read_by_id(connector(sis), "Student", key)) == {key}

    async def test_many_are_read_with_all_the_others(self, sis: RestSis) -> None:
        many = [f"p{number}" for number in range(300)]
        sis.page_max = 100
        sis.rows["users"] += [pupil(name) for name in many]
        assert len(await read_by_id(connector(sis), "Student", *many)) == 300
        assert sis.counts()["users"] == 4

    async def test_another_object_than_was_asked_for_is_a_fault(self, sis: RestSis) -> None:
        sis.fail("users/u1", Mishap(200, json.dumps({"user": pupil("u7")}).encode()))
        fetch: Fetch = await connector(sis).fetch_by_id("Student", ["u1"])
        assert [row async for row in fetch.rows] == []
        assert "another came" in fetch.failure


@pytest.mark.timeout(240)
async def test_a_service_is_set_up_planned_approved_and_followed(
    sis: RestSis, database_of_test: str, settings: Settings, folder: Path
) -> None:
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core, core.served():
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        secrets = {"SIS_CLIENT_ID": sis.client_id, "SIS_CLIENT_SECRET": sis.client_secret}
        own = {"HOMEROOM_KEY": await core.key("A.9"), "HOMEROOM_MERGE_DATABASE_URL": database_of_test}
        admin = Prompt(folder, {**os.environ, **secrets, **own, "COLUMNS": "200"})
        entities = [argument for entity in FORMATTERS for argument in ("--entity", entity)]
        started = ("settings", "start", "oneroster", "--name", "elk", "--authority", "A.9", "--school", "S.91")
        said = await admin.do(*started, *entities)
        said = said.replace("https://core.example.org", core.base_url).replace(
            "# school_years = []", "school_years = [2027]"
        )
        said = said.replace("https://sis.example.org/ims/oneroster/rostering/v1p2", sis.url)
        said = said.replace("https://sis.example.org/oauth/token", sis.token_url)
        (folder / "elk.toml").write_text(said.replace("# organizations = []", 'organizations = ["A.9", "S.91"]'))
        await admin.do("settings", "push", "elk.toml")
        assert set(reports(await admin.do("plan", "--feed", "elk", "--json", exit_code=HELD)).values()) == {"held"}
        approved = await admin.do("approve", "--feed", "elk", "--by", "me", "--json")
        assert reports(approved) == dict.fromkeys(FORMATTERS, "success")
        sis.rows["users"][0].update(givenName="Zoe", dateLastModified=LATER)
        sis.asked.clear()
        report = json.loads(await admin.do("run", "--feed", "elk", "--entity", "Student", "--json"))
        assert report["status"] == "success"
        assert report["summary"]["writes"], "the new name is on the hub"
        assert "filter" in next(query for _, place, query in sis.asked if place == "users")
        del admin.environment["SIS_CLIENT_SECRET"]
        assert "SIS_CLIENT_SECRET is empty" in await admin.do("run", "--feed", "elk", exit_code=1)
