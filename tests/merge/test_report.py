"""Reports: whatever the records say, they can be read by programs, spreadsheets and people, and harm none of them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema_rs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom_merge.plan import Change, Conflict, FieldChange, Kind, Write
from homeroom_merge.report.advice import advise, known_problems
from homeroom_merge.report.lines import NotAReportError, from_json, to_json
from homeroom_merge.report.model import (
    Outcome,
    Problem,
    RecordEntry,
    Report,
    Result,
    Status,
    Step,
    StepName,
    StepStatus,
    entry_of,
    status_of,
)
from homeroom_merge.report.page import FIELDS_MAX, SHOWN_MAX, to_html
from homeroom_merge.report.sheet import COLUMNS, plain, to_csv
from homeroom_merge.report.summary import EXAMPLES_MAX, GROUPS_MAX, alike, summarize
from homeroom_merge.values import ABSENT

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
STEPS = (
    Step(StepName.FETCH_HUB, StepStatus.OK, NOW, NOW + timedelta(seconds=2), {"records": 812}),
    Step(StepName.VERIFY, StepStatus.ISSUES, NOW, NOW, {"records": 812, "invalid": 3}, "3 records have faults"),
    Step(StepName.BACKUP),
)
REPORT = Report(
    "run-1", "maple-ridge", "Student", "nightly", Status.SUCCESS, NOW, NOW + timedelta(minutes=3), steps=STEPS
)
CONFLICT = Conflict("/addresses/[home]/city", 1, 2, 3, "entity manual")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\uff1d1",
    "a\r\nb",
)

texts = st.sampled_from(HOSTILE) | st.text(max_size=20)
whole_numbers = st.integers(-(2**53), 2**53)
json_values = st.recursive(
    st.none() | st.booleans() | whole_numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
values = st.just(ABSENT) | json_values
sides = st.sampled_from(["hub", "sis"])
bodies = st.dictionaries(texts, json_values, max_size=4)
changes = st.builds(
    Change,
    sis_key=st.none() | texts,
    hub_id=st.none() | texts,
    writes=st.lists(
        st.builds(Write, sides, st.sampled_from(Kind), st.none() | bodies, st.integers(0, 2**53)), max_size=2
    ).map(tuple),
    fields=st.lists(
        st.builds(FieldChange, texts, values, values, values, values, texts, st.lists(sides, max_size=2).map(tuple)),
        max_size=3,
    ).map(tuple),
    conflicts=st.lists(st.builds(Conflict, texts, values, values, values, texts), max_size=3).map(tuple),
    waits_for=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    note=texts,
    school=st.none() | texts,
    school_year=st.none() | st.integers(1990, 2100),
)
problems = st.builds(Problem, texts, texts, st.none() | sides, st.none() | st.integers(1000, 9999), texts)
entries = st.builds(
    entry_of,
    changes,
    st.sampled_from(Outcome),
    st.dictionaries(sides, st.tuples(st.sampled_from(Result), texts)),
    st.lists(problems, max_size=2),
    st.lists(texts, max_size=2),
)


@pytest.fixture(scope="module")
def validator() -> Any:
    text = resources.files("homeroom_merge.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    return jsonschema_rs.validator_for(orjson.loads(text), validate_formats=True)


def failed(number: int, message: str, code: int | None = None) -> RecordEntry:
    change = Change(f"S{number}", None)
    return entry_of(change, Outcome.FAILED, problems=[Problem(message, code=code, side="hub")])


def created(number: int) -> RecordEntry:
    change = Change(f"S{number}", None, (Write("hub", Kind.CREATE, {"grade": number}),))
    return entry_of(change, Outcome.DONE, {"hub": (Result.DONE, "")})


def reported(found: Sequence[RecordEntry], status: Status = Status.FINISHED_WITH_ISSUES) -> Report:
    return replace(REPORT, status=status, summary=summarize(found))


class Page(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.said))


class TestJson:
    @settings(max_examples=60)
    @given(found=st.lists(entries, max_size=3))
    def test_every_line_matches_the_schema_and_reads_back_as_it_was(
        self, validator: Any, found: list[RecordEntry]
    ) -> None:
        report = reported(found)
        lines = list(to_json(report, found))
        for line in lines:
            validator.validate(orjson.loads(line))
        again, records = from_json(lines)
        assert again == report
        assert list(records) == found

    def test_absent_and_null_stay_two_things(self) -> None:
        change = Change("S1", None, fields=(FieldChange("/a", ABSENT, None, "", 0, "sis", ("hub",)),))
        entry = entry_of(change, Outcome.DONE)
        _, line = to_json(REPORT, [entry])
        assert orjson.loads(line)["fields"] == [
            {"pointer": "/a", "decidedBy": "sis", "to": ["hub"], "sis": None, "hub": "", "outcome": 0}
        ]

    def test_records_are_written_and_read_one_by_one(self) -> None:
        taken: list[int] = []

        def source() -> Iterator[RecordEntry]:
            for number in range(1000):
                taken.append(number)
                yield created(number)

        lines = to_json(REPORT, source())
        _, records = from_json(lines)
        assert taken == []
        assert next(records).sis_key == "S0"
        assert taken == [0]

    def test_a_conditional_write_s_token_stays_here(self) -> None:
        entry = entry_of(Change("S1", None, (Write("sis", Kind.UPDATE, {}, token="etag-1"),)), Outcome.DONE)
        assert b"etag-1" not in b"".join(to_json(REPORT, [entry]))

    @pytest.mark.parametrize("lines", [[], [b"x"], [b"{}"], [b"[]"], [b'{"format": "homeroom-merge-report/2"}']])
    def test_what_is_no_report_is_refused(self, lines: list[bytes]) -> None:
        with pytest.raises(NotAReportError):
            from_json(lines)

    def test_lines_that_were_cut_are_noticed(self) -> None:
        lines = list(to_json(REPORT, [created(1), created(2)]))
        _, records = from_json([*lines[:2], lines[2][:50]])
        assert next(records).sis_key == "S1"
        with pytest.raises(NotAReportError, match="line 3"):
            next(records)


class TestCsv:
    @given(found=st.lists(entries, max_size=3))
    def test_a_row_a_record_and_no_cell_is_a_formula(self, found: list[RecordEntry]) -> None:
        text = "".join(to_csv(found))
        head, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
        assert head == list(COLUMNS)
        assert len(rows) == len(found)
        assert not [cell for row in rows for cell in row if cell.lstrip().startswith(tuple("=+-@"))]
        assert not [cell for row in rows for cell in row if cell.startswith(("\t", "\r", "\n"))]

    @pytest.mark.parametrize(
        ("cell", "shown"),
        [
            ("=1", "'=1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=1", "'\t=1"),
            (" =1", "' =1"),
            ("a=1", "a=1"),
        ],
    )
    def test_an_apostrophe_goes_before_a_formula(self, cell: str, shown: str) -> None:
        assert plain(cell) == shown


class TestHtml:
    @settings(max_examples=60, deadline=None)
    @given(found=st.lists(entries, max_size=3))
    def test_hostile_text_stays_text(self, found: list[RecordEntry]) -> None:
        page = Page(to_html(reported(found), found))
        assert not page.tags & {"script", "img", "iframe", "link", "object", "svg", "a", "form"}
        assert not [name for name in page.attributes if name.startswith("on") or name in ("src", "href")]

    def test_hostile_text_is_shown_as_it_is(self) -> None:
        found = [failed(number, text) for number, text in enumerate(HOSTILE)]
        report = replace(
            reported(found), feed=HOSTILE[0], notes=HOSTILE, guard_reasons=HOSTILE, overrides={"a": HOSTILE[1]}
        )
        text = to_html(report, found)
        assert "<script>" not in text
        assert HOSTILE[0] in Page(text).text
        assert "{{ 7 * 7 }}" in Page(text).text

    def test_it_says_what_needs_a_person(self) -> None:
        conflict = entry_of(Change("S2", None, conflicts=(CONFLICT,)), Outcome.CONFLICT)
        found = [failed(1, "not authorised", 9020), conflict, created(3)]
        said = Page(to_html(reported(found), found)).text
        assert "Done, but some records need you 1 · Both sides changed it 1 · Could not be written" in said
        assert "The school may not write this record · 1 time" in said
        assert "Conflicts by field: /addresses/$/city 1" in said
        assert "New 1 0" in said

    def test_a_success_asks_nothing_of_anybody(self) -> None:
        found = [created(1)]
        said = Page(to_html(reported(found, Status.SUCCESS), found)).text
        assert "All went well" in said
        assert "What needs you" not in said

    def test_a_held_plan_tells_why_and_what_it_would_do(self) -> None:
        found = [entry_of(Change("S1", "h1", (Write("hub", Kind.DELETE, None),)), Outcome.PLANNED)]
        report = replace(
            reported(found, Status.HELD), guard_reasons=("12 deletes: 40.0 % of 30 records, more than 10 %",)
        )
        said = Page(to_html(report, found)).text
        assert "Held: nothing was written, and a person has to look 12 deletes: 40.0 %" in said
        assert "Planned On the hub In the SIS Deleted 1 0" in said

    def test_of_each_group_only_so_many_are_shown_and_it_says_so(self) -> None:
        found = [created(number) for number in range(20 * SHOWN_MAX)]
        text = to_html(reported(found), iter(found))
        assert text.count('<details class="record">') == SHOWN_MAX
        assert f"The first {SHOWN_MAX} of {20 * SHOWN_MAX:,} are shown here" in Page(text).text

    def test_long_values_and_many_fields_are_cut_and_it_says_so(self) -> None:
        fields = tuple(FieldChange(f"/f{n}", "x" * 10_000, ABSENT, None, "", "sis", ("hub",)) for n in range(500))
        change = Change("S1", None, (Write("hub", Kind.UPDATE, {"note": "y" * 100_000}),), fields)
        text = to_html(REPORT, [entry_of(change, Outcome.DONE)])
        assert len(text) < 50_000
        assert f"The first {FIELDS_MAX} of 500 fields." in text
        assert "… (10,000 characters)" in text
        assert "(absent)" in text
        assert "(null)" in text
        assert "(empty)" in text

    def test_a_whole_page_as_a_message_stays_small(self) -> None:
        found = [failed(number, f"{chr(97 + number)} <html>" * 100_000) for number in range(5)]
        assert len(to_html(reported(found), found)) < 50_000

    def test_it_needs_nothing_from_outside(self) -> None:
        text = to_html(REPORT, [])
        assert "default-src 'none'" in text
        assert "http:" not in text
        assert "https:" not in text

    def test_every_element_is_closed(self) -> None:
        found = [created(1), failed(2, "busy"), entry_of(Change("S3", None, conflicts=(CONFLICT,)), Outcome.CONFLICT)]
        assert Page(to_html(reported(found), found)).open == []

    def test_times_are_those_of_the_feed(self) -> None:
        assert "2026-11-22 01:30:00" in to_html(REPORT, [], ZoneInfo("America/Edmonton"))


class TestSummary:
    def test_failures_that_say_the_same_are_one_group(self) -> None:
        messages = [f'record 7f3c2d10-0000-4000-8000-{n:012d} of "Ann {n}" is not of S.{n}' for n in range(50)]
        (group,) = summarize(failed(n, message) for n, message in enumerate(messages)).failures
        assert group.message == "record … of … is not of …"
        assert group.count == 50
        assert group.examples == tuple(f"S{n}" for n in range(EXAMPLES_MAX))

    def test_fields_and_codes_keep_groups_apart(self) -> None:
        messages = [
            ('"firstName" is a required property', 9040),
            ('"lastName" is a required property', 9040),
            ("busy", 2001),
        ]
        found = [failed(n, message, code) for n, (message, code) in enumerate(messages)]
        assert len(summarize(found).failures) == 3

    def test_a_flood_of_different_failures_is_bounded(self) -> None:
        words = ("".join(chr(97 + int(digit)) for digit in str(n)) for n in range(3 * GROUPS_MAX))
        groups = summarize(failed(n, word) for n, word in enumerate(words)).failures
        assert len(groups) == GROUPS_MAX + 1
        assert groups[0].message == "other failures"
        assert sum(group.count for group in groups) == 3 * GROUPS_MAX

    def test_a_failed_write_counts_without_more_being_said(self) -> None:
        change = Change("S1", None, (Write("sis", Kind.UPDATE, {}),))
        (group,) = summarize([entry_of(change, Outcome.FAILED, {"sis": (Result.REFUSED, "no")})]).failures
        assert (group.message, group.side) == ("no", "sis")

    def test_conflicts_are_counted_by_field_and_writes_by_result(self) -> None:
        found = [entry_of(Change("S1", None, conflicts=(CONFLICT,)), Outcome.CONFLICT), created(2), created(3)]
        summary = summarize(found)
        assert summary.fields == {"/addresses/$/city": 1}
        assert summary.writes == {"hub create done": 2}
        assert summary.outcomes == {"conflict": 1, "done": 2}

    @given(texts, texts)
    def test_what_differs_is_left_out_once_and_for_all(self, one: str, other: str) -> None:
        assert alike(alike(one)) == alike(one)
        assert len(alike(one + " " + other)) <= len(one) + len(other) + 1


class TestAdvice:
    @pytest.mark.parametrize(
        ("message", "code", "title"),
        [
            ("anything", 9020, "The school may not write this record"),
            ("HTTP 401", None, "The SIS did not let us in"),
            ("connection timed out", None, "The other system could not be reached"),
            ('"firstName" is a required property', None, "A required field is empty"),
            ("its key is also that of Student.csv row 3", None, "The same key is used twice"),
        ],
    )
    def test_known_problems_are_known(self, message: str, code: int | None, title: str) -> None:
        advice = advise(known_problems(), message, code)
        assert advice is not None
        assert advice.title == title

    def test_what_nobody_knows_gets_no_advice(self) -> None:
        assert advise(known_problems(), "the cat sat on it") is None

    def test_the_core_s_numbers_come_before_words(self) -> None:
        advice = advise(known_problems(), "timeout", 9030)
        assert advice is not None
        assert "school year" in advice.title


@pytest.mark.parametrize(
    ("steps", "outcomes", "status"),
    [
        ((StepStatus.OK,), {"done": 3}, Status.SUCCESS),
        ((StepStatus.OK,), {"done": 3, "waits": 1}, Status.FINISHED_WITH_ISSUES),
        ((StepStatus.ISSUES,), {}, Status.FINISHED_WITH_ISSUES),
        ((StepStatus.ISSUES, StepStatus.FAILED), {"done": 3}, Status.FAILED),
    ],
)
def test_a_run_stands_as_its_steps_and_records_do(
    steps: tuple[StepStatus, ...], outcomes: dict[str, int], status: Status
) -> None:
    assert status_of([Step(StepName.MERGE, each) for each in steps], outcomes) is status
