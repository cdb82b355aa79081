"""The manifest of a OneRoster export: which files there are, and whether each is whole or holds changes."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from homeroom_merge.connectors.csv_sheet import SheetFault, opened_sheet

MANIFEST = "manifest.csv"
_VERSION = "1.2"
_MODES = ("bulk", "delta", "absent")
_FILES = (
    "academicSessions",
    "categories",
    "classes",
    "classResources",
    "courses",
    "courseResources",
    "demographics",
    "enrollments",
    "lineItemLearningObjectiveIds",
    "lineItems",
    "lineItemScoreScales",
    "orgs",
    "resources",
    "resultLearningObjectiveIds",
    "results",
    "resultScoreScales",
    "roles",
    "scoreScales",
    "userProfiles",
    "userResources",
    "users",
)


def read_manifest(folder: Path, encoding: str = "") -> tuple[Mapping[str, str], list[str]]:
    """`bulk`, `delta` or `absent` by file, and what is to be noted. Raises SheetFault, OSError."""
    path = folder / MANIFEST
    if not path.exists():
        raise SheetFault(f"there is no {MANIFEST}: nobody knows which files are whole; export it too")
    sheet = opened_sheet(path, ("propertyName", "value"), encoding, lines_end=False)
    if not {"propertyName", "value"} <= set(sheet.columns):
        raise SheetFault(f"{MANIFEST} row 1: its columns are propertyName and value; export it again")
    said = {line.cells.get("propertyName", ""): line.cells.get("value", "") for line in sheet.lines()}
    modes = {name.removeprefix("file."): value.lower() for name, value in said.items() if name.startswith("file.")}
    for line in sheet.lines():
        name, value = line.cells.get("propertyName", ""), line.cells.get("value", "").lower()
        if name.startswith("file.") and value not in _MODES:
            raise SheetFault(f"{MANIFEST} row {line.number}: {name} is none of {', '.join(_MODES)}")
    version = said.get("oneroster.version", "")
    notes = list(sheet.notes)
    if version != _VERSION:
        notes.append(f"{MANIFEST}: oneroster.version is {version[:10] or 'not said'}; the files are read as {_VERSION}")
    return modes, notes


def manifest_rows(written: Iterable[str]) -> list[dict[str, object]]:
    """A manifest of changes in these files."""
    there = set(written)
    said = {
        "manifest.version": "1.0",
        "oneroster.version": _VERSION,
        **{f"file.{name}": "delta" if name in there else "absent" for name in _FILES},
        "source.systemName": "homeroom",
        "source.systemCode": "homeroom",
    }
    return [{"propertyName": name, "value": value} for name, value in said.items()]
