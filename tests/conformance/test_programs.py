"""The programs that /docs gives away are clients as others are: they pass what a vendor's client has to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import homeroom_server
from tests.processes import HOMEROOM

PROGRAMS = Path(homeroom_server.__file__).parent / "reference" / "snippets"


@pytest.mark.parametrize("program", [f"{sys.executable} {{}}/follow.py", "node {}/follow.mjs"])
def test_a_program_that_follows_passes_every_case_of_reading(program: str) -> None:
    command = f"sh -c 'exec {program.format(PROGRAMS)} $HOMEROOM_TYPES'"
    options = ("--read-only", "--at-once", "4", "--json", "--command", command)
    done = subprocess.run([HOMEROOM, "conformance", "client", *options], capture_output=True, text=True, timeout=110)
    verdicts = json.loads(done.stdout)["verdicts"]
    assert [verdict for verdict in verdicts if verdict["outcome"] == "failed"] == []
    assert sum(verdict["outcome"] == "passed" for verdict in verdicts) == 20
