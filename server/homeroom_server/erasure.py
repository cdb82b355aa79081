"""Erasing a student: what the Core keeps of one goes, and may not come again (decision 18)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import asyncpg

from homeroom_server.operations import OperationError, student_id
from homeroom_server.status.alerts import encode_alerts
from homeroom_server.store import (
    access_triggers,
    announcements,
    audit,
    calls,
    client_streams,
    erasure,
    records,
    student_keys,
    types,
)
from homeroom_server.store.connection import Conn
from homeroom_server.store.erasure import StudentsRecord
from homeroom_server.store.records import RecordWrite, Showing

_ATTEMPTS_MAX = 4
_LOCK_SECONDS = 10
"""Longer than a writer may freeze (`write_transaction_seconds_max`)."""
_TO_THOSE_WHO_SEE_IT = Showing(to_lineage=True, owned=False)
"""A deletion goes to whoever sees the record now, of whatever type it is; nobody comes to see it."""

Told = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What is kept of a student: records by type, and the schools and authorities that see some of them.

    `erased_at`: the student was erased before.
    """

    student: str
    records: Mapping[str, int]
    organizations: int
    erased_at: datetime | None

    @property
    def words(self) -> str:
        total, types_ = sum(self.records.values()), len(self.records)
        return f"{total} records of {types_} types, seen by {self.organizations} organisations"


async def look(connection: Conn, student: str) -> Extent:
    """What an erasure would take away; OperationError if it cannot be a student's id."""
    student = student_id(student)
    secret = await erasure.read_secret(connection)
    listed = await erasure.find_listed(connection, erasure.hash_of(secret, student))
    found = await erasure.read_records(connection, student)
    organizations = await erasure.count_organizations(connection, found)
    by_type = Counter(record.type_name for record in found)
    return Extent(student, dict(sorted(by_type.items())), organizations, None if listed is None else listed.erased_at)


def check_reason(student: str, reason: str) -> None:
    """OperationError where there is none, or where it would keep the id that is to go."""
    if not reason.strip():
        raise OperationError("say why: the reason is kept in the audit")
    if student.lower() in reason.lower():
        raise OperationError("the reason is kept in the audit: leave the student's id out of it")


async def erase(connection: Conn, student: str, account: str, reason: str, told: Told) -> Extent:
    """Take everything away, or what an erasure that did not come to its end has left; what there was.

    Outside of any transaction: it commits step by step. `account`: who does it. OperationError where others were in
    the way: it may be begun again.
    """
    secret = await erasure.read_secret(connection)
    await erasure.put_on_list(connection, erasure.hash_of(secret, student))
    await _await_writers(connection, told)
    extent = await look(connection, student)
    doomed = await erasure.read_records(connection, student)
    await calls.forget_answers(connection, [record.id for record in doomed])
    moved = await _erase_content(connection, student, f"erased a student: {extent.words}. {reason}", account)
    for number, versions in moved.items():
        await announcements.notify_moved(connection, number, versions[0] - 1, versions[-1])
    return extent


async def vacuum(connection: Conn, told: Told) -> None:
    """Free what dead rows hold."""
    for done, statement in enumerate(erasure.VACUUMS):
        told("freeing dead rows", done, len(erasure.VACUUMS))
        await erasure.vacuum(connection, statement)


async def _await_writers(connection: Conn, told: Told) -> None:
    """Return when every write that may not have seen the list has ended: whoever locks a type later has seen it."""
    numbers = await erasure.all_types(connection)
    for done, number in enumerate(numbers):
        told("waiting for writers", done, len(numbers))
        async with connection.transaction():
            await records.lock_type(connection, number)
    async with connection.transaction():
        await erasure.await_keepers(connection)


async def _erase_content(connection: Conn, student: str, did: str, account: str) -> dict[int, Sequence[int]]:
    """One transaction, tried again where others were in the way; the versions that each notification type took."""
    for attempts_left in reversed(range(_ATTEMPTS_MAX)):
        try:
            async with connection.transaction():
                await erasure.patience_for_locks(connection, _LOCK_SECONDS)
                return await _erase_in_transaction(connection, student, did, account)
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
            if not attempts_left:
                raise OperationError("others kept the student's records locked; run the command again") from None
    raise AssertionError("the last attempt returns or raises")


async def _erase_in_transaction(connection: Conn, student: str, did: str, account: str) -> dict[int, Sequence[int]]:
    secret = await erasure.read_secret(connection)
    doomed = await erasure.read_records(connection, student)
    words = {each: erasure.word_of(secret, each) for each in {student, *(record.id for record in doomed)}}
    await audit.hide_ids(connection, words)  # before the locks: it may take long, and nobody waits for it
    await audit.hide_in_details(connection, words)
    await access_triggers.lock_students(connection, [student])
    moved: dict[int, Sequence[int]] = {}
    for number in dict.fromkeys(record.notification_type for record in doomed):
        await records.lock_type(connection, number)
    rows = await types.read_types(connection, list({record.notification_type for record in doomed}))
    for number, group in groupby(doomed, key=lambda record: record.notification_type):
        writes = [_emptied(record) for record in group]
        moved[number], _ = await records.write_records(
            connection, rows[number], writes, _TO_THOSE_WHO_SEE_IT, raise_triggers=False
        )
        await erasure.mark_erased(connection, number, [write.id for write in writes])
    await _forget(connection, student, doomed)
    await erasure.note_erased(connection, erasure.hash_of(secret, student))
    await audit.note(connection, "operator", account, None, did, [words[student]])
    return moved


async def _forget(connection: Conn, student: str, doomed: Sequence[StudentsRecord]) -> None:
    """Whatever else is kept of a student beside the records: a new table of that kind has its line here."""
    keys = [(record.notification_type, record.id) for record in doomed]
    await student_keys.destroy(connection, student)
    await erasure.forget_access(connection, student)
    await forget_mentions(connection, keys)


async def forget_mentions(connection: Conn, keys: Sequence[tuple[int, str]]) -> None:
    """What nodes remember of records (notification type, id) for work of their own."""
    ids = [record_id for _, record_id in keys]
    await erasure.forget_triggers(connection, [number for number, _ in keys], ids)
    await client_streams.forget_ids(connection, ids)


def _emptied(record: StudentsRecord) -> RecordWrite:
    """Its deletion, with nothing in it. A status is one without alerts."""
    body = "{}" if record.source_version is None else encode_alerts([])
    return RecordWrite(record.id, False, True, record.owner, None, body, True, record.source_version)
