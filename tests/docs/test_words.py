"""One word for each thing, spelled one way."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, prose

_NOT_PROSE = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>]*>")

WORDS = {
    r"organization": "organisation",
    r"enrollment(?!s, by role)": "enrolment; enrollment in names of formats alone",
    r"behavior|\bcolor|\bcatalog\b|\bcenter": "British spelling",
    r"\b(?:author|normal|serial|initial|recogn|summar)iz": "British spelling: -ise",
    r"\blicense": "licence",
    r"\bPostgres\b|PostgresSQL|postgresql": "PostgreSQL",
    r"\bEdfi|\bEdFi|\bEd-fi": "Ed-Fi",
    r"\bOneroster|\bOne Roster": "OneRoster",
    r"\bGithub|\bJson\b|\bSqlite\b|\bsqlite\b": "as its makers write it",
    r"\bHomeroom\b(?!-)": "homeroom, at the beginning of a sentence, too",
    r"\btimeout": "time-out",
    r"\bfailover": "fail-over",
    r"\bstand-by": "standby",
    r"\bweb[ -]hook": "webhook",
    r"\bemail": "e-mail",
    r"\btoo many request\b|\brecieve|\bseperate|\boccured\b|\bteh\b": "a slip of the fingers",
}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_words_are_those_of_the_house(page: Path) -> None:
    text = _NOT_PROSE.sub(" ", prose(page))
    found = [(match[0], right) for wrong, right in WORDS.items() for match in re.finditer(wrong, text)]
    assert found == []
