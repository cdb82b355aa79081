"""A SIS as settings name it, and what all of them need to be opened."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from homeroom_merge.connectors.connector import Connector
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.refusal import RefusedError

T = TypeVar("T")

Said = Mapping[str, str]
"""Options of a connector, and its secrets, by name."""


class SourceError(RefusedError):
    """Settings whose connector and formatter do not fit each other, or are not there; the message says what is."""


@dataclass(frozen=True, slots=True)
class Source:
    """A SIS, and a formatter for each entity that it carries. `close` gives back what it holds."""

    connector: Connector
    formatters: Mapping[str, Formatter]
    close: Callable[[], Awaitable[None]] | None = None


def codes_of(load: Callable[[Path | None], T], said: Said) -> T:
    """The code lists that ship, and a district's own above them. SourceError."""
    own = Path(said["codes"]) if said.get("codes") else None
    try:
        return load(own)
    except ValueError as fault:
        raise SourceError(f"the codes of {own} cannot be used: {fault}") from fault
