"""What a demo is about: organisations, records to load, two clients, and the changes that they will see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Load:
    """Records of one type, as Submit takes them, all new."""

    notification_type: str
    records: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A client: for whom it calls and what it keeps a copy of. A status type brings its source."""

    name: str
    organization: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a loaded record: some members of its body take other values."""

    notification_type: str
    record_id: str
    members: dict[str, Any]
    what: str


@dataclass(frozen=True, slots=True)
class District:
    """All of it. `organizations` is the CSV of architecture 6; `status_edit` is shown arriving with its status."""

    title: str
    catalogue: str
    organizations: str
    loads: Sequence[Load]
    subscribers: Sequence[Subscriber]
    edits: Sequence[Edit]
    status_edit: Edit
