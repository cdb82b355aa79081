"""SIS doubles: each does what a real one does, with mishaps at will, and counts what was written."""

from pathlib import Path

import pytest

from homeroom_merge.connectors.connector import Connector, Fetch
from homeroom_merge.connectors.csv_free import free_form
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.mapping import read_mapping
from homeroom_merge.formatters.oneroster import load_codes
from homeroom_merge.plan import Kind
from homeroom_merge.testing import DROP_OFF, DropOffSis, Fault, MemorySis, SqlSis
from tests.merge.examples import DOUBLES

MAPPING = '[Student]\nfile = "pupils.csv"\nkey = ["Id"]\ncomplete = true\n[Student.fields]\nfirstName = "Given"\n'
PUPILS: dict[str, list[Row]] = {"Student": [{"Id": "7", "Given": "Ada"}, {"Id": "8", "Given": "Eve"}]}
FAULTS: dict[Fault, tuple[str, bool]] = {
    "transient": ("transient", False),
    "refused": ("refused", False),
    "unknownLost": ("unknown", False),
    "unknownWritten": ("unknown", True),
    "brokenLost": ("ConnectionResetError", False),
    "brokenWritten": ("ConnectionResetError", True),
}


async def rows_of(sis: Connector) -> tuple[Fetch, dict[object, object]]:
    fetch = await sis.fetch("Student")
    return fetch, {row.row["Id"]: row.row["Given"] async for row in fetch.rows}


async def update(sis: Connector, given: str) -> str:
    """What an update of pupil 7 comes to."""
    row, stands = {"Id": "7", "Given": given}, {"Id": "7", "Given": "Ada"}
    try:
        return (await sis.write("Student", Kind.UPDATE, "7", row, stands)).result
    except ConnectionResetError as error:
        return type(error).__name__


def drop_off(folder: Path) -> DropOffSis:
    sis = DropOffSis(folder, free_form(read_mapping(MAPPING)))
    for row in PUPILS["Student"]:
        sis.put("pupils.csv", **row)
    sis.export()
    return sis


@pytest.fixture(params=["memory", "sql", "dropOff"])
def sis(request: pytest.FixtureRequest, tmp_path: Path) -> MemorySis | SqlSis | DropOffSis:
    if request.param == "sql":
        return SqlSis(tmp_path / "sis.sqlite", PUPILS, key="Id")
    if request.param == "dropOff":
        return drop_off(tmp_path)
    memory = MemorySis(key="Id")
    for row in PUPILS["Student"]:
        memory.put("Student", str(row["Id"]), **row)
    return memory


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_write_comes_to_the_mishap_that_is_due_and_the_next_is_done(
    sis: MemorySis | SqlSis | DropOffSis, fault: Fault
) -> None:
    said, is_written = FAULTS[fault]
    sis.fail("7", fault)
    assert await update(sis, "Ida") == said
    if isinstance(sis, DropOffSis):
        sis.take()
        sis.export()
    assert (await rows_of(sis))[1]["7"] == ("Ida" if is_written else "Ada")
    assert sis.writes["7"] == int(is_written)
    assert (await update(sis, "Ida") == "moved") == (is_written and not isinstance(sis, DropOffSis))
    assert sis.tries == 2


async def test_one_that_is_down_is_neither_read_nor_written(sis: MemorySis | SqlSis | DropOffSis) -> None:
    sis.is_down = True
    assert await update(sis, "Ida") == "transient"
    with pytest.raises(ConnectionRefusedError):
        await sis.fetch("Student")
    sis.is_down = False
    assert len((await rows_of(sis))[1]) == 2
    assert sis.writes == {}


async def test_what_the_sis_itself_does_is_seen_and_does_not_count(tmp_path: Path) -> None:
    sis = SqlSis(tmp_path / "sis.sqlite", PUPILS, key="Id")
    sis.meanwhile = lambda key: sis.put("Student", key, Given="Ola")
    assert await update(sis, "Ida") == "moved"
    sis.remove("Student", "8")
    sis.put("Student", "9", Given="Ivy")
    assert (await rows_of(sis))[1] == {"7": "Ola", "9": "Ivy"}
    assert not sis.writes
    assert set(sis.rows("Student")) == {"7", "9"}
    await sis.close()


async def test_an_export_lags_behind_what_was_taken(tmp_path: Path) -> None:
    sis = drop_off(tmp_path)
    assert await update(sis, "Ida") == "done"
    sis.take()
    assert ((await rows_of(sis))[1]["7"], sis.writes) == ("Ada", {"7": 1})
    sis.export()
    assert (await rows_of(sis))[1]["7"] == "Ida"
    sis.ignored.add("7")
    await update(sis, "Eva")
    sis.take()
    sis.export()
    assert ((await rows_of(sis))[1]["7"], sis.writes) == ("Ida", {"7": 2})


async def test_a_cut_export_is_a_failure(tmp_path: Path) -> None:
    sis = drop_off(tmp_path)
    sis.export(cut=True)
    fetch, _ = await rows_of(sis)
    assert fetch.failure
    assert not fetch.complete


async def test_a_oneroster_export_has_its_manifest_and_takes_deletes(tmp_path: Path) -> None:
    sis = DropOffSis(tmp_path, oneroster(load_codes().lists))
    sis.put("orgs", sourcedId="o9", name="Elk", type="district", identifier="9")
    sis.put("orgs", sourcedId="o8", name="Owl", type="district", identifier="8")
    sis.export()
    fetch = await sis.fetch("SchoolAuthority")
    assert ([row.row["name"] async for row in fetch.rows], fetch.failure, fetch.complete) == (["Elk", "Owl"], "", True)
    assert (await sis.write("SchoolAuthority", Kind.DELETE, "o8", None, None)).result == "done"
    sis.take()
    assert sis.rows["orgs"].keys() == {"o9"}


def test_the_examples_of_the_docs_run(tmp_path: Path) -> None:
    names = {"MemorySis": MemorySis, "SqlSis": SqlSis, "DropOffSis": DropOffSis, "DROP_OFF": DROP_OFF}
    names |= {"free_form": free_form, "read_mapping": read_mapping}
    exec(DOUBLES, {**names, "tmp_path": tmp_path, "mapping": MAPPING})
    assert (tmp_path / "exports" / "pupils.csv").exists()
