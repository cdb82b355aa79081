"""Formatters of a school's own: found by the name of an entry point, among the packages that are installed."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.refusal import RefusedError

GROUP = "homeroom_merge.formatters"
"""Its entry points are functions without arguments that return a mapping from entity to Formatter."""
_MESSAGE_LENGTH_MAX = 200


class FormatterError(RefusedError):
    """A formatter that is not installed, or is none; the message says what to do."""


def names() -> list[str]:
    """Those that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def installed_formatters(name: str) -> Mapping[str, Formatter]:
    """By entity. Raises FormatterError."""
    found = list({entry.value: entry for entry in entry_points(group=GROUP, name=name)}.values())
    if not found:
        there = f"there are {', '.join(names())}" if names() else "none is"
        raise FormatterError(f"the formatter {name} is not installed: pip install the package that has it; {there}")
    if len(found) > 1:
        offered = ", ".join(sorted(entry.value for entry in found))
        raise FormatterError(f"several packages have a formatter {name}, {offered}: uninstall all but one")
    (entry,) = found
    made = _made(entry)
    if wrong := _wrong(made):
        raise FormatterError(f"the formatter {name} ({entry.value}) {wrong}")
    return made  # type: ignore[return-value]  # _wrong has looked


def _made(entry: EntryPoint) -> object:
    try:
        return entry.load()()
    except Exception as fault:
        said = f"{type(fault).__name__}: {fault}"[:_MESSAGE_LENGTH_MAX]
        raise FormatterError(f"the formatter {entry.name} ({entry.value}) cannot be loaded: {said}") from fault


def _wrong(made: object) -> str:
    """Why this is no mapping from entity to formatter; empty if it is."""
    if not isinstance(made, Mapping) or not made:
        return f"returns {type(made).__name__}: return a mapping from entity to formatter, with one at least"
    for entity, each in made.items():
        if not callable(getattr(each, "read", None)) or not callable(getattr(each, "write", None)):
            return f"returns for {entity} what has no read and write: see docs/formats.md"
        if getattr(each, "entity", None) != entity:
            return f"returns for {entity} one whose entity is another: set entity = {str(entity)!r}"
        if not isinstance(getattr(each, "fields", None), frozenset):
            return f"returns for {entity} one without fields: set fields = frozenset({{...}}), the members it carries"
    return ""
