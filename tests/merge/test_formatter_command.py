"""`homeroom-merge formatter test`, and formatters of a school's own, as an administrator meets them."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from homeroom_merge.command import app
from homeroom_merge.formatters.mapping import read_mapping
from homeroom_merge.settings.start import as_toml
from homeroom_merge.testing import SqlSis
from homeroom_merge.trial import tried
from tests.merge.examples import MAPPING, OWN

TITLES = (
    "Pupil No;Given;Family;Born;Sex;Form;Leaves;School;Hispanic;Races;Second;Called;Called 2;E-Mail;Locker;Password"
)
ADA = "7;Ada;Bear;02.03.2014;F;Form 4;2032;91;N;W;;Mary;Ann;ada@elk.example;12;hunter22"
TABLES = '[Student]\nfile = "pupils.csv"\nkey = ["No"]\nschool = "S.91"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    put(tmp_path, ADA)
    return tmp_path


def put(folder: Path, *rows: str) -> None:
    (folder / "pupils.csv").write_text("\n".join([TITLES, *rows, ""]), encoding="utf-8")


def do(folder: Path, *arguments: str, exit_code: int = 0) -> str:
    """What the command says, on both its outputs."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, ["formatter", "test", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


def told(folder: Path, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    (line,) = do(folder, *arguments, "--json", exit_code=exit_code).splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_is_shown_through_both_ways_and_what_would_be_lost(folder: Path) -> None:
    said = do(folder, "mapping.toml", "--rows", "pupils.csv")
    for shown in ("key 7", "preferredFirstName", "Mary-Ann", "02.03.2014", "2014-03-02", "1 records, 0 with faults"):
        assert shown in said
    assert "Locker: does not come back from the hub as it was, in 1 records" in said
    assert "carried, and said by no record: middleName" in said
    assert "hunter22" not in said
    found = told(folder, "mapping.toml")
    (shown,) = found["shown"]
    assert (found["records"], found["withFaults"], found["lost"]) == (1, 0, {"Locker": 1})
    assert (shown["row"]["Born"], shown["body"]["birthDate"], shown["back"]["Born"]) == (
        *("02.03.2014", "2014-03-02"),
        "02.03.2014",
    )


def test_faults_are_grouped_over_the_whole_file_with_their_cure(folder: Path) -> None:
    rows = [ADA.replace("7;Ada", f"{number};Ada") for number in range(10, 20)]
    bad = [ADA.replace("7;Ada", f"{number};Ada").replace(";F;", ";X;") for number in range(20, 25)]
    put(folder, *rows, *bad, rows[0])
    found = told(folder, "mapping.toml", "--limit", "2", exit_code=1)
    assert (found["records"], found["withFaults"], len(found["shown"])) == (16, 6, 2)
    code, twin = found["faults"]
    assert (code["pointer"], code["count"], code["places"][0]) == ("/sex", 5, "pupils.csv row 12")
    assert code["cure"] == 'add the line "X" = "the hub\'s word" to the table [codes.Sex] of mapping.toml'
    assert (twin["detail"], twin["count"]) == ("its key is also that of an earlier record", 1)
    assert '5 x /sex the code list Sex does not have "X"; add the line' in do(folder, "mapping.toml", exit_code=1)
    (shown,) = told(folder, "mapping.toml", "--key", "22", exit_code=1)["shown"]
    assert (shown["place"], shown["back"]) == ("pupils.csv row 14", None)
    assert "no record has the key 99" in do(folder, "mapping.toml", "--key", "99", exit_code=1)


def test_settings_name_the_connector_and_the_entities(folder: Path) -> None:
    (folder / "elk.toml").write_text(settings(folder, "mapping"))
    assert told(folder, "elk.toml")["records"] == 1
    (folder / "elk.toml").write_text(settings(folder, "sds-v1"))
    found = told(folder, "elk.toml", exit_code=1)
    assert found["failure"] == "there is no Student.csv; export it too, or name it as it is called"
    assert "carries no Staff; there are" in do(folder, "elk.toml", "--entity", "Staff", exit_code=1)
    assert "leave out --rows" in do(folder, "elk.toml", "--rows", "pupils.csv", exit_code=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Student", "this is not TOML"),
        ('[Student]\nfile = "p.csv"\n', 'write key = ["Id"]'),
        ("[feed]\n", "write [entity.Student]"),
        ("# é\n[feed]\n", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_with_the_cure(folder: Path, text: str, said: str) -> None:
    (folder / "wrong.toml").write_text(text, encoding="latin-1")
    assert said in do(folder, "wrong.toml", exit_code=1)


def test_what_a_terminal_would_obey_is_escaped(folder: Path) -> None:
    put(folder, ADA.replace("Ada;", "Ada\x1b[2J\x9b2J;"))
    said = do(folder, "mapping.toml")
    assert "\\x1b[2J\\x9b2J" in said
    assert "\x1b[2J" not in said


def settings(folder: Path, formatter: str) -> str:
    text = as_toml("csv", "elk", "A.9", ["S.91"], ["Student"])
    text = text.replace('formatter = "oneroster"', f'formatter = "{formatter}"')
    return text.replace("/srv/sis-exports", str(folder)).replace(
        '# mapping = ""', f'mapping = "{folder / "mapping.toml"}"'
    )


def install(folder: Path, name: str, code: str, value: str = "elk_sis:formatters") -> None:
    """A package with a formatter, as pip leaves it."""
    (folder / "elk_sis.py").write_text(code, encoding="utf-8")
    sys.modules.pop("elk_sis", None)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[homeroom_merge.formatters]\nelk = {value}\n")


class TestOwn:
    @pytest.fixture(autouse=True)
    def own(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # another text of the same second and size is another
        (folder / "elk.toml").write_text(settings(folder, "elk"))
        (folder / "mapping.toml").write_text(TABLES)
        (folder / "pupils.csv").write_text('No,Name,Locker\n7,"Bear, Ada",4\n8,"Elk, Eve",5\n')

    def test_a_formatter_of_a_schools_own_is_found_by_its_name(self, folder: Path) -> None:
        install(folder, "elk_sis", OWN)
        found = told(folder, "elk.toml")
        assert (found["records"], found["withFaults"], found["lost"]) == (2, 0, {"Locker": 2})
        assert found["shown"][0]["body"] == {"lastName": "Bear", "firstName": "Ada"}

    def test_one_that_is_not_installed_is_named_with_the_cure(self, folder: Path) -> None:
        said = do(folder, "elk.toml", exit_code=1)
        assert "the formatter elk is not installed: pip install the package that has it" in said

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("import nowhere", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
            ("def formatters(): return [1]", "returns list: return a mapping from entity to formatter"),
            ("def formatters(): return {}", "with one at least"),
            ("def formatters(): return {'Student': 1}", "returns for Student what has no read and write"),
            (OWN.replace('entity = "Student"', 'entity = "Staff"'), "set entity = 'Student'"),
            (OWN.replace("fields = frozenset", "fields = list"), "set fields = frozenset"),
        ],
    )
    def test_what_is_no_formatter_is_refused_and_says_why(self, folder: Path, code: str, said: str) -> None:
        install(folder, "elk_sis", code)
        assert said in do(folder, "elk.toml", exit_code=1)

    def test_two_of_a_name_are_refused(self, folder: Path) -> None:
        install(folder, "elk_sis", OWN)
        install(folder, "elk_too", OWN, "elk_sis:others")
        assert "uninstall all but one" in do(folder, "elk.toml", exit_code=1)

    def test_one_that_breaks_its_promises_is_a_fault_and_no_traceback(self, folder: Path) -> None:
        install(folder, "elk_sis", OWN.replace("body.get('lastName', '')", "'Wolf'"))
        found = told(folder, "elk.toml", exit_code=1)
        assert found["withFaults"] == 2
        assert found["faults"][0]["detail"] == "/lastName is read otherwise than it was written"
        install(folder, "elk_sis", OWN.replace('row.get("No"), row.get("Name")', 'row["Number"], 1'))
        assert told(folder, "elk.toml", exit_code=1)["faults"][0]["detail"].startswith("read raised KeyError")


async def test_secrets_of_a_database_are_not_shown_wherever_they_stand(tmp_path: Path) -> None:
    row = {"No": "7", "Given": "hunter22", "Sex": "hunter33", "Password": "hunter22", "api_key": "hunter33"}
    text = (
        '[Student]\nfile = "p"\nkey = ["No"]\n[Student.fields]\nfirstName = "Given"\n'
        'sex = {column = "Sex", codes = "Sex"}\n[codes.Sex]\nF = "female"\n'
    )
    formatter = read_mapping(text).formatters()["Student"]
    sis = SqlSis(tmp_path / "sis.sqlite", {"Student": [row, {**row, "No": "8", "Sex": "F"}]}, key="No")
    found = await tried(formatter, await sis.fetch("Student"))
    await sis.close()
    assert "hunter" not in repr(found)
    assert [fault.detail for trial in found.shown for fault in trial.faults] == [
        'the code list Sex does not have "…"',
        "a secret is in what was read",
    ]
