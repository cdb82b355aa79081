"""The suite that schools import: green for the example of the docs, red for each promise that is broken."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.formatters import Fault, Formatter, Reading, Row
from homeroom_merge.testing import FormatterSuite
from homeroom_merge.values import Json
from tests.merge.examples import OWN, SUITE

NAME = st.from_regex(r"[A-Z][a-zé' -]{0,10}[a-z]", fullmatch=True)
SCHEMA = {"type": "object", "properties": {name: {"type": "string"} for name in ("firstName", "lastName", "house")}}
CHECKS = sorted(name for name in vars(FormatterSuite) if name.startswith("test_"))
example: dict[str, Any] = {}
exec(OWN, example)  # what the docs say, as a school would have it
Pupils: type[Formatter] = example["Pupils"]
Read = Callable[[Row, Reading], Reading]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Two pupils at least, all of other numbers, names and lockers."""
    numbers = draw(st.lists(st.integers(1, 9999), min_size=2, max_size=4, unique=True))
    names = draw(st.lists(st.tuples(NAME, NAME), min_size=4, max_size=4, unique=True))
    return [
        {"No": str(number), "Name": f"{last}, {first}", "Locker": str(number + 1), "Password": f"hunter{number:05}"}
        for number, (last, first) in zip(numbers, names, strict=False)
    ]


def red(formatter: Formatter, rows: Sequence[Row], tests: Sequence[str] = CHECKS) -> set[str]:
    """Those of these tests of the suite that fail."""
    suite = FormatterSuite()
    suite.formatter, suite.rows, suite.schema = formatter, rows, SCHEMA
    suite.bodies = {str(rows[0]["No"]): {"firstName": "Ida"}, "77777": {"firstName": "Ida", "lastName": "Wolf"}}
    suite.secrets = [str(row["Password"]) for row in rows]
    return {name for name in tests if _fails(getattr(suite, name))}


def _fails(test: Callable[[], None]) -> bool:
    try:
        test()
    except AssertionError:
        return True
    return False


class Broken:
    """The example with one promise broken."""

    def __init__(self, read: Read | None = None, write: Callable[[str, Json, Row | None], Row] | None = None) -> None:
        self.entity, self.good = "Student", Pupils()
        self.fields = self.good.fields | {"house"}
        self._read, self._write = read, write

    def read(self, row: Row) -> Reading:
        reading = self.good.read(row)
        return self._read(row, reading) if self._read and reading.key else reading

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        return self._write(key, body, row) if self._write else self.good.write(key, body, row)


def says(**members: object) -> Read:
    """It reads members that are not there."""
    covers = frozenset(members)
    return lambda row, read: replace(read, body={**read.body, **members}, covered=read.covered | covers)


def write(key: str, body: Json, row: Row | None) -> Row:
    return Pupils().write(key, body, row)


def scribble(key: str, body: Json, row: Row | None) -> Row:
    if isinstance(row, dict):
        row["Name"] = row.get("Name")
        row["Seen"] = "yes"
    return write(key, body, row)


def empty_the_body(key: str, body: Json, row: Row | None) -> Row:
    written = write(key, body, row)
    body.pop("firstName", None)
    return written


class Counting(Broken):
    """It says something else each time."""

    def read(self, row: Row) -> Reading:
        self.count = getattr(self, "count", 0) + 1
        reading = self.good.read(row)
        return replace(reading, key=f"{reading.key}{self.count}") if reading.key else reading


class Raising(Broken):
    def read(self, row: Row) -> Reading:
        str(row["Name"]).index(", ")
        return self.good.read(row)


class Keyless(Broken):
    def read(self, row: Row) -> Reading:
        reading = self.good.read(row)
        return replace(reading, key="", faults=())


class Silent(Broken):
    def read(self, row: Row) -> Reading:
        reading = self.good.read(row)
        return replace(reading, faults=tuple(Fault("firstName", "") for _ in reading.faults))


def old_row(key: str, body: Json, row: Row | None) -> Row:
    return row if row is not None else write(key, body, None)


def raising(key: str, body: Json, row: Row | None) -> Row:
    raise KeyError("Name")


READ, KEYS = "test_its_rows_are_read_without_a_fault", "test_each_row_has_a_key_of_its_own"
ALIKE, AGAIN = (
    "test_what_is_read_is_written_and_read_alike",
    "test_what_the_hub_says_is_written_and_read_again",
)
CHANGES, STAYS = "test_what_the_hub_changes_or_takes_away_is_written", "test_what_the_hub_does_not_carry_stays"
PURE, NONSENSE = "test_what_it_is_given_stays_as_it_is", "test_nonsense_becomes_faults_and_never_raises"
SECRET, SCHEMATIC = "test_no_secret_is_read", "test_what_is_read_fits_the_schema"
PLANTED: Mapping[str, tuple[Callable[[], Formatter], str]] = {
    "a fault where all is right": (
        lambda: Broken(lambda row, read: replace(read, faults=(Fault("/firstName", "is odd"),))),
        READ,
    ),
    "what it does not cover": (lambda: Broken(lambda row, read: replace(read, covered=frozenset())), READ),
    "a stranger covered": (lambda: Broken(lambda row, read: replace(read, covered=read.covered | {"x"})), READ),
    "a stranger in the body": (lambda: Broken(lambda row, read: replace(read, body={**read.body, "x": 1})), READ),
    "a key that is no code": (lambda: Broken(lambda row, read: replace(read, key=f"no {read.key}")), READ),
    "a day that is no JSON": (lambda: Broken(says(house=date(2026, 1, 1))), READ),
    "a number that is no JSON": (lambda: Broken(says(house=float("nan"))), READ),
    "neither key nor fault": (Keyless, READ),
    "one key for all": (lambda: Broken(lambda row, read: replace(read, key="7")), KEYS),
    "a member never written": (lambda: Broken(says(house="Raven"), lambda k, b, r: write(k, {}, r)), ALIKE),
    "nothing written": (lambda: Broken(write=lambda key, body, row: {"No": key}), AGAIN),
    "nothing written anew": (lambda: Broken(write=old_row), CHANGES),
    "write raises": (lambda: Broken(write=raising), ALIKE),
    "the rest of the row dropped": (lambda: Broken(write=lambda key, body, row: write(key, body, None)), STAYS),
    "the row scribbled on": (lambda: Broken(write=scribble), PURE),
    "the body scribbled on": (lambda: Broken(write=empty_the_body), PURE),
    "another answer each time": (Counting, PURE),
    "read raises": (Raising, NONSENSE),
    "a fault that says nothing": (Silent, NONSENSE),
    "a secret in the body": (lambda: Broken(lambda row, read: says(house=row.get("Password"))(row, read)), SECRET),
    "what the schema does not know": (lambda: Broken(says(house=7)), SCHEMATIC),
}


@settings(max_examples=3, deadline=None)
@given(rows=rows())
def test_the_example_of_the_docs_keeps_every_promise(rows: list[Row]) -> None:
    assert red(Pupils(), rows) == set()


@pytest.mark.parametrize("planted", PLANTED)
@settings(max_examples=3, deadline=None)
@given(rows=rows())
def test_a_broken_promise_turns_its_test_red(planted: str, rows: list[Row]) -> None:
    make, named = PLANTED[planted]
    assert red(make(), rows, [named]) == {named}


def test_there_is_a_breakage_for_each_test_of_the_suite() -> None:
    assert {named for _, named in PLANTED.values()} == set(CHECKS)


def test_a_suite_without_rows_is_red() -> None:
    suite = FormatterSuite()
    suite.formatter, suite.rows = Pupils(), ()
    with pytest.raises(AssertionError, match="give the suite rows"):
        suite.test_its_rows_are_read_without_a_fault()


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_a_school_runs_it_with_pytest(tmp_path: Path, broken: bool, code: int) -> None:
    text = f"{OWN}\n\n{SUITE}"
    (tmp_path / "test_pupils.py").write_text(text.replace("**(row or {}), ", "") if broken else text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pupils.py"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    said = "1 failed, 9 passed" if broken else "10 passed"
    assert said in done.stdout
    assert ("is lost from the row: Locker" in done.stdout) == broken
