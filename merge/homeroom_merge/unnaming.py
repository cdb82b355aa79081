"""What is written down of runs, without the names of an erased student."""

import re
from collections.abc import Collection

import orjson

from homeroom_merge.values import Value

MAY_HOLD_ANYTHING = ("the connector or formatter printed: ", "a mistake of the program's own: ")
"""What follows these in a line is not our own words: nobody can tell whom it names."""
HIDDEN = "(an erased student)"
_REMOVED = "(removed, for a student was erased)"


def unnamed(text: str, names: Collection[str]) -> str:
    """A log or report, as JSON: names are hidden where they stand as words, and what others have printed is removed."""
    said = _walked(orjson.loads(text), _words(names))
    return orjson.dumps(said).decode() + ("\n" if text.endswith("\n") else "")


def names_one(text: str, names: Collection[str]) -> bool:
    """Whether one of these names stands in a text as a word."""
    return _words(names).search(text) is not None


def _words(names: Collection[str]) -> re.Pattern[str]:
    every = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w.-])(?:{every})(?![\w-]|\.\w)")


def _walked(said: Value, name: re.Pattern[str]) -> Value:
    if isinstance(said, dict):
        return {name.sub(HIDDEN, member): _walked(inner, name) for member, inner in said.items()}
    if isinstance(said, list):
        return [_walked(inner, name) for inner in said]
    return name.sub(HIDDEN, _cut(said)) if isinstance(said, str) else said


def _cut(line: str) -> str:
    for beginning in MAY_HOLD_ANYTHING:
        if beginning in line:
            line = line[: line.index(beginning) + len(beginning)] + _REMOVED
    return line
