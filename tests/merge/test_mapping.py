"""Mapping files: any CSV file, read and written as a mapping says."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_free import free_form
from homeroom_merge.formatters import kit
from homeroom_merge.formatters.codes import Unwritable
from homeroom_merge.formatters.mapping import MappingFaults, read_mapping
from homeroom_merge.plan import Kind
from homeroom_merge.testing import FormatterSuite
from tests.merge.examples import MAPPING as EXAMPLE
from tests.merge.tables import ROSTER, fetched, verified

MAPPED = read_mapping(EXAMPLE)
STUDENT = MAPPED.formatters()["Student"]
TITLES = "Pupil No;Given;Family;Born;Sex;Form;Leaves;School;Hispanic;Races;Second;Called;Called 2;E-Mail"
ADA = "7;Ada;Bear;02.03.2014;F;Form 4;2032;91;N;W;;Mary;Ann;ada@elk.example"
EVE = "8;Eve;Elk;24.12.2013;M;Form 4;2031;91;Y;A;Ida;;;"
BODY = {
    "studentNumber": "7",
    "firstName": "Ada",
    "lastName": "Bear",
    "birthDate": "2014-03-02",
    "sex": "female",
    "gradeLevel": "04",
    "graduationYear": 2032,
    "schoolId": "91",
    "isHispanicLatino": False,
    "races": ["white"],
    "preferredFirstName": "Mary-Ann",
    "status": "active",
    "emails": [{"type": "school", "address": "ada@elk.example"}],
}


def put(folder: Path, *rows: str) -> None:
    (folder / "pupils.csv").write_text("\n".join([TITLES, *rows, ""]), encoding="utf-8")


async def test_the_example_of_the_docs_is_read(tmp_path: Path) -> None:
    put(tmp_path, ADA)
    fetch, (record,) = await verified(CsvFolder(tmp_path, free_form(MAPPED)), STUDENT)
    assert (fetch.failure, fetch.complete, record.faults) == ("", True, ())
    assert record.reading.body == BODY
    assert (record.reading.key, record.reading.number, record.reading.school) == ("7", "7", "S.91")
    assert fetch.coverage.pairs == frozenset({("S.91", None)})
    assert "middleName" in record.reading.covered, "its empty cell clears it"


async def test_what_the_example_writes_is_the_row_that_it_read(tmp_path: Path) -> None:
    put(tmp_path, ADA)
    _, (row,) = await fetched(CsvFolder(tmp_path, free_form(MAPPED)), "Student")
    assert STUDENT.write("7", BODY, row.row) == row.row
    written = dict(STUDENT.write("7", BODY, None))
    assert written == {title: cell for title, cell in row.row.items() if cell and not title.startswith("@")}


async def test_a_mapped_file_is_written_in_its_own_columns(tmp_path: Path) -> None:
    put(tmp_path, ADA)
    file_set = free_form(MAPPED)
    feed = CsvFolder(tmp_path, file_set, drop_off=DropOff(tmp_path / "out", file_set))
    _, (row,) = await fetched(feed, "Student")
    written = STUDENT.write("7", {**BODY, "birthDate": "2014-12-24"}, row.row)
    assert (await feed.write("Student", Kind.UPDATE, "7", written, row.row)).result == "done"
    (batch,) = (tmp_path / "out").iterdir()
    _, (again,) = await fetched(CsvFolder(batch, file_set), "Student")
    assert again.row["Born"] == "24.12.2014"


async def test_a_file_is_complete_only_where_its_mapping_says_so(tmp_path: Path) -> None:
    put(tmp_path, ADA)
    cautious = read_mapping(EXAMPLE.replace("complete = true", "complete = false"))
    fetch, _ = await fetched(CsvFolder(tmp_path, free_form(cautious)), "Student")
    assert not fetch.complete


TEXT = st.from_regex(r"[A-Za-z =+@'\"]{0,8}[A-Za-z=+]", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(
    body=st.fixed_dictionaries(
        {"studentNumber": st.just("7"), "status": st.just("active")},
        optional={
            "firstName": TEXT,
            "birthDate": st.dates().map(lambda day: day.isoformat()),
            "sex": st.sampled_from(["female", "male"]),
            "graduationYear": st.integers(1900, 2999),
            "isHispanicLatino": st.booleans(),
            "races": st.sets(st.sampled_from(["asian", "white"]), min_size=1).map(sorted),
            "preferredFirstName": st.tuples(TEXT, TEXT).map("-".join),
            "emails": TEXT.map(lambda text: [{"type": "school", "address": text}]),
        },
    )
)
def test_what_is_written_is_read_again(body: dict[str, object]) -> None:
    kit.check_round_trip(STUDENT, "7", body)
    kit.check_round_trip(STUDENT, "7", body, dict(zip(TITLES.split(";"), ADA.split(";"), strict=True)))


ROWS = [dict(zip(TITLES.split(";"), row.split(";"), strict=True)) for row in (ADA, EVE)]
BODIES = {"7": BODY}


class TestPromises(FormatterSuite):
    formatter = STUDENT
    rows, bodies = ROWS, BODIES
    always = ("studentNumber", "status")
    schema = ROSTER["Student"].schema


@pytest.mark.parametrize(
    ("column", "cell", "pointer", "said"),
    [
        ("Born", "2014/03/02", "/birthDate", "a day reads DD.MM.YYYY"),
        ("Sex", "X", "/sex", 'add the line "X" = "the hub\'s word" to the table [codes.Sex] of the mapping file'),
        ("Hispanic", "maybe", "/isHispanicLatino", "write Y or N"),
        ("Leaves", "soon", "/graduationYear", "a year reads 2022"),
        ("Called 2", "", "/preferredFirstName", "fill in all of its columns"),
    ],
)
def test_a_bad_cell_is_a_fault_with_its_cure(column: str, cell: str, pointer: str, said: str) -> None:
    row = dict(zip(TITLES.split(";"), ADA.split(";"), strict=True))
    (fault,) = STUDENT.read({**row, column: cell}).faults
    assert (fault.pointer, fault.cure) == (pointer, said)


def test_what_does_not_fit_the_columns_cannot_be_written() -> None:
    with pytest.raises(Unwritable, match="2 parts"):
        STUDENT.write("7", {"preferredFirstName": "Mary"}, None)


def test_every_fault_of_a_mapping_is_told_at_once_with_its_line_and_cure() -> None:
    with pytest.raises(MappingFaults) as told:
        read_mapping(
            """\
[Student]
key = ["Id"]
complet = true

[Student.fields]
firstName = 7
sex = {column = "Sex", codes = "Sexes"}
birthDate = {column = "Born", type = "date", format = "sometime"}
"First Name" = "Given"
lastName = {columns = ["A", "B"]}
status = {column = "State", type = "enum"}
username = "Sex"

[codes.Sex]
F = "female"
"""
        )
    lines = [(fault.line, fault.path) for fault in told.value.faults]
    assert lines == [
        (1, "Student"),
        (3, "Student.complet"),
        (6, "Student.fields.firstName"),
        (7, "Student.fields.sex.codes"),
        (8, "Student.fields.birthDate.format"),
        (9, 'Student.fields."First Name"'),
        (10, "Student.fields.lastName.separator"),
        (11, "Student.fields.status.type"),
        (12, "Student.fields.username"),
    ]
    assert all(fault.cure for fault in told.value.faults)
    assert "did you mean Sex?" in str(told.value)


def test_what_is_no_toml_is_a_fault_with_its_line() -> None:
    with pytest.raises(MappingFaults, match="line 2"):
        read_mapping("[Student]\nfile = pupils.csv\n")
