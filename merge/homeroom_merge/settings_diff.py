"""What differs between two settings: states, versions, or those of two feeds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import StrEnum

from homeroom_merge.guards import Season
from homeroom_merge.settings import Settings
from homeroom_merge.toml_tables import dotted
from homeroom_merge.values import ABSENT, Value


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting, by dotted path, as it is in force in both; ABSENT where it does not exist."""

    path: str
    old: Value
    new: Value

    def __str__(self) -> str:
        match self.old, self.new:
            case old, new if old is ABSENT:
                return f"{self.path}: {_told(new)} (new)"
            case old, new if new is ABSENT:
                return f"{self.path}: {_told(old)} (gone)"
            case old, new:
                return f"{self.path}: {_told(old)} -> {_told(new)}"


def diff(old: Settings, new: Settings) -> list[Difference]:
    """What differs in force, defaults filled in, by dotted path."""
    before, after = dict(flat(old)), dict(flat(new))
    paths = [*before, *(path for path in after if path not in before)]
    both = ((path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths)
    return [Difference(path, one, other) for path, one, other in both if one is ABSENT or one != other]


def flat(settings: Settings) -> Iterator[tuple[str, Value]]:
    """Every setting in force, by its dotted path in the file."""
    for path, value in _leaves(settings, ()):
        yield dotted(path), value


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, tuple) and value and isinstance(value[0], Season):
        for season in value:
            yield from _leaves(season, (*path, season.name))
    else:
        yield path, sorted(value) if isinstance(value, frozenset) else value


def _told(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "off"
        case StrEnum() | str():
            return f'"{value}"'
        case date():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(_told, value))}]"
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)
