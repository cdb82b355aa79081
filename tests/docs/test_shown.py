"""What pages show in passing works too: each command is typed where the tutorial has arrived at its conflict."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages
from tests.docs.session import Session

_TUTORIAL = ROOT / "docs/tutorial.md"
_READY = r"""
homeroom-merge worker > worker.log 2>&1 &
conflict() {
  sed -i "s/^8,[^,]*/8,Sis$((N += 1))/" export/pupils.csv
  VERSION=$(call get/Student '{"records": [{"id": "8"}]}' | grep -o '"coreVersion":[0-9]*' | grep -o '[0-9]*')
  call submit/Student '{"records": [{"id": "8", "expectedVersion": '$VERSION', "body":
    {"studentNumber": "8", "firstName": "Hub'$N'", "lastName": "Elk", "gradeLevel": "04"}}]}'
  homeroom-merge run --feed maple
}
last() {
  homeroom-merge runs --feed maple --json | grep -o '"run": "[^"]*", "entity": "Student"' | head -1 | cut -d'"' -f4
}
"""
_ELSEWHERE = re.compile(r"python -m (bench|tests)\b|\[--|make |homeroom conformance ")
"""Long, or the whole of the tests; or typed by tests/conformance."""
_IN_ITS_TERMS = (
    (r"https://core\.example(\.org)?|http://127\.0\.0\.1:8080", "http://localhost:8080"),
    (r"/srv/backups/homeroom", "backups"),
    (r"\bhr_…", "$(cat app.key)"),
    (r"HOMEROOM_KEY=\.\.\.", "HOMEROOM_KEY=$(cat merge.key)"),
    (r"> elk\.toml", "> another.toml"),
    (r"\belk\b", "maple"),
    (r"--rows pupils\.csv", "--rows export"),
    (r"\b(explain|decide) 17\b", r"\1 8"),
    (r"\bRUN\b", "$(last)"),
    (r"--sis-key 4711", "--sis-key 9"),
    (r"\berase-student 7f0c\.\.\.", "erase-student --yes 7"),
    (r"\berase-student 123456789", "erase-student --yes 9"),
    (r"CourseEnrolmentStatus\.2027", "Student"),
    (r"courseCode, count\(\*\) from CourseEnrolment_2027", "gradeLevel, count(*) from Student"),
    (r" \| password NAME.*", ""),
    (r"^homeroom-replica sync\b", "homeroom-replica sync --once"),
    (r"^homeroom user create", "echo otters swim at night | homeroom user create"),
    (r"^homeroom-merge secrets set", "cat merge.key | homeroom-merge secrets set"),
    (r"^homeroom-merge worker\b", "homeroom-merge worker > worker.log 2>&1 &"),
    (r"^homeroom-merge decide", "conflict; homeroom-merge decide"),
)
"""What a page made up is named as there, what never ends or asks is told not to, and a decision has its conflict."""


@pytest.mark.timeout(300)
def test_every_command_that_a_page_shows_works(folder: Path) -> None:
    session = Session(folder)
    try:
        for block in _to_the_conflict():
            session.follow(block)
        for command in _shown():
            session.follow(command)
    finally:
        session.end()


def _to_the_conflict() -> Iterator[Block]:
    for block in blocks(_TUTORIAL):
        if "homeroom-merge decide" in block.text:
            yield replace(block, text=_READY)
            return
        yield block


def _shown() -> Iterator[Block]:
    for page in pages():
        for block in blocks(page):
            if block.language == "console":
                lines = re.sub(r"\s*\\\n\s*", " ", block.text).splitlines()
                commands = [re.split(r"(?:^|\s+)#", line)[0].strip() for line in lines]
                yield from (replace(block, language="sh", text=_meant(each)) for each in commands if _is_typed(each))


def _is_typed(command: str) -> bool:
    return bool(command) and not _ELSEWHERE.match(command)


def _meant(command: str) -> str:
    for shown, meant in _IN_ITS_TERMS:
        command = re.sub(shown, meant, command)
    return command + "\n"
