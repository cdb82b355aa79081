"""The demo from its command to its summary, on real processes."""

import sqlite3
from pathlib import Path

import pytest

from homeroom_server.catalogue import load_catalogue
from homeroom_server.demo.district import District
from homeroom_server.demo.edfi import read_district
from homeroom_server.demo.province import generate_province
from tests.processes import homeroom
from tests.samples import GRAND_BEND, needs_grand_bend

DISTRICT = GRAND_BEND / "ds5.2"


def check_story(said: str, folder: Path) -> None:
    """What a reader must have seen, and what must be left in the files."""
    assert "Found by the version hash and repaired" in said
    assert "10 changes reached a school's file" in said
    assert "got both from" in said
    assert said.replace("\n", " ").count("tampered") == 2
    files = list(folder.glob("*.sqlite"))
    assert len(files) == 2
    for file in files:
        database = sqlite3.connect(file)
        kinds = [name for (name,) in database.execute("select name from replica_type where loaded and not followed")]
        sources = [database.execute(f"select count(*) from {name.replace('.', '_')}").fetchone()[0] for name in kinds]
        database.close()
        assert min(sources) > 0, "statuses brought what they speak of"


def check_bodies(district: District) -> None:
    """Every record is one that its type takes."""
    catalogue = load_catalogue(district.catalogue)
    for load in district.loads:
        _, definition = catalogue.resolve(load.notification_type)
        for record in load.records:
            assert definition.canonical_id(record["id"]) == record["id"]
            assert definition.validator is None or definition.validator.is_valid(record["body"])


def test_a_generated_province_is_shown(folder: Path) -> None:
    told = homeroom("demo", "--students", "60", "--folder", str(folder / "demo")).stdout
    check_story(told, folder / "demo")
    assert "Warning 42004" in told
    again = homeroom("demo", "--students", "20", "--folder", str(folder / "demo")).stdout
    check_story(again, folder / "demo")


@needs_grand_bend
class TestEdfi:
    def test_a_district_is_shown(self, folder: Path) -> None:
        told = homeroom("demo", "--edfi", str(DISTRICT), "--folder", str(folder / "demo")).stdout
        check_story(told, folder / "demo")

    def test_everything_in_it_is_read(self) -> None:
        district = read_district(DISTRICT)
        counts = {load.notification_type: len(load.records) for load in district.loads}
        assert counts == {"School": 3, "Course": 84, "Student": 960, "Section.2022": 532}
        for load in district.loads:
            assert len({record["id"] for record in load.records}) == len(load.records)
        check_bodies(district)


def test_a_folder_without_a_district_is_refused(folder: Path) -> None:
    done = homeroom("demo", "--edfi", str(folder), "--folder", str(folder / "demo"), check=False)
    assert done.returncode == 1
    assert "lacks EducationOrganization.xml" in done.stderr.replace("\n", " ")
    for name in ("EducationOrganization.xml", "Student.xml", "MasterSchedule.xml"):
        (folder / name).write_text("<a><b/>")
    done = homeroom("demo", "--edfi", str(folder), "--folder", str(folder / "demo"), check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.parametrize("students", [10, 999])
def test_a_generated_province_holds_together(students: int) -> None:
    district = generate_province(students)
    assert district == generate_province(students)
    check_bodies(district)
