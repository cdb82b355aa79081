"""docs/protocol.md against the code: its codes, and the vectors that others test themselves with."""

import json
import re
from typing import Any

import pytest

from homeroom import errors, version_hash
from homeroom.errors import MEANINGS
from homeroom.reconciliation import fingerprint, fingerprint_halves
from tests.docs.pages import ROOT

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "docs" / "vectors.json").read_text(encoding="utf-8"))
_ROW = re.compile(r"^\| (\d+) \| (\d+|rejection) \| (\w+) \|", re.MULTILINE)


def test_every_code_stands_in_the_table_as_it_is_answered() -> None:
    rows = _ROW.findall((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))
    rejection = 200
    said = [(int(code), rejection if status == "rejection" else int(status), action) for code, status, action in rows]
    assert said == [(code.value, meaning.status, meaning.action) for code, meaning in MEANINGS.items()]


def test_the_tree_of_errors_names_each_code_under_its_action() -> None:
    assert errors.__doc__ is not None
    drawn: dict[int, str] = {}
    current = ""
    for line in errors.__doc__.splitlines():
        action = re.search(r"action (\w+)", line)
        current = action[1] if action else current
        drawn |= dict.fromkeys(map(int, re.findall(r"\b\d{4,5}\b", line)), current)
    assert drawn == {code.value: meaning.action for code, meaning in MEANINGS.items()}


@pytest.mark.parametrize("vector", VECTORS["versionHash"], ids=str)
def test_the_client_makes_each_hash(vector: dict[str, Any]) -> None:
    versions = vector.get("versions") or range(vector.get("versionsFrom", 0), vector.get("versionsTo", -1) + 1)
    assert version_hash(versions) == vector["hash"]


@pytest.mark.parametrize("vector", VECTORS["fingerprint"], ids=str)
def test_the_client_makes_each_fingerprint(vector: dict[str, Any]) -> None:
    halves = [fingerprint_halves(each["id"], each["coreVersion"]) for each in vector["records"]]
    assert fingerprint(sum(high for high, _ in halves), sum(low for _, low in halves)) == vector["fingerprint"]
