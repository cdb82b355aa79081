"""Settings for one run alone: `--set KEY=VALUE`, a dotted path and a TOML value or plain text."""

import json
import tomllib
from collections.abc import Collection, Mapping

from homeroom_merge.toml_tables import Faults, dotted

_NEVER = {"feed.name": "it names whose state this is"}


def apply_overrides(
    document: Mapping[str, object], overrides: Collection[str], faults: Faults
) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """The document with them in, and them by dotted path, for the report."""
    given: dict[str, object] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            faults.add(override, "this sets nothing", "write KEY=VALUE, as in entity.Student.method=manual")
            continue
        tree = _parsed(key, value)
        if tree is None:
            faults.add(
                key, "this is no dotted path", 'write names with other characters in quotes, as in fields."/grade"'
            )
            continue
        for path, each in leaves(tree):
            faults.lines[path] = 0  # it stands in no line
            if path in _NEVER:
                faults.add(path, "this cannot be set for one run", _NEVER[path])
            given[path] = each
        document = _merged(document, tree)
    return document, given


def leaves(tree: Mapping[str, object], above: tuple[str, ...] = ()) -> list[tuple[str, object]]:
    """Every value that is no table, by dotted path."""
    found: list[tuple[str, object]] = []
    for key, value in tree.items():
        path = (*above, key)
        found += leaves(value, path) if isinstance(value, Mapping) and value else [(dotted(path), value)]
    return found


def _parsed(key: str, value: str) -> Mapping[str, object] | None:
    if "\n" in key or "\n" in value:
        return None
    for written in (value, json.dumps(value)):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    return None


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> Mapping[str, object]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged
