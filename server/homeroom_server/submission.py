"""What becomes of submitted records: the rules of protocol 6, applied to each by itself."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from homeroom.errors import MEANINGS, Code, Fault
from homeroom.protocol import NotificationType
from homeroom_server.auth import Caller
from homeroom_server.changes import Decision
from homeroom_server.store.calls import CallKey
from homeroom_server.store.records import CurrentRecord, RecordWrite
from homeroom_server.store.registry import OrganizationRow
from homeroom_server.store.types import TypeRow

_MAY_NOT_WRITE = "this organisation may not write this record"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record was not stored. For 3004 both versions are given."""

    code: Code
    detail: str
    errors: Sequence[Fault] = ()
    versions: tuple[int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        meaning = MEANINGS[self.code]
        members: dict[str, Any] = {
            "code": self.code.value,
            "title": meaning.title,
            "detail": self.detail,
            "action": meaning.action,
        }
        if self.errors:
            members["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in self.errors]
        if self.versions is not None:
            members["expectedVersion"], members["coreVersion"] = self.versions
        return members


class SubmittedRecord(NamedTuple):
    """One record of a call. `owner` is who a new record will belong to (None: no such organisation).

    `rejections` were found without looking at the database; `body` is canonical JSON, None where left out.
    """

    id: str
    expected_version: int
    deleted: bool
    organization: str | None
    owner: OrganizationRow | None
    student: str | None
    body: str | None
    rejections: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """The records of one call to Submit: a change for the committer."""

    notification_type: NotificationType
    caller: Caller
    records: Sequence[SubmittedRecord]
    call: CallKey | None = None
    ids: Collection[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", [record.id for record in self.records])

    @property
    def students(self) -> Collection[str]:
        return {record.student for record in self.records if record.student is not None}

    def decide(self, row: TypeRow, current: Mapping[str, CurrentRecord], erased: Collection[str]) -> Decision:
        judged = [judge(record, current.get(record.id), row, self.caller, erased) for record in self.records]
        writes = [outcome for outcome in judged if isinstance(outcome, RecordWrite)]

        def answer(versions: Sequence[int]) -> bytes:
            drawn = iter(versions)
            return orjson.dumps(
                {
                    "results": [
                        {"id": record.id, "coreVersion": next(drawn), "rejections": []}
                        if isinstance(outcome, RecordWrite)
                        else {
                            "id": record.id,
                            "coreVersion": 0,
                            "rejections": [each.as_json() for each in outcome],
                        }
                        for record, outcome in zip(self.records, judged, strict=True)
                    ]
                }
            )

        return Decision(writes, answer)


def judge(
    record: SubmittedRecord, current: CurrentRecord | None, row: TypeRow, caller: Caller, erased: Collection[str]
) -> RecordWrite | list[Rejection]:
    """What a submitted record comes to, given the record that stands under its id, and the students who were erased."""
    if record.student in erased or (current is not None and is_of_erased(current, erased)):
        return [_not_authorized(_MAY_NOT_WRITE)]  # in the words for everybody: who may not see it learns nothing
    if current is None:
        return _judge_new(record, caller)
    if not caller.may_write_for(current.writers):
        return [_not_authorized(_MAY_NOT_WRITE)]
    if record.organization is not None and record.organization != current.owner_code:
        return [_not_authorized("the record belongs to another organisation; its owner never changes")]
    rejections = list(record.rejections)
    if current.notification_type != row.number:
        detail = "a record of this id exists under another school year; a record's year never changes"
        return [*rejections, Rejection(Code.UNEXPECTED_YEAR, detail)]
    if not _expected(record.expected_version, current):
        detail = f"expected version {record.expected_version}, but the record is at {current.version}"
        versions = (record.expected_version, current.version)
        rejections.append(Rejection(Code.VERSION_MISMATCH, detail, versions=versions))
    body = current.body if record.body is None else record.body
    if body == current.body and record.deleted == current.deleted:
        rejections.append(Rejection(Code.CHANGES_NOTHING, "the record is already so"))
    if rejections:
        return rejections
    student = record.student if record.body is not None else current.student
    return RecordWrite(record.id, False, record.deleted, current.owner, student, body, body_changed=True)


def is_of_erased(current: CurrentRecord, erased: Collection[str]) -> bool:
    """Whether a record is of a student who was erased, or is about to be."""
    return current.erased or current.student in erased


def _judge_new(record: SubmittedRecord, caller: Caller) -> RecordWrite | list[Rejection]:
    if record.owner is None or not caller.may_write_for(record.owner.lineage):
        return [_not_authorized(_MAY_NOT_WRITE)]
    rejections = list(record.rejections)
    if record.expected_version != 0:
        detail = f"expected version {record.expected_version}, but there is no such record"
        rejections.append(Rejection(Code.VERSION_MISMATCH, detail, versions=(record.expected_version, 0)))
    elif record.deleted:
        rejections.append(Rejection(Code.CHANGES_NOTHING, "there is no such record to delete"))
    if rejections:
        return rejections
    assert record.body is not None, "only a delete may leave its body out"
    return RecordWrite(record.id, True, False, record.owner.number, record.student, record.body, body_changed=True)


def _expected(version: int, current: CurrentRecord) -> bool:
    """Rule 3004: any version since the body last changed; a deleted record also takes 0."""
    return current.body_version <= version <= current.version or (current.deleted and version == 0)


def _not_authorized(detail: str) -> Rejection:
    return Rejection(Code.NOT_AUTHORIZED_FOR_RECORD, detail)
