"""What suites say of what they found."""

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import orjson
from rich.console import Console

from homeroom_server.conformance.report import Outcome, Report, Verdict, as_html, as_json, show

PASSED = Verdict("a-case", "Something holds.", "protocol 3", Outcome.PASSED, "", 0.25)
FAILED = Verdict("another", "More holds.", "protocol 4", Outcome.FAILED, 'expected 1, seen "<b>[red]2"', 1.0)
SKIPPED = Verdict("a-third", "It holds.", "protocol 5", Outcome.SKIPPED, "give --other-key", 0.0)
BEGUN_AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
REPORT = Report("Core", "http://core.example", BEGUN_AT, [PASSED, FAILED, SKIPPED])


def test_a_report_is_passed_if_something_passed_and_nothing_failed() -> None:
    assert replace(REPORT, verdicts=[PASSED, SKIPPED]).passed
    assert not REPORT.passed
    assert not replace(REPORT, verdicts=[SKIPPED]).passed
    assert not replace(REPORT, verdicts=[]).passed


def test_machines_are_told_everything() -> None:
    told = orjson.loads(orjson.dumps(as_json(REPORT)))
    assert (told["suite"], told["subject"], told["passed"]) == ("Core", "http://core.example", False)
    assert told["begunAt"] == "2026-11-23T09:30:00.000Z"
    assert told["verdicts"][1] == {
        "case": "another",
        "title": "More holds.",
        "section": "protocol 4",
        "outcome": "failed",
        "said": 'expected 1, seen "<b>[red]2"',
        "seconds": 1.0,
    }


def test_the_page_takes_no_text_for_markup_and_loads_nothing() -> None:
    page = as_html(REPORT)
    assert "&lt;b&gt;[red]2" in page
    assert "<b>[red]" not in page
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("src=", "href=", "url(", "@import", "<script"))


def test_the_page_says_the_outcome_in_words_and_what_it_says_nothing_of() -> None:
    assert "✗ Not passed" in as_html(REPORT)
    passed = as_html(replace(REPORT, verdicts=[PASSED, SKIPPED]))
    assert "✓ Passed" in passed
    assert "this page says nothing of it" in passed
    assert "give --other-key" in passed


def test_the_table_shows_what_was_seen_as_it_is() -> None:
    console = Console(file=StringIO(), width=200)
    show(REPORT, console)
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert 'expected 1, seen "<b>[red]2"' in shown
    assert "Core http://core.example: not passed (1 passed, 1 failed, 1 skipped)" in shown
