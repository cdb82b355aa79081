"""What differs between two settings: states, versions, or those of two feeds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

from homeroom_merge.guards import Limits, Season
from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.model import Connector, Entity, Feed, Hub, Settings
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
                return f"{self.path}: {told(new)} (new)"
            case old, new if new is ABSENT:
                return f"{self.path}: {told(old)} (gone)"
            case old, new:
                return f"{self.path}: {told(old)} -> {told(new)}"


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


def usual(settings: Settings) -> Settings:
    """The same feed and entities, with nothing said but what has to be."""
    feed, kind = settings.feed, KINDS.get(settings.connector.kind)
    defaults = {option.name: option.default for option in kind.options} if kind else {}
    options = {
        name: given if (usually := defaults.get(name)) is None else usually
        for name, given in settings.connector.options.items()
    }
    formatter = kind.formatter if kind else feed.formatter
    return Settings(
        Feed(feed.name, formatter, feed.authority, feed.schools),
        Hub(settings.hub.url),
        Connector(settings.connector.kind, options),
        settings.secrets,
        {name: Entity(name) for name in settings.entity},
    )


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    if is_dataclass(value):
        for field in fields(value):
            if (*path, field.name) != ("overrides",):
                yield from _leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif path == ("hooks",) and isinstance(value, tuple):
        for number, hook in enumerate(value):
            yield from _leaves(hook, (*path, str(number)))
    elif path[-1] == "seasons" and isinstance(value, tuple):
        for season in value:
            yield (*path, season.name), season
    else:
        yield path, sorted(value) if isinstance(value, frozenset) else value


def told(value: Value) -> str:
    """A setting's value as files have it."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "off"
        case StrEnum() | str():
            return f'"{value}"'
        case Season():
            return f"{value.starts} to {value.ends}, {_told_limits(value.limits)}"
        case list() | tuple():
            return f"[{', '.join(map(told, value))}]"
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


def _told_limits(limits: Limits | None) -> str:
    if limits is None:
        return "a blackout"
    return ", ".join(f"{each.name} {told(getattr(limits, each.name))}" for each in fields(limits))
