"""Up to where a OneRoster service has been read, and whether what has changed since is enough to know."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

_OVERLAP = timedelta(minutes=5)
_TRUSTED = timedelta(hours=20)
"""Some services forget what they have deleted: each night all is read, so that absence is seen."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """`latest`: the last change that was seen. `whole_at`: when all was read. `beside`: what was joined then."""

    latest: datetime
    whole_at: datetime
    beside: str

    @classmethod
    def read(cls, text: str | None) -> "Cursor | None":
        """From its text; None if it is none."""
        try:
            said = orjson.loads(text or "")
            at = [datetime.fromisoformat(said[name]) for name in ("latest", "whole_at")]
            return cls(at[0].astimezone(UTC), at[1].astimezone(UTC), str(said["beside"]))
        except (ValueError, KeyError, TypeError):
            return None

    @classmethod
    def begun(cls, latest: datetime | None, began: datetime | None, now: datetime, beside: str) -> str | None:
        """The text of one behind all that there is; None where nothing says when it changed."""
        if latest is None:
            return None
        return cls(min(latest, began or latest), now, beside).text

    @property
    def text(self) -> str:
        return orjson.dumps(self).decode()

    @property
    def since(self) -> datetime:
        """A delta reaches back a little, for changes that were seen later than they say."""
        return self.latest - _OVERLAP

    def holds(self, now: datetime, beside: str) -> bool:
        """Whether a delta tells all: it does not once something joined to many rows has changed."""
        return beside == self.beside and timedelta() <= now - self.whole_at < _TRUSTED

    def moved(self, latest: datetime | None, began: datetime | None) -> "Cursor":
        """Behind what a delta showed, but never behind the moment at which it began: pages take their time."""
        if latest is None:
            return self
        return replace(self, latest=max(self.latest, min(latest, began or latest)))


def digest(parts: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """Of what rows say, in whatever order they come."""
    said = {
        file: sorted(orjson.dumps({**row, "dateLastModified": ""}, option=orjson.OPT_SORT_KEYS) for row in rows)
        for file, rows in parts.items()
    }
    found = hashlib.sha256()
    for file in sorted(said):
        found.update(file.encode() + b"\0" + b"\0".join(said[file]) + b"\0")
    return found.hexdigest()


def changed_at(row: Mapping[str, str]) -> datetime | None:
    """When a row changed, in UTC if it names no zone; None if it does not say."""
    try:
        at = datetime.fromisoformat(row.get("dateLastModified", ""))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
