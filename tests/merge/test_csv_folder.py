"""A folder of CSV files: what is read of it, what makes it fail as a whole, and what never counts as a delete."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.connectors import Abilities, Connector
from homeroom_merge.connectors.connector import Fetch, SourceRow
from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_sds import sds_v1
from homeroom_merge.connectors.csv_sheet import SheetFault, opened_sheet
from homeroom_merge.formatters.sds import load_codes, sds_v1_formatters
from homeroom_merge.plan import Kind
from tests.merge.tables import fetched, verified

CODES = load_codes()
SET = sds_v1(CODES.lists)
STUDENTS = sds_v1_formatters(CODES)["Student"]
TITLES = "SIS ID,School SIS ID,First Name,Last Name,Grade,Password"
AGAIN = "export it again and wait until it is whole"


def row(number: int, first: str = "Ada") -> str:
    return f"{number},91,{first},Bear,9,hunter2"


def put(folder: Path, *rows: str, titles: str = TITLES, encoding: str = "utf-8", end: str = "\r\n") -> Path:
    path = folder / "Student.csv"
    path.write_bytes((end.join([titles, *rows]) + end).encode(encoding))
    return path


async def students(folder: Path, **options: object) -> tuple[Fetch, list[SourceRow]]:
    fetch, rows = await fetched(CsvFolder(folder, SET, **options), "Student")  # type: ignore[arg-type]
    return fetch, list(rows)


async def test_rows_come_with_their_place_and_the_fetch_is_complete(tmp_path: Path) -> None:
    put(tmp_path, row(1), row(2))
    fetch, rows = await students(tmp_path)
    assert (fetch.complete, fetch.failure) == (True, "")
    assert [each.place for each in rows] == ["Student.csv row 2", "Student.csv row 3"]
    assert rows[0].row["First Name"] == "Ada"
    assert fetch.coverage.pairs == frozenset({("S.91", None)})


async def test_passwords_leave_no_trace_but_a_note(tmp_path: Path) -> None:
    put(tmp_path, row(1))
    fetch, rows = await students(tmp_path)
    assert "hunter2" not in repr((fetch, rows))
    assert "Student.csv: the column Password was dropped: it holds secrets" in fetch.notes


@pytest.mark.parametrize("title", ["User Password", "PIN", "SSN", "Social Security Number", "api_key", "client secret"])
async def test_secrets_have_many_names(tmp_path: Path, title: str) -> None:
    put(tmp_path, "1,91,hunter2", titles=f"SIS ID,School SIS ID,{title}")
    _, (only,) = await students(tmp_path)
    assert "hunter2" not in repr(only)


class TestFilesThatFailAsAWhole:
    async def failure(self, folder: Path) -> str:
        fetch, rows = await students(folder)
        assert (fetch.complete, rows) == (False, [])
        return fetch.failure

    @pytest.mark.parametrize("content", [b"", b"\r\n", b"\xef\xbb\xbf"])
    async def test_an_empty_one(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "Student.csv").write_bytes(content)
        said = await self.failure(tmp_path)
        assert said == f"Student.csv row 1: it is empty, without even titles of columns; {AGAIN}"

    async def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        assert await self.failure(tmp_path) == "there is no Student.csv; export it too, or name it as it is called"

    async def test_one_that_was_cut_within_a_row(self, tmp_path: Path) -> None:
        path = put(tmp_path, *(row(n) for n in range(2, 100)))
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"\n50,") + len("\n50,91,Ad")])
        said = await self.failure(tmp_path)
        assert said == f"Student.csv row 50: it ends in the middle of a row: the export was cut; {AGAIN}"

    async def test_one_that_was_cut_within_quotes(self, tmp_path: Path) -> None:
        put(tmp_path, row(1), '2,91,"Ad')
        said = await self.failure(tmp_path)
        assert said == f"Student.csv row 3: it ends within a quoted cell: the export was cut; {AGAIN}"

    async def test_one_whose_rows_are_of_two_encodings(self, tmp_path: Path) -> None:
        path = put(tmp_path, row(1, "Zoë"), row(2, "X"))
        path.write_bytes(path.read_bytes().replace(b"X", b"Ren\xe9e"))
        said = await self.failure(tmp_path)
        assert said == "Student.csv line 3: its bytes are not UTF-8, as those of other rows are; export it as UTF-8"

    async def test_one_that_is_not_of_the_encoding_that_settings_name(self, tmp_path: Path) -> None:
        put(tmp_path, row(1, "Renée"), encoding="cp1252")
        fetch, rows = await students(tmp_path, encoding="utf-8")
        assert rows == []
        said = "Student.csv line 2: its bytes are not utf-8; export it as UTF-8, or name its encoding in the settings"
        assert fetch.failure == said

    async def test_one_whose_key_was_renamed(self, tmp_path: Path) -> None:
        put(tmp_path, row(1), titles=TITLES.replace("SIS ID,School", "SISID,School"))
        said = await self.failure(tmp_path)
        assert said == (
            "Student.csv row 1: there is no column SIS ID, which says which record a row is; did you mean SISID?"
        )

    async def test_one_with_a_column_twice(self, tmp_path: Path) -> None:
        put(tmp_path, row(1) + ",x", titles=f"{TITLES},first name")
        said = await self.failure(tmp_path)
        assert said == "Student.csv row 1: the column First Name is there twice; rename one or leave it out"

    async def test_one_whose_quotes_do_not_match(self, tmp_path: Path) -> None:
        put(tmp_path, '1,91,"Ad"a,Bear,9,', row(2))
        assert "Student.csv row 2: its quotes do not match" in await self.failure(tmp_path)


class TestWhatNeverCountsAsADelete:
    async def test_a_renamed_column_is_not_covered(self, tmp_path: Path) -> None:
        put(tmp_path, row(1), titles=TITLES.replace("First Name", "Given"))
        fetch, read = await verified(CsvFolder(tmp_path, SET), STUDENTS)
        assert fetch.coverage.columns is not None
        assert "Student/First Name" not in fetch.coverage.columns
        assert "Student/Last Name" in fetch.coverage.columns
        assert "firstName" not in read[0].reading.covered
        assert any("not covered" in note and "First Name" in note for note in fetch.notes)

    async def test_one_bad_row_is_a_fault_of_its_own_and_others_go_on(self, tmp_path: Path) -> None:
        put(tmp_path, row(1), "2,91,Ada", row(3))
        fetch, read = await verified(CsvFolder(tmp_path, SET), STUDENTS)
        assert [(each.reading.key, each.valid) for each in read] == [("1", True), ("2", False), ("3", True)]
        (fault,) = (fault for fault in read[1].faults if fault.cure == "mend the row where it comes from")
        assert (read[1].place, fault.detail) == (
            "Student.csv row 3",
            "the row has 3 cells where there are 6 columns",
        )
        assert fetch.complete is False, "the key of a row that is out of shape may be another's"

    async def test_a_last_line_without_an_end_may_have_been_cut(self, tmp_path: Path) -> None:
        path = put(tmp_path, row(1), row(2))
        path.write_bytes(path.read_bytes()[:-3])
        fetch, rows = await students(tmp_path)
        assert (len(rows), fetch.complete, fetch.failure) == (2, False, "")
        assert any("Student.csv row 3: its last line has no end" in note for note in fetch.notes)
        fetch, _ = await students(tmp_path, lines_end=False)
        assert fetch.complete

    async def test_the_last_cell_of_a_line_without_an_end_says_nothing(self, tmp_path: Path) -> None:
        titles = "SIS ID,School SIS ID,Last Name,First Name"
        path = put(tmp_path, "1,91,Bear,Ada", "2,91,Bear,Adam", titles=titles, end="\n")
        path.write_bytes(path.read_bytes()[:-2])
        _, rows = await students(tmp_path)
        assert [row.row.get("First Name") for row in rows] == ["Ada", None], "it may have been cut"
        _, rows = await students(tmp_path, lines_end=False)
        assert [row.row.get("First Name") for row in rows] == ["Ada", "Ada"]

    async def test_a_file_that_grows_while_it_is_read_fails_as_a_whole(self, tmp_path: Path) -> None:
        path = put(tmp_path, *(row(n) for n in range(1_200)))
        fetch = await CsvFolder(tmp_path, SET).fetch("Student")
        rows = fetch.rows
        await anext(rows)
        path.write_bytes(path.read_bytes() + f"{row(1_200)}\r\n".encode())
        assert [each async for each in rows]
        assert (fetch.complete, fetch.failure) == (False, f"Student.csv: it was written while it was read; {AGAIN}")

    async def test_an_export_with_all_new_keys_is_read_as_such(self, tmp_path: Path) -> None:
        put(tmp_path, *(row(n + 1000) for n in range(10)))
        fetch, read = await verified(CsvFolder(tmp_path, SET), STUDENTS)
        assert fetch.complete
        assert [each.reading.key for each in read] == [str(n + 1000) for n in range(10)]

    async def test_an_empty_cell_says_nothing(self, tmp_path: Path) -> None:
        put(tmp_path, "1,91,Ada,,9,")
        _, (record,) = await verified(CsvFolder(tmp_path, SET), STUDENTS)
        assert "lastName" not in record.reading.covered

    @settings(max_examples=40, deadline=None)
    @given(at=st.floats(0.01, 0.999))
    async def test_wherever_a_file_is_cut_it_is_not_complete_or_ends_at_a_row(
        self, tmp_path_factory: pytest.TempPathFactory, at: float
    ) -> None:
        path = put(tmp_path_factory.mktemp("cut"), *(row(n) for n in range(1, 60)))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * at)])
        fetch, rows = await students(path.parent)
        assert not fetch.complete or path.read_bytes().endswith((b"\n", b"\r"))
        if fetch.failure:
            assert rows == []


class TestForms:
    @pytest.mark.parametrize(
        ("encoding", "note"),
        [
            ("utf-8", ""),
            ("utf-8-sig", "read as UTF-8, by its byte order mark"),
            ("utf-16", "read as UTF-16, by its byte order mark"),
            ("utf-16-le", "read as UTF-16-LE, as its bytes suggest"),
            ("cp1252", "read as cp1252, as its bytes suggest; export it as UTF-8, or name its encoding"),
        ],
    )
    async def test_encodings_are_found_out_and_noted(self, tmp_path: Path, encoding: str, note: str) -> None:
        names = ["Renée", "Zoë", "Jürgen", "François"]
        put(tmp_path, *(row(n, name) for n, name in enumerate(names, start=1)), encoding=encoding)
        fetch, rows = await students(tmp_path)
        assert (fetch.failure, [each.row["First Name"] for each in rows]) == ("", names)
        notes = [each for each in fetch.notes if "read as" in each]
        assert notes == ([f"Student.csv: {note}"] if note else [])

    @pytest.mark.parametrize(("delimiter", "note"), [(";", "semicolons"), ("\t", "tabs")])
    async def test_delimiters_are_found_out_and_noted(self, tmp_path: Path, delimiter: str, note: str) -> None:
        put(tmp_path, row(1).replace(",", delimiter), titles=TITLES.replace(",", delimiter))
        fetch, (only,) = await students(tmp_path)
        assert only.row["Last Name"] == "Bear"
        assert f"Student.csv: its columns are apart by {note}" in fetch.notes

    async def test_a_quoted_cell_may_go_over_lines_and_rows_are_counted_not_lines(self, tmp_path: Path) -> None:
        put(tmp_path, '1,91,"Ada\r\nMay, ""Q""",Bear,9,', "", row(2))
        _, rows = await students(tmp_path)
        assert rows[0].row["First Name"] == 'Ada\r\nMay, "Q"'
        assert rows[1].place == "Student.csv row 4"

    async def test_titles_are_known_in_any_case_and_files_too(self, tmp_path: Path) -> None:
        put(tmp_path, row(1), titles=TITLES.upper()).rename(tmp_path / "STUDENT.CSV")
        _, (only,) = await students(tmp_path)
        assert only.row["First Name"] == "Ada"

    @given(st.binary(max_size=300))
    @settings(max_examples=100, deadline=None)
    def test_any_bytes_are_rows_or_a_failure(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.mktemp("bytes") / "any.csv"
        path.write_bytes(content)
        try:
            sheet = opened_sheet(path, ())
            assert all(line.number <= sheet.last for line in sheet.lines())
        except SheetFault as fault:
            assert str(fault).startswith("any.csv")


class TestWriting:
    async def test_files_are_replaced_whole_and_later_rows_replace_earlier_ones(self, tmp_path: Path) -> None:
        put(tmp_path, row(1))
        feed: Connector = CsvFolder(tmp_path, SET, drop_off=DropOff(tmp_path / "out", SET))
        assert feed.abilities == Abilities(write=True)
        for first in ("Ada", "Eve"):
            written = STUDENTS.write("1", {"firstName": first, "lastName": "Bear"}, {"SIS ID": "1"})
            assert (await feed.write("Student", Kind.UPDATE, "1", written, None)).result == "done"
        await feed.write("Student", Kind.CREATE, "2", STUDENTS.write("2", {"firstName": "Ola"}, None), None)
        (batch,) = (tmp_path / "out").iterdir()
        assert [path.name for path in batch.iterdir()] == ["Student.csv"]
        _, rows = await fetched(CsvFolder(batch, SET), "Student")
        assert [(each.row["SIS ID"], each.row["First Name"]) for each in rows] == [("1", "Eve"), ("2", "Ola")]

    async def test_sds_cannot_say_that_a_record_is_gone(self, tmp_path: Path) -> None:
        feed = CsvFolder(tmp_path, SET, drop_off=DropOff(tmp_path / "out", SET))
        outcome = await feed.write("Student", Kind.DELETE, "1", None, None)
        assert outcome.result == "refused"
        assert "let deletes deactivate it" in outcome.detail

    async def test_courses_of_sds_have_no_file_of_their_own(self, tmp_path: Path) -> None:
        feed = CsvFolder(tmp_path, SET, drop_off=DropOff(tmp_path / "out", SET))
        assert (await feed.write("Course", Kind.UPDATE, "1", {}, None)).result == "refused"
