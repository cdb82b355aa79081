"""What becomes of an acknowledgement: a change for the committer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from homeroom.errors import Code
from homeroom.protocol import NotificationType
from homeroom_server.auth import Caller
from homeroom_server.changes import Decision
from homeroom_server.status import alerts
from homeroom_server.status.alerts import AcknowledgementState
from homeroom_server.store.records import CurrentRecord, RecordWrite
from homeroom_server.store.types import TypeRow
from homeroom_server.submission import Rejection, is_of_erased


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A person's word on one alert, found by its code and arguments."""

    notification_type: NotificationType
    caller: Caller
    id: str
    code: int
    arguments: Mapping[str, str]
    state: AcknowledgementState
    call: None = None

    @property
    def ids(self) -> Collection[str]:
        return (self.id,)

    @property
    def students(self) -> Collection[str]:
        return ()

    def decide(self, row: TypeRow, current: Mapping[str, CurrentRecord], erased: Collection[str]) -> Decision:
        status = current.get(self.id)
        known = None if status is None or is_of_erased(status, erased) else status
        outcome = self._judge(known, row)

        def answer(versions: Sequence[int]) -> bytes:
            version = versions[0] if versions else 0
            rejections = [outcome.as_json()] if isinstance(outcome, Rejection) else []
            return orjson.dumps({"id": self.id, "coreVersion": version, "rejections": rejections})

        return Decision([] if isinstance(outcome, Rejection) else [outcome], answer)

    def _judge(self, status: CurrentRecord | None, row: TypeRow) -> RecordWrite | Rejection:
        if status is None or status.notification_type != row.number or not self.caller.may_write_for(status.writers):
            return Rejection(Code.NOT_AUTHORIZED_FOR_RECORD, "this organisation may not write this record")
        entries = alerts.parse_alerts(status.body)
        of_code = [entry for entry in entries if entry["alertCode"] == self.code]
        if not of_code:
            return Rejection(Code.NO_SUCH_ALERT, f"the status carries no alert {self.code}")
        wanted = alerts.identity(self.code, self.arguments)
        matching = [entry for entry in of_code if alerts.identity(self.code, entry["arguments"]) == wanted]
        if not matching:
            return Rejection(Code.ARGUMENTS_DIFFER, f"alert {self.code} stands with other arguments")
        return self._write(status, entries, matching[0])

    def _write(
        self, status: CurrentRecord, entries: Sequence[dict[str, Any]], entry: dict[str, Any]
    ) -> RecordWrite | Rejection:
        if not alerts.allows(self.state, entry["alertType"], is_ministry=self.caller.is_ministry):
            return Rejection(
                Code.STATE_NOT_ALLOWED,
                f"a {entry['alertType']} cannot be put into the state {self.state.value} by this organisation",
            )
        if entry["acknowledgement"]["state"] == self.state:
            return Rejection(Code.CHANGES_NOTHING, "the alert is already in this state")
        entry["acknowledgement"] = {
            "state": self.state.value,
            "organization": self.caller.organization.code,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return RecordWrite(
            status.id,
            False,
            status.deleted,
            status.owner,
            status.student,
            alerts.encode_alerts(entries),
            body_changed=True,
            source_version=status.source_version,
        )
