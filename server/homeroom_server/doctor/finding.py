"""What a look at one thing comes to."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """From what is well to what must be fixed; `unknown`: it could not be looked at from here."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FIX = "fix"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do; nothing where all is well."""

    level: Level
    looked_at: str
    found: str
    todo: str = ""


def ok(looked_at: str, found: str) -> Finding:
    return Finding(Level.OK, looked_at, found)


def unknown(looked_at: str, found: str, todo: str) -> Finding:
    return Finding(Level.UNKNOWN, looked_at, found, todo)


def warning(looked_at: str, found: str, todo: str) -> Finding:
    return Finding(Level.WARNING, looked_at, found, todo)


def fix(looked_at: str, found: str, todo: str) -> Finding:
    return Finding(Level.FIX, looked_at, found, todo)
