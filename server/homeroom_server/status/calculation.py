"""What becomes of calculated statuses: a change for the committer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from homeroom.protocol import NotificationType
from homeroom_server.changes import Decision
from homeroom_server.rule_set import Alert
from homeroom_server.status.alerts import status_body
from homeroom_server.store.records import CurrentRecord, RecordWrite
from homeroom_server.store.triggers import SourceRecord, Trigger
from homeroom_server.store.types import TypeRow


@dataclass(frozen=True, slots=True)
class CalculatedStatus:
    """The alerts of one source record, as it was when it was read."""

    trigger: Trigger
    source: SourceRecord
    alerts: Sequence[Alert]
    due_again: datetime | None


@dataclass(frozen=True, slots=True)
class Calculation:
    """Statuses of one type, to be stored with the end of their triggers."""

    notification_type: NotificationType
    statuses: Sequence[CalculatedStatus]
    call: None = None
    caller: None = None
    ids: Collection[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", [status.source.id for status in self.statuses])

    @property
    def students(self) -> Collection[str]:
        return {status.source.student for status in self.statuses if status.source.student is not None}

    def decide(self, row: TypeRow, current: Mapping[str, CurrentRecord], erased: Collection[str]) -> Decision:
        """A status is never replaced by one that saw an older source; its version rises with every calculation.

        None comes of a source that was read before its student was erased.
        """
        writes = [
            _write(status, stands)
            for status in self.statuses
            if status.source.student not in erased
            and ((stands := current.get(status.source.id)) is None or _is_newer(status, stands))
        ]
        finished = [status.trigger for status in self.statuses]
        return Decision(writes, lambda versions: b"", finished, [status.due_again for status in self.statuses])


def _is_newer(status: CalculatedStatus, stands: CurrentRecord) -> bool:
    return not stands.erased and (stands.source_version is None or status.source.version >= stands.source_version)


def _write(status: CalculatedStatus, stands: CurrentRecord | None) -> RecordWrite:
    source = status.source
    body = status_body(status.alerts, None if stands is None else stands.body)
    changed = stands is None or body != stands.body or source.deleted != stands.deleted
    return RecordWrite(
        source.id, stands is None, source.deleted, source.owner, source.student, body, changed, source.version
    )
