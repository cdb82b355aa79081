"""What the scripted Core holds: a few dictionaries for one school, which change as a case has them change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from homeroom.errors import Code
from homeroom.protocol import LISTED_PER_TYPE_MAX, version_hash

Json = dict[str, Any]

ENROLMENT = "CourseEnrolment.2027"
STATUS = "CourseEnrolmentStatus.2027"
CLOSED = "CourseEnrolment.2019"
"""Of a school year that is not open for writing."""
SCHOOL = "S.0982"

_NEW_HISTORY_ABOVE = 2**40


@dataclass(frozen=True, slots=True)
class Row:
    """A record as the school sees it: `live`, `deleted` or `revoked`."""

    version: int
    state: str
    body: Json
    source_version: int | None = None


Streams = dict[str, dict[str, Row]]


@dataclass
class ScriptedCore:
    """Records, counter and history. `revision` moves with every change, also with one that no list tells.

    `listed_max`: where lists are cut; `snapshot_max`: where the next snapshot is. `horizon`: below it, deletions are no
    longer known. `sources`: of each status type. `refusing`: ids that may not be written, and the code that says so.
    `given`: every version that a record has had.
    """

    epoch: str = "first"
    counter: int = 0
    revision: int = 0
    listed_max: int = LISTED_PER_TYPE_MAX
    snapshot_max: int | None = None
    horizon: int = 0
    streams: Streams = field(default_factory=lambda: {ENROLMENT: {}, STATUS: {}, CLOSED: {}})
    watermarks: dict[str, int] = field(default_factory=lambda: {ENROLMENT: 0, STATUS: 0, CLOSED: 0})
    sources: Mapping[str, str] = field(default_factory=lambda: {STATUS: ENROLMENT})
    refusing: dict[str, Code] = field(default_factory=dict)
    given: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def write(self, record_id: str, body: Json | None = None, state: str = "live", name: str = ENROLMENT) -> int:
        """A change of a record; its version. Without a body the last one stays."""
        old = self.streams[name].get(record_id)
        source = self.source_of(name, record_id)
        kept = body if body is not None else old.body if old is not None else {"alerts": []}
        version = self.pass_by(name)
        self._put(name, record_id, Row(version, state, kept, source.version if source else None))
        return version

    def pass_by(self, name: str = ENROLMENT) -> int:
        """A change of something that this school does not see: only the type's watermark tells."""
        self.counter += 1
        self.revision += 1
        self.watermarks[name] = self.counter
        return self.counter

    def forget(self, record_id: str) -> None:
        """A record is gone, and no list says so."""
        del self.streams[ENROLMENT][record_id]
        self.revision += 1

    def plant(self, record_id: str, version: int, body: Json) -> None:
        """A record is there at a version that no list has told."""
        self._put(ENROLMENT, record_id, Row(version, "live", body))
        self.revision += 1

    def copied(self) -> Streams:
        """What `restore` may bring back."""
        return {name: dict(rows) for name, rows in self.streams.items()}

    def restore(self, streams: Streams, counter: int | None = None) -> None:
        """The database has gone back to an earlier state: another history, by default far above the first."""
        self.streams = {name: dict(rows) for name, rows in streams.items()}
        self.epoch += " restored"
        self.counter = self.counter + _NEW_HISTORY_ABOVE if counter is None else counter
        self.watermarks = dict.fromkeys(self.watermarks, self.counter)
        self.revision += 1

    def as_it_is(self) -> "ScriptedCore":
        """What a node shows that falls behind from now on."""
        streams = {name: dict(rows) for name, rows in self.streams.items()}
        return replace(self, streams=streams, watermarks=dict(self.watermarks))

    def live(self, name: str) -> Mapping[str, int]:
        """What the school should hold of a type: versions by id."""
        return {i: row.version for i, row in self.streams[name].items() if row.state == "live"}

    def source_of(self, name: str, record_id: str) -> Row | None:
        """The record that a status was calculated from."""
        return self.streams[self.sources[name]].get(record_id) if name in self.sources else None

    def collected(self, name: str, version: int) -> bool:
        """Whether deletions above this version may have been forgotten."""
        return version < min(self.horizon, self.watermarks[name])

    def hash_of(self, name: str) -> str:
        return version_hash(self.live(name).values())

    def named(self, text: str) -> str | None:
        """A type in its canonical spelling; None if it is not served."""
        return next((name for name in self.streams if name.lower() == text.lower()), None)

    def _put(self, name: str, record_id: str, row: Row) -> None:
        self.streams[name][record_id] = row
        self.given.setdefault((name, record_id), set()).add(row.version)
