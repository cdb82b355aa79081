"""A school's system, as small as it can be: a local file kept in step by Is Data Available and Get."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from homeroom import Client, NotificationType, RetryLater, version_hash
from homeroom.answers import Listed, TypeAvailability
from homeroom.protocol import STATUS_SUFFIX

_PER_GET = 1_000
_WAIT_SECONDS = 3
"""Short, so that a file that was tampered with is found out soon: the hash goes with each question."""

_SCHEMA = """
create table record (
    type text, id text, version integer, deleted integer, body text, primary key (type, id)) without rowid;
create table cursor (type text primary key, version integer);
"""

Json = dict[str, Any]


class LocalFile:
    """A SQLite file of records and cursors; what one answer brought is stored in one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def cursor(self, type_name: str) -> int:
        row = self._db.execute("select version from cursor where type = ?", (type_name,)).fetchone()
        return row[0] if row else 0

    def versions(self, type_name: str) -> dict[str, int]:
        """Live records, by id."""
        rows = self._db.execute("select id, version from record where type = ? and not deleted", (type_name,))
        return dict(rows.fetchall())

    def body(self, type_name: str, record_id: str) -> Json | None:
        query = "select body from record where type = ? and id = ?"
        row = self._db.execute(query, (type_name, record_id)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def count(self) -> int:
        (count,) = self._db.execute("select count(*) from record where not deleted").fetchone()
        return int(count)

    def store(self, type_name: str, records: Iterable[tuple[str, Json]], dropped: Iterable[str], cursor: int) -> None:
        """Records with the type that each is of, ids to drop, and the cursor that they lead to."""
        with self._db:
            self._db.executemany(
                "insert or replace into record values (?, ?, ?, ?, ?)",
                (
                    (
                        name,
                        record["id"],
                        record["coreVersion"],
                        record["deleted"],
                        orjson.dumps(record["body"]).decode(),
                    )
                    for name, record in records
                ),
            )
            self._db.executemany("delete from record where type = ? and id = ?", ((type_name, i) for i in dropped))
            self._db.execute("insert or replace into cursor values (?, ?)", (type_name, cursor))

    def tamper(self, type_name: str, drop: str, stale: str) -> None:
        """What must not happen: one record gone, another silently old."""
        with self._db:
            self._db.execute("delete from record where type = ? and id = ?", (type_name, drop))
            self._db.execute("update record set version = 1 where type = ? and id = ?", (type_name, stale))


class School:
    """Keeps a local file in step with the Core. `arrived` is told (type, id, version) of each record stored."""

    def __init__(
        self, client: Client, file: LocalFile, types: Sequence[str], arrived: Callable[[str, str, int], None]
    ) -> None:
        self.file = file
        self.types = types
        self.mismatches = 0
        self._client = client
        self._arrived = arrived

    async def run(self) -> None:
        """For ever: ask, be held, get, store."""
        while True:
            try:
                await self.sync_once(_WAIT_SECONDS)
            except RetryLater:
                continue

    async def sync_once(self, wait_seconds: int) -> None:
        """One round of Is Data Available, and Get for what it lists."""
        asked = [
            {
                "notificationType": name,
                "maxCoreVersion": self.file.cursor(name),
                "versionHash": version_hash(self.file.versions(name).values()),
            }
            for name in self.types
        ]
        answer = await self._client.is_data_available(asked, wait_seconds)
        for entry in answer.types:
            match entry["reason"]:
                case "newer":
                    await self._bring(entry, {})
                case "mismatch":
                    self.mismatches += 1
                    await self._repair(entry)

    async def _repair(self, entry: TypeAvailability) -> None:
        """Compare the full list with the file: get what differs, drop what is not listed."""
        name, window = entry["notificationType"], entry["maxCoreVersion"]
        listed = {record["id"]: record["coreVersion"] for record in entry["records"]}
        while not entry["complete"]:
            last = entry["records"][-1]["coreVersion"]
            answer = await self._client.is_data_available(
                [{"notificationType": name, "maxCoreVersion": window, "listAfter": last}], 0
            )
            (entry,) = answer.types
            listed |= {record["id"]: record["coreVersion"] for record in entry["records"]}
        held = self.file.versions(name)
        differing: list[Listed] = [{"id": i, "coreVersion": v} for i, v in listed.items() if held.get(i) != v]
        await self._bring({**entry, "maxCoreVersion": window, "records": differing}, held.keys() - listed)

    async def _bring(self, entry: TypeAvailability, dropped: Iterable[str]) -> None:
        """Get what is listed; the cursor moves only when all of it came."""
        name, cursor = entry["notificationType"], self.file.cursor(entry["notificationType"])
        source_type = _source_of(name)
        listed = entry["records"]
        for start in range(0, len(listed), _PER_GET):
            page = listed[start : start + _PER_GET]
            items = [{"id": r["id"], "expectedVersion": r["coreVersion"]} for r in page]
            answer = await self._client.get(name, items)
            self._store(name, source_type, answer.records, cursor)
            if answer.stopped_at is not None:
                return
        self.file.store(name, [], dropped, entry["maxCoreVersion"])

    def _store(self, name: str, source_type: str | None, records: Sequence[Mapping[str, Any]], cursor: int) -> None:
        found = [(name, dict(record)) for record in records if record["availability"] == "Normal"]
        sources = [(source_type, record["source"]) for _, record in found if source_type and "source" in record]
        gone = [record["id"] for record in records if record["availability"] != "Normal"]
        self.file.store(name, [*found, *((kind, source) for kind, source in sources if kind)], gone, cursor)
        for kind, record in [*sources, *found]:
            self._arrived(kind or name, record["id"], record["coreVersion"])


def _source_of(name: str) -> str | None:
    """`CourseEnrolment.2027` for `CourseEnrolmentStatus.2027`."""
    parsed = NotificationType.parse(name)
    if not parsed.name.endswith(STATUS_SUFFIX):
        return None
    return str(NotificationType(parsed.name.removesuffix(STATUS_SUFFIX), parsed.school_year))
