"""A folder of Ed-Fi interchange files: what is read of it, and what makes it fail as a whole."""

import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.connectors import Abilities, Connector, edfi_joins, edfi_xml
from homeroom_merge.connectors.edfi import EdfiFolder
from homeroom_merge.plan import Kind
from tests.merge.interchanges import ORGANIZATIONS, fetched, put, student
from tests.samples import GRAND_BEND, needs_grand_bend

BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(10))
OFFERING = """
<CourseOffering><LocalCourseCode>ALG</LocalCourseCode>
<SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity></SchoolReference>
<SessionReference ref="FALL"/>
<CourseReference><CourseIdentity><CourseCode>0310</CourseCode><EducationOrganizationReference>
<EducationOrganizationIdentity><EducationOrganizationId>9</EducationOrganizationId></EducationOrganizationIdentity>
</EducationOrganizationReference></CourseIdentity></CourseReference></CourseOffering>
<Session id="FALL"><SessionName>Fall</SessionName><SchoolYear>2021-2022</SchoolYear>
<SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity></SchoolReference></Session>
"""
SECTION = """
<Section><SectionIdentifier>1</SectionIdentifier><CourseOfferingReference><CourseOfferingIdentity>
<LocalCourseCode>ALG</LocalCourseCode>
<SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity></SchoolReference>
<SessionReference ref="FALL"/></CourseOfferingIdentity></CourseOfferingReference></Section>
"""
CONTACT = '<Contact id="C"><ContactUniqueId>7</ContactUniqueId><Name><FirstName>Eve</FirstName></Name></Contact>'
ASSOCIATION = """
<StudentContactAssociation><StudentReference><StudentIdentity><StudentUniqueId>{}</StudentUniqueId></StudentIdentity>
</StudentReference><ContactReference ref="{}"/></StudentContactAssociation>
"""


async def test_rows_come_with_their_place_and_the_fetch_is_complete(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Student", student("1") + student("2"))
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, fetch.failure, fetch.notes) == (True, "", [])
    assert [row.place for row in rows] == ["Student.xml line 3", "Student.xml line 4"]
    assert rows[0].row["Name"] == {"FirstName": "Ada", "LastSurname": "Bear"}
    assert fetch.coverage.pairs == frozenset({("A.9", None)})
    assert fetch.coverage.columns is not None
    assert {"StudentUniqueId", "Name/FirstName"} <= fetch.coverage.columns


async def test_files_are_found_by_their_root_and_several_may_hold_an_entity(tmp_path: Path) -> None:
    put(tmp_path, "Student", student("1"), name="pupils-1")
    put(tmp_path, "Student", student("2"), name="pupils-2")
    fetch, rows = await fetched(tmp_path, "Student")
    assert [row.place for row in rows] == ["pupils-1.xml line 3", "pupils-2.xml line 3"]
    assert fetch.notes == ["there is no InterchangeEducationOrganization file: nobody knows which number is a school's"]


@pytest.mark.parametrize("at", [0.3, 0.5, 0.9, 0.995])
async def test_a_file_that_was_cut_fails_as_a_whole(tmp_path: Path, at: float) -> None:
    path = put(tmp_path, "Student", "".join(student(str(n)) for n in range(2000)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * at)])
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    line = 1 + path.read_bytes().count(b"\n")
    assert fetch.failure == (
        f"Student.xml line {line}: it ends in the middle of a record: the export was cut; "
        "export it again and wait until it is whole"
    )


async def test_a_file_of_another_encoding_than_it_says_fails_as_a_whole(tmp_path: Path) -> None:
    path = put(tmp_path, "Student", student("1") + student("2"))
    path.write_bytes(path.read_bytes().replace(b"Ada", b"Ren\xe9e", 1))
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert fetch.failure == ("Student.xml line 3: its bytes are not in the encoding that it says; export it as UTF-8")


async def test_another_encoding_that_the_file_names_is_read_and_noted(tmp_path: Path) -> None:
    path = put(tmp_path, "Student", student("1"))
    text = path.read_text(encoding="utf-8").replace("UTF-8", "ISO-8859-1").replace("Ada", "Renée")
    path.write_bytes(text.encode("latin-1"))
    fetch, rows = await fetched(tmp_path, "Student")
    assert rows[0].row["Name"] == {"FirstName": "Renée", "LastSurname": "Bear"}
    assert "read as ISO-8859-1, as the file says" in fetch.notes


async def test_a_file_that_says_two_bytes_a_character_and_has_one_fails_as_a_whole(tmp_path: Path) -> None:
    path = put(tmp_path, "Student", student("1"))
    path.write_bytes(path.read_bytes().replace(b"UTF-8", b"UTF-16"))
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert "its bytes are not in the encoding that it says" in fetch.failure


async def test_two_bytes_a_character_are_read(tmp_path: Path) -> None:
    path = put(tmp_path, "Student", student("1"))
    text = path.read_text(encoding="utf-8").replace("UTF-8", "UTF-16")
    path.with_suffix(".XML").write_bytes(text.encode("utf-16"))
    path.unlink()
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, len(rows)) == (True, 1)
    assert "read as UTF-16, as the file says" in fetch.notes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not well-formed XML|the export was cut"),
        (b"not xml", "the export was cut|not well-formed"),
        (
            b"<InterchangeStudent xmlns='http://ed-fi.org/5.2.0'><Student></Name></InterchangeStudent>",
            "not well-formed",
        ),
    ],
)
async def test_what_is_no_xml_fails_as_a_whole(tmp_path: Path, content: bytes, said: str) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    (tmp_path / "Student.xml").write_bytes(content)
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert any(part in fetch.failure for part in said.split("|"))
    assert fetch.failure.startswith("Student.xml line ")


@pytest.mark.parametrize(
    "head",
    [
        f"<!DOCTYPE InterchangeStudent [{BOMB}]>",
        '<!DOCTYPE InterchangeStudent [<!ENTITY e9 SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE InterchangeStudent SYSTEM "http://127.0.0.1:9/students.dtd">',
    ],
    ids=["bomb", "file", "network"],
)
@pytest.mark.parametrize("use", ["<MiddleName>&e9;</MiddleName>", '<Student id="&e9;"/>'])
async def test_document_types_are_refused_and_nothing_is_expanded(tmp_path: Path, head: str, use: str) -> None:
    path = put(tmp_path, "Student", student("1", use))
    path.write_text(path.read_text().replace("?>\n", f"?>\n{head}\n", 1))
    tracemalloc.start()
    fetch, rows = await fetched(tmp_path, "Student")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (fetch.complete, rows) == (False, [])
    assert "document type" in fetch.failure or "grow without bound" in fetch.failure
    assert peak < 5_000_000


async def test_entities_without_a_declaration_fail(tmp_path: Path) -> None:
    put(tmp_path, "Student", student("1", "<MiddleName>&pupil;</MiddleName>"))
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert "pupil" not in fetch.failure


@pytest.mark.parametrize("namespace", ["http://ed-fi.org/0220", "http://example.org/students"])
async def test_unknown_namespaces_are_named(tmp_path: Path, namespace: str) -> None:
    put(tmp_path, "Student", student("1"), namespace)
    fetch, rows = await fetched(tmp_path, "Student")
    assert rows == []
    assert f"its namespace is {namespace}; the Data Standards 3.3 to 5.2 are read" in fetch.failure


async def test_versions_in_between_are_read_and_noted(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Student", student("1"), "http://ed-fi.org/4.0.0")
    fetch, rows = await fetched(tmp_path, "Student")
    assert (len(rows), fetch.complete) == (1, True)
    assert fetch.notes == ["read as Ed-Fi Data Standard 4.0, which has not been tried"]


async def test_extensions_are_left_out_and_noted(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Student", student("1", '<x:Locker xmlns:x="http://elk.example/x">12</x:Locker>'))
    fetch, rows = await fetched(tmp_path, "Student")
    assert "Locker" not in rows[0].row
    assert fetch.notes == ["elements of the namespace http://elk.example/x were left out"]


async def test_secrets_never_leave_the_connector(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    number = (
        "<StudentIdentificationCode><IdentificationCode>078-05-1120</IdentificationCode>"
        "<StudentIdentificationSystem>uri://ed-fi.org/StudentIdentificationSystemDescriptor#SSN"
        "</StudentIdentificationSystem></StudentIdentificationCode>"
    )
    put(tmp_path, "Student", student("1", "<LoginPassword>P@ssword</LoginPassword>", number) + student("2", number))
    fetch, rows = await fetched(tmp_path, "Student")
    assert "P@ssword" not in repr((rows, fetch))
    assert "078-05-1120" not in repr((rows, fetch))
    assert fetch.notes == [
        "secrets dropped, of LoginPassword: 1",
        "secrets dropped, of StudentIdentificationCode: 2",
    ]


async def test_a_nil_element_is_none_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    put(tmp_path, "Student", student("1", '<A xsi:nil="true"/>', "<B/>", "<C> x </C>", "<D>1</D><D>2</D>"))
    _, (row,) = await fetched(tmp_path, "Student")
    assert [row.row[name] for name in "ABCD"] == [None, "", "x", ["1", "2"]]


async def test_a_section_gets_the_course_of_its_offering_however_that_is_referred_to(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "MasterSchedule", SECTION + OFFERING)
    fetch, (row,) = await fetched(tmp_path, "Section")
    course = {
        "CourseIdentity": {
            "CourseCode": "0310",
            "LocalEducationAgencyReference": {"LocalEducationAgencyIdentity": {"LocalEducationAgencyId": "9"}},
        }
    }
    assert row.row["CourseReference"] == course
    assert fetch.coverage.pairs == frozenset({("S.91", 2022)})


async def test_a_contact_is_a_row_for_each_of_its_students(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    alone = CONTACT.replace('id="C"', 'id="D"').replace("7", "8")
    put(tmp_path, "Contact", CONTACT + alone + ASSOCIATION.format("1", "C") + ASSOCIATION.format("2", "C"))
    fetch, rows = await fetched(tmp_path, "Contact")
    assert [row.row["StudentReference"] for row in rows] == [
        {"StudentIdentity": {"StudentUniqueId": number}} for number in "12"
    ]
    assert fetch.notes == ["contacts of no student of the folder, left out: 1"]


async def test_parents_of_older_standards_are_contacts(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    both = (CONTACT + ASSOCIATION.format("1", "C")).replace("Contact", "Parent")
    put(tmp_path, "Parent", both, "http://ed-fi.org/3.3.1-b")
    _, (row,) = await fetched(tmp_path, "Contact")
    assert row.row["ContactReference"] == {"ContactIdentity": {"ContactUniqueId": "7"}}
    assert row.row["Contact"] == {"ContactUniqueId": "7", "Name": {"FirstName": "Eve"}}


async def test_a_reference_to_nothing_is_noted_and_says_nothing(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Contact", CONTACT + ASSOCIATION.format("1", "nobody"))
    fetch, (row,) = await fetched(tmp_path, "Contact")
    assert (row.row["ContactReference"], "Contact" in row.row) == ("", False)
    assert "references to records that are not in their file: 1" in fetch.notes


async def test_a_folder_without_the_entity_fails_and_says_what_to_export(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert fetch.failure == "the folder has no file of InterchangeStudent; export it too"
    assert (await fetched(tmp_path, "Diploma"))[0].failure == "Ed-Fi interchange files carry no Diploma"


async def test_one_record_without_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edfi_xml, "ELEMENTS_PER_RECORD_MAX", 50)
    put(tmp_path, "Student", student("1") + student("2", "<A/>" * 60))
    fetch, _ = await fetched(tmp_path, "Student")
    assert (fetch.complete, fetch.failure) == (False, "Student.xml line 4: one record has more than 50 elements")


async def test_one_record_nested_without_end_fails(tmp_path: Path) -> None:
    put(tmp_path, "Student", student("1", "<A>" * 5_000 + "</A>" * 5_000))
    fetch, rows = await fetched(tmp_path, "Student")
    assert (fetch.complete, rows) == (False, [])
    assert fetch.failure.startswith("Student.xml line 3: ")


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8))
def test_whatever_happens_to_a_file_it_is_read_or_fails_and_never_raises(at: float, gone: int, come: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = put(Path(folder), "Student", student("1", '<A xsi:nil="true"/>') + student("2"))
        whole = path.read_bytes()
        cut = int(at * len(whole))
        path.write_bytes(whole[:cut] + come + whole[cut + gone :])
        fetch, _ = anyio.run(fetched, Path(folder), "Student")
    assert fetch.complete == (fetch.failure == "")


async def test_what_is_held_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edfi_joins, "HELD_MAX", 1)
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    put(tmp_path, "Student", student("1"))
    fetch, rows = await fetched(tmp_path, "Student")
    assert rows == []
    assert "more than 1 records to hold" in fetch.failure


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    put(tmp_path, "EducationOrganization", ORGANIZATIONS)
    peaks = []
    for count in (1_000, 5_000):
        put(tmp_path, "Student", "".join(student(str(n)) for n in range(count)))
        fetch = await EdfiFolder(tmp_path).fetch("Student")
        tracemalloc.start()
        async for _ in fetch.rows:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert fetch.complete
    assert peaks[1] < 1.5 * peaks[0]


async def test_it_is_only_read(tmp_path: Path) -> None:
    connector: Connector = EdfiFolder(tmp_path)
    assert connector.abilities == Abilities()
    assert (await connector.write("Student", Kind.UPDATE, "1", {}, None)).result == "refused"
    assert (await connector.fetch_by_id("Student", ["1"])).failure


@needs_grand_bend
class TestGrandBend:
    COUNTS = (
        ("SchoolAuthority", 1),
        ("School", 3),
        ("Course", 84),
        ("Student", 960),
        ("Staff", 68),
        ("Section", 532),
        ("StaffSection", 528),
    )

    @pytest.mark.parametrize("standard", ["ds3.3", "ds5.2"])
    @pytest.mark.parametrize(("entity", "count"), COUNTS)
    async def test_everything_is_read(self, standard: str, entity: str, count: int) -> None:
        fetch, rows = await fetched(GRAND_BEND / standard, entity)
        assert (fetch.complete, fetch.failure, fetch.notes, len(rows)) == (True, "", [], count)

    async def test_all_contacts_but_one_have_a_student(self) -> None:
        fetch, rows = await fetched(GRAND_BEND / "ds5.2", "Contact")
        assert len(rows) == 1872
        assert fetch.notes == ["contacts of no student of the folder, left out: 1"]
        assert rows[-1].place.startswith("Contact.xml line ")
        assert max(int(row.place.rpartition(" ")[2]) for row in rows) == 73128, "beyond what 16 bits count"

    async def test_a_real_file_cut_in_half_counts_for_nothing(self, tmp_path: Path) -> None:
        whole = (GRAND_BEND / "ds5.2" / "Student.xml").read_bytes()
        (tmp_path / "Student.xml").write_bytes(whole[: len(whole) // 2])
        fetch, rows = await fetched(tmp_path, "Student")
        assert (fetch.complete, rows) == (False, [])
        assert fetch.failure.startswith("Student.xml line 5560: it ends in the middle of a record")
