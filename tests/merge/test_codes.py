"""Codes that no list has: the fault names the very line to add, and that line cures it."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from homeroom_merge.formatters import edfi, oneroster, sds
from homeroom_merge.formatters.codes import Codes, Unreadable
from homeroom_merge.formatters.mapping import read_mapping
from homeroom_merge.settings.model import Connector, Feed, Hub, Settings
from homeroom_merge.sources.choosing import source_of
from homeroom_merge.sources.source import SourceError

LOADERS: dict[str, Callable[[Path | None], Codes]] = {
    "oneroster": oneroster.load_codes,
    "sds-v1": sds.load_codes,
    "sds-v2.1": sds.load_codes,
    "edfi": edfi.load_codes,
}
SHIPPED = {name: load(None) for name, load in LOADERS.items()}
SHORT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
LINE = re.compile(r'add the line (".*") = "the hub\'s word" to the table \[([^]]+)\] of (.*)')
MAPPING = (
    '[Student]\nfile = "p.csv"\nkey = ["Id"]\n[Student.fields]\nsex = {column = "Sex", codes = "Sex"}\n[codes.Sex]\n'
)


def lacking(codes: Codes, name: str, code: str) -> Unreadable:
    with pytest.raises(Unreadable) as fault:
        codes.word(name, code)
    return fault.value


@pytest.mark.parametrize("formatter", LOADERS)
@settings(max_examples=40, deadline=None)
@given(code=SHORT, data=st.data())
def test_the_line_that_a_fault_names_cures_it(formatter: str, code: str, data: st.DataObject) -> None:
    shipped, load = SHIPPED[formatter], LOADERS[formatter]
    name = data.draw(st.sampled_from(sorted(shipped.lists)))
    if formatter == "edfi":
        code = f"uri://elk.example/{name}#{re.sub(r'[^ -~]', 'é', code)}"
    assume(code not in shipped.lists[name])
    line = LINE.fullmatch(lacking(shipped, name, code).cure)
    assert line is not None
    assert (line[2], line[1].isprintable()) == (name, True)
    assert line[3] == 'a file of your own, which codes = "codes.toml" names under [connector]'
    with TemporaryDirectory() as folder:
        own = Path(folder) / "codes.toml"
        own.write_text(f'[{name}]\n{line[1]} = "word"\n', encoding="utf-8")
        assert load(own).word(name, code) == "word"


def test_a_long_code_is_not_repeated_and_its_line_is_named_by_its_form() -> None:
    fault = lacking(SHIPPED["oneroster"], "Grade", "Ada Bear, born on the second of March, of Elk")
    assert "Bear" not in fault.detail + fault.cure
    assert 'a line of the form "code" = "the hub\'s word" to the table [Grade]' in fault.cure


@given(code=SHORT)
def test_the_line_is_one_of_the_mapping_file_where_that_has_the_codes(code: str) -> None:
    row = {"Id": "1", "Sex": code}
    (fault,) = read_mapping(MAPPING, "elk.toml").formatters()["Student"].read(row).faults
    line = LINE.fullmatch(fault.cure)
    assert line is not None
    assert line.groups()[1:] == ("codes.Sex", "elk.toml")
    cured = read_mapping(f'{MAPPING}{line[1]} = "other"\n').formatters()["Student"].read(row)
    assert (cured.faults, cured.body) == ((), {"sex": "other"})


def settings_of(formatter: str, **options: str) -> Settings:
    kind = "edfi" if formatter == "edfi" else "csv"
    return Settings(Feed("elk", formatter, "A.9", ("S.91",)), Hub(""), Connector(kind, options), {}, {})


@pytest.mark.parametrize("formatter", LOADERS)
def test_a_file_of_ones_own_is_named_in_the_settings(tmp_path: Path, formatter: str) -> None:
    own = tmp_path / "codes.toml"
    own.write_text('[Sex]\nX = "other"\n[SexDescriptor]\n"uri://elk.example/SexDescriptor#X" = "other"\n')
    student = source_of(settings_of(formatter, folder=str(tmp_path), codes=str(own)), {}).formatters["Student"]
    if formatter == "edfi":
        row: dict[str, object] = {
            "StudentUniqueId": "1",
            "BirthData": {"BirthSex": "uri://elk.example/SexDescriptor#X"},
        }
        assert student.read(row).body["birthSex"] == "other"
    elif formatter != "sds-v1":
        assert student.read({"sourcedId": "1", "demographics": {"sex": "X"}}).body["sex"] == "other"
    else:
        (fault,) = student.read({"SIS ID": "1", "Grade": "Form 3"}).faults
        assert fault.cure.endswith("to the table [Grade] of codes.toml")


@pytest.mark.parametrize("text", ["[Sex]\nX = 1\n", "Sex", "[Sex]\nX = 'é'\n"])
def test_a_file_that_is_no_code_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "codes.toml").write_text(text, encoding="latin-1")
    with pytest.raises(SourceError, match=re.escape("codes.toml")):
        source_of(settings_of("oneroster", folder=str(tmp_path), codes=str(tmp_path / "codes.toml")), {})
