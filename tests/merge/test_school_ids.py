"""Schools whose own ids in the SIS are not their numbers: on the hub they are known by number, as organisations are."""

import csv
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from homeroom import Client
from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.connectors.csv_sds import sds_v1, sds_v2
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.formatters.oneroster import load_codes as oneroster_codes
from homeroom_merge.formatters.oneroster import oneroster_formatters
from homeroom_merge.formatters.sds import load_codes as sds_codes
from homeroom_merge.formatters.sds import sds_v1_formatters, sds_v2_formatters
from homeroom_merge.plan import Kind
from homeroom_merge.settings.start import as_toml
from homeroom_merge.values import Json
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import open_core
from tests.merge.tables import fetched, put, verified
from tests.merge.test_merge_command import HELD, ORGANIZATIONS_OF_THE_CORE, Prompt, reports
from tests.merge.test_oneroster import FILES, manifest

CODES = oneroster_codes()
FORMATTERS = oneroster_formatters(CODES)
OF_A_SCHOOL = ("School", "Student", "StudentSchoolEnrolment")
ENROLMENTS = "StudentSchoolEnrolment.2027"


@dataclass
class Feed:
    """A OneRoster export, the folder from which its SIS takes files, and a hub as its own people use it."""

    administrator: Prompt
    client: Client
    export: Path
    drop: Path

    async def begin(self) -> None:
        """Its first merge, which somebody approves."""
        await self.administrator.do("settings", "push", "elk.toml")
        await self.administrator.do("run", "--feed", "elk", exit_code=HELD)
        approved = reports(await self.administrator.do("approve", "--feed", "elk", "--by", "me", "--json"))
        assert set(approved.values()) == {"success"}

    async def run(self) -> dict[str, Json]:
        """A night: the head of each entity's report."""
        heads = [
            json.loads(line)
            for line in (await self.administrator.do("run", "--feed", "elk", "--json")).split("\n")
            if line
        ]
        return {head["entity"]: head for head in heads if "entity" in head and "status" in head}

    async def bodies(self, entity: str) -> dict[str, Json]:
        return {line["id"]: line["body"] async for line in self.client.snapshot(entity) if "id" in line}

    async def say(self, entity: str, key: str, **members: object) -> None:
        """Somebody edits a record on the hub."""
        (found,) = (await self.client.get(entity, [{"id": key}])).records
        record = {"id": key, "expectedVersion": found["coreVersion"], "deleted": False, "body": found["body"] | members}
        (result,) = (await self.client.submit(entity, [record], uuid4())).results
        assert not result["rejections"], result

    def dropped(self, file: str) -> list[dict[str, str]]:
        """What the SIS is given of a file."""
        found = sorted(self.drop.glob(f"*/{file}.csv"))
        return [row for each in found for row in csv.DictReader(each.read_text().splitlines())]


@pytest.fixture(params=["A.9", "S.91"])
async def feed(
    request: pytest.FixtureRequest, folder: Path, database_of_test: str, settings: Settings
) -> AsyncIterator[Feed]:
    """Acting as the school's authority, with all entities, and as the school."""
    acting, entities = request.param, tuple(FORMATTERS) if request.param == "A.9" else OF_A_SCHOOL
    export, drop = folder / "export", folder / "drop"
    export.mkdir()
    put(export, {**FILES, "manifest": manifest()})
    async with open_core(database_of_test, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS_OF_THE_CORE)
        key = await core.key("O.1")
        environment = {**os.environ, "HOMEROOM_KEY": key, "HOMEROOM_MERGE_DATABASE_URL": database_of_test}
        async with core.served(), Client(core.base_url, key, acting) as client:
            said = as_toml("csv", "elk", "A.9", ["S.91"], entities)
            said = said.replace("https://core.example.org", core.base_url).replace("/srv/sis-exports", str(export))
            said = said.replace("# organizations = []", f'organizations = ["{acting}"]')
            said = said.replace('# drop_folder = ""', f'drop_folder = "{drop}"')
            (folder / "elk.toml").write_text(said.replace("# school_years = []", "school_years = [2027]"))
            yield Feed(Prompt(folder, environment), client, export, drop)


@pytest.mark.timeout(300)
async def test_students_stay_in_view_and_go_both_ways(feed: Feed) -> None:
    await feed.begin()
    assert set(await feed.bodies("School")) == {"91"}
    assert [body["schoolId"] for body in (await feed.bodies(ENROLMENTS)).values()] == ["91"]
    again = await feed.run()
    assert {head["status"] for head in again.values()} == {"success"}
    assert [head["summary"]["outcomes"] for head in again.values()] == [{}] * len(again)
    put(feed.export, {"users": FILES["users"].replace("Ada,Bear", "Zoe,Bear")})
    await feed.run()
    assert (await feed.bodies("Student"))["u1"]["firstName"] == "Zoe"

    await feed.say("Student", "u1", lastName="Wolf")
    await feed.say(ENROLMENTS, "r1", isPrimary=False)
    await feed.run()
    (user,) = feed.dropped("users")
    assert (user["sourcedId"], user["familyName"], user["primaryOrgSourcedId"]) == ("u1", "Wolf", "o91")
    (role,) = feed.dropped("roles")
    assert (role["sourcedId"], role["orgSourcedId"], role["roleType"]) == ("r1", "o91", "secondary")


class TestWriting:
    """What the hub says by number stands in the files by their own ids."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        orgs = FILES["orgs"] + "o92,,,Heron,school,92,o9\no8,,,Lynx,district,8,\n"
        put(tmp_path, {**FILES, "orgs": orgs, "manifest": manifest()})
        return tmp_path

    async def write(self, folder: Path, entity: str, key: str, **members: object) -> tuple[str, list[dict[str, str]]]:
        """What came of a change of the hub's, and the rows of the entity's own file."""
        file_set = oneroster(CODES.lists)
        feed = CsvFolder(folder, file_set, drop_off=DropOff(folder / "out", file_set))
        _, rows = await fetched(feed, entity)
        formatter = FORMATTERS[entity]
        stood = next((row.row for row in rows if formatter.read(row.row).key == key), None)
        body = {**({} if stood is None else formatter.read(stood).body), **members}
        row = formatter.write(key, {name: value for name, value in body.items() if value is not None}, stood)
        outcome = await feed.write(entity, Kind.UPDATE if stood else Kind.CREATE, key, row, stood)
        name = file_set.sources[entity].file
        found = [
            csv.DictReader(each.read_text().splitlines()) for each in sorted((folder / "out").glob(f"*/{name}.csv"))
        ]
        return outcome.detail, [line for lines in found for line in lines]

    @pytest.mark.parametrize(
        ("entity", "key", "member", "column"),
        [
            ("Section", "k1", "schoolId", "schoolSourcedId"),
            ("CourseEnrolment", "e1", "schoolId", "schoolSourcedId"),
            ("StudentSchoolEnrolment", "r1", "schoolId", "orgSourcedId"),
            ("Student", "u1", "schoolId", "primaryOrgSourcedId"),
        ],
    )
    async def test_another_school(self, folder: Path, entity: str, key: str, member: str, column: str) -> None:
        said, (row,) = await self.write(folder, entity, key, **{member: "92"})
        assert (said, row["sourcedId"], row[column]) == ("", key, "o92")
        assert not any(title.startswith("@") for title in row)

    async def test_a_course_goes_from_an_authority_to_a_school(self, folder: Path) -> None:
        assert (await self.write(folder, "Course", "c1"))[1][0]["orgSourcedId"] == "o9"
        _, rows = await self.write(folder, "Course", "c1", authorityId=None, schoolId="91")
        assert rows[-1]["orgSourcedId"] == "o91"

    async def test_a_school_keeps_its_id_and_gets_another_authority(self, folder: Path) -> None:
        said, (row,) = await self.write(folder, "School", "91", name="Magpie", authorityId="8")
        assert (said, row["sourcedId"], row["name"], row["parentSourcedId"]) == ("", "o91", "Magpie", "o8")

    async def test_a_school_that_has_no_authority_any_more_has_no_parent(self, folder: Path) -> None:
        _, (row,) = await self.write(folder, "School", "91", authorityId=None)
        assert (row["sourcedId"], row["parentSourcedId"]) == ("o91", "")

    async def test_an_authority_that_is_gone_is_named_by_its_own_id(self, folder: Path) -> None:
        file_set = oneroster(CODES.lists)
        feed = CsvFolder(folder, file_set, drop_off=DropOff(folder / "out", file_set))
        assert (await feed.write("SchoolAuthority", Kind.DELETE, "9", None, None)).result == "done"
        (file,) = (folder / "out").glob("*/orgs.csv")
        (row,) = csv.DictReader(file.read_text().splitlines())
        assert (row["sourcedId"], row["status"]) == ("o9", "tobedeleted")

    async def test_another_number_is_another_organisation_and_is_refused(self, folder: Path) -> None:
        said, rows = await self.write(folder, "School", "91", schoolNumber="93")
        assert said == "the number 91 says which organisation it is; change it in the SIS by hand"
        assert rows == []

    async def test_a_school_that_is_new_goes_by_its_number(self, folder: Path) -> None:
        _, (row,) = await self.write(folder, "School", "93", schoolNumber="93", name="Owl", authorityId="9")
        assert (row["sourcedId"], row["identifier"], row["parentSourcedId"]) == ("93", "93", "o9")

    async def test_a_number_of_several_schools_is_refused_and_what_stands_there_stays(self, folder: Path) -> None:
        put(folder, {"orgs": (folder / "orgs.csv").read_text() + "o94,,,Owl,school,92,o9\n"})
        said, rows = await self.write(folder, "Section", "k1", schoolId="92")
        assert said == "several organisations have the number 92: o92, o94; give each its own"
        put(folder, {"classes": FILES["classes"].replace("o91", "o94")})
        said, rows = await self.write(folder, "Section", "k1", title="Another")
        assert (said, rows[0]["schoolSourcedId"]) == ("", "o94")


class TestReading:
    async def schools(self, folder: Path, orgs: str) -> tuple[list[str], list[str], list[str | None]]:
        """Of an export with these schools besides: keys and notes of its schools, and where its section belongs."""
        put(folder, {**FILES, "orgs": FILES["orgs"] + orgs, "manifest": manifest()})
        feed = CsvFolder(folder, oneroster(CODES.lists))
        fetch, read = await verified(feed, FORMATTERS["School"])
        _, (section,) = await verified(feed, FORMATTERS["Section"])
        return (
            [each.reading.key for each in read],
            fetch.notes,
            [section.reading.school, section.reading.body["schoolId"]],
        )

    async def test_a_number_that_makes_no_code_leaves_the_own_id(self, tmp_path: Path) -> None:
        keys, _, _ = await self.schools(tmp_path, "o92,,,Heron,school,No. 92,o9\n{o 93},,,Owl,school,,o9\n")
        assert keys[:2] == ["91", "o92"]
        assert keys[2].startswith("-o-93-.")

    async def test_schools_of_one_number_are_told(self, tmp_path: Path) -> None:
        keys, notes, _ = await self.schools(tmp_path, "o92,,,Heron,school,91,o9\n")
        assert keys == ["91", "91"]
        assert (
            "organisations with the number of another, which are not merged; give each a number of its own: 2" in notes
        )

    async def test_a_school_that_was_given_another_id_is_the_same(self, tmp_path: Path) -> None:
        keys, _, placed = await self.schools(tmp_path, "o1,tobedeleted,,Raven,school,91,o9\n")
        assert (keys, placed) == (["91"], ["S.91", "91"])

    async def test_a_district_may_have_the_number_of_a_school(self, tmp_path: Path) -> None:
        keys, notes, _ = await self.schools(tmp_path, "o8,,,Lynx,district,91,\n")
        assert (keys, [note for note in notes if "number of another" in note]) == (["91"], [])


SDS_V1: dict[str, str] = {
    "School": "SIS ID,Name,School Number\nguid-1,Raven,91\nguid-2,Heron,92\n",
    "Section": "SIS ID,School SIS ID,Section Name,Term StartDate\nk1,guid-1,Algebra,9/1/2026\n",
    "Student": "SIS ID,School SIS ID,First Name,Last Name,Username\nu1,guid-1,Ada,Bear,ada\n",
    "Teacher": "SIS ID,School SIS ID,First Name,Last Name,Username\nu2,guid-1,Eve,Elk,eve\n",
    "StudentEnrollment": "Section SIS ID,SIS ID\nk1,u1\n",
}
SDS_V2: dict[str, str] = {
    "orgs": "sourcedId,name,type,parentSourcedId,identifier\nguid-1,Raven,school,,91\nguid-2,Heron,school,,92\n",
    "academicSessions": "sourcedId,title,type,schoolYear,startDate,endDate\nf,Fall,term,2026,2026-09-01,2026-12-20\n",
    "users": "sourcedId,username,givenName,familyName\nu1,ada,Ada,Bear\n",
    "roles": "userSourcedId,orgSourcedId,role,sessionSourcedId\nu1,guid-1,student,f\n",
    "classes": "sourcedId,orgSourcedId,title,sessionSourcedIds,courseSourcedId\nk1,guid-1,Algebra,f,\n",
    "enrollments": "classSourcedId,userSourcedId,role\nk1,u1,student\n",
}


@pytest.mark.parametrize(
    ("version", "entity", "column"),
    [
        (1, "Student", "School SIS ID"),
        (1, "Section", "School SIS ID"),
        (1, "Staff", "School SIS ID"),
        (1, "CourseEnrolment", ""),
        (2, "Section", "orgSourcedId"),
        (2, "StudentSchoolEnrolment", "orgSourcedId"),
        (2, "CourseEnrolment", ""),
    ],
)
async def test_school_data_sync_goes_by_numbers_too(tmp_path: Path, version: int, entity: str, column: str) -> None:
    codes = sds_codes()
    put(tmp_path, SDS_V1 if version == 1 else SDS_V2)
    file_set = sds_v1(codes.lists) if version == 1 else sds_v2(codes.lists)
    formatters = sds_v1_formatters(codes) if version == 1 else sds_v2_formatters(codes)
    feed = CsvFolder(tmp_path, file_set, drop_off=DropOff(tmp_path / "out", file_set))
    _, schools = await verified(feed, formatters["School"])
    assert [each.reading.key for each in schools] == ["91", "92"]
    formatter: Formatter = formatters[entity]
    _, (row,) = await fetched(feed, entity)
    reading = formatter.read(row.row)
    assert reading.school == "S.91"
    said = json.dumps(reading.body)
    assert '"schoolId": "91"' in said
    changed = json.loads(said.replace('"schoolId": "91"', '"schoolId": "92"'))
    for body, school in ((reading.body, "guid-1"), (changed, "guid-2")):
        await feed.write(entity, Kind.UPDATE, reading.key, formatter.write(reading.key, body, row.row), row.row)
        (file,) = (tmp_path / "out").glob(f"*/{file_set.sources[entity].file}.csv")
        written = list(csv.DictReader(file.read_text().splitlines()))
        assert column == "" or written[-1][column] == school
