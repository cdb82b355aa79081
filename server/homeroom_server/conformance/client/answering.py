"""What the scripted Core answers: protocol 3 to 7 for one school, read from its dictionaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import orjson

from homeroom.errors import MEANINGS, Code, Fault
from homeroom.reconciliation import LocalRecords
from homeroom_server.catalogue import TypeDefinition, load_catalogue
from homeroom_server.conformance.client.scripted_core import CLOSED, ENROLMENT, SCHOOL, STATUS, Json, Row, ScriptedCore
from homeroom_server.json_schema import schema_faults

_FEW = 4
"""So few records of a range are told one by one."""
_A_TIME = "2026-11-22T04:10:24.123Z"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to a client."""

    status: int
    content: bytes
    kind: str = "application/json"
    retry_after: int | None = None


def answered(body: Json) -> Answer:
    return Answer(200, orjson.dumps(body))


def refused(code: Code, detail: str, faults: Sequence[Fault] = (), retry_after: int | None = None) -> Answer:
    """A problem document (protocol 2)."""
    meaning = MEANINGS[code]
    errors = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    body = {"code": code, "title": meaning.title, "detail": detail, "action": meaning.action, "errors": errors}
    return Answer(meaning.status, orjson.dumps(body), "application/problem+json", retry_after)


def hello(core: ScriptedCore) -> Answer:
    who = {"client": "conformance", "role": "writer", "organization": SCHOOL, "organizations": [{"code": SCHOOL}]}
    return answered(who | {"epoch": core.epoch, "serverTime": _A_TIME})


def notification_types() -> Answer:
    return answered({"notificationTypes": [_described(_types()[name]) for name in (ENROLMENT, STATUS)]})


def look(core: ScriptedCore, entry: Json) -> Json:
    """What Is Data Available says of one type now."""
    name, cursor, after = entry["notificationType"], entry["maxCoreVersion"], entry.get("listAfter")
    rows, window = core.streams[name], max(core.watermarks[name], cursor)
    newer = sorted((row.version, i) for i, row in rows.items() if row.version > cursor)
    alive = sorted((version, i) for i, version in core.live(name).items())
    if after is not None:
        reason, window, listed = "mismatch", cursor, [(v, i) for v, i in alive if after < v <= cursor]
    elif core.collected(name, cursor):
        reason, listed = "mismatch", alive
    elif newer:
        reason, listed = "newer", newer
    elif entry.get("versionHash") not in (None, core.hash_of(name)):
        reason, listed = "mismatch", alive
    else:
        reason, listed = "none", []
    cut = listed[: core.listed_max]
    complete = len(cut) == len(listed)
    return {
        "notificationType": name,
        "reason": reason,
        "maxCoreVersion": cut[-1][0] if reason == "newer" and not complete else window,
        "complete": complete,
        "records": [{"id": i, "coreVersion": version} for version, i in cut],
    }


def get(core: ScriptedCore, name: str, items: Sequence[Json]) -> Answer:
    records: list[Json] = []
    for item in items:
        row = core.streams[name].get(item["id"])
        if row is None or row.state == "revoked":
            records.append({"id": item["id"], "availability": "Unknown" if row is None else "NoAccess"})
        elif item.get("expectedVersion", 0) not in (0, row.version):
            return answered({"records": records, "stoppedAt": len(records)})
        else:
            known = item.get("knownSourceVersion", -1)
            records.append(_record(core, name, item["id"], row, known) | {"availability": "Normal"})
    return answered({"records": records, "stoppedAt": None})


def submit(core: ScriptedCore, name: str, records: Sequence[Json]) -> Answer:
    return answered({"results": [_submitted(core, name, record) for record in records]})


def snapshot(core: ScriptedCore, name: str, after: int, until: int | None) -> Answer:
    """The lines of a first load; where it is to be cut, the last ones are missing."""
    if until is not None and (until > core.counter or core.collected(name, until)):
        return refused(Code.OTHER_HISTORY, "until names a version of another history, or one below the horizon")
    window = core.watermarks[name] if until is None else until
    rows = sorted((row.version, i, row) for i, row in core.streams[name].items() if row.state == "live")
    records = [_record(core, name, i, row, -1) for version, i, row in rows if after < version <= window]
    cut, core.snapshot_max = core.snapshot_max, None
    ending = [{"bookmark": window}] if cut is None or len(records) <= cut else []
    lines = [{"until": window, "epoch": core.epoch}, *records[:cut], *ending]
    return Answer(200, b"".join(orjson.dumps(line) + b"\n" for line in lines), "application/x-ndjson")


def reconcile(core: ScriptedCore, name: str, version: int, ranges: Sequence[Json]) -> Answer:
    if version > core.counter:
        return refused(Code.OTHER_HISTORY, "maxCoreVersion is of another history")
    held = LocalRecords(core.live(name).items())
    return answered({"ranges": [_compared(core, name, held, asked) for asked in ranges]})


def _record(core: ScriptedCore, name: str, record_id: str, row: Row, known_source: int) -> Json:
    found: Json = {"id": record_id, "coreVersion": row.version, "deleted": row.state == "deleted"}
    found |= {"changedAt": _A_TIME, "body": row.body}
    source = core.source_of(name, record_id)
    if source is not None:
        found["sourceVersion"] = row.source_version
        if source.version > known_source:
            deleted = source.state == "deleted"
            embedded = {"id": record_id, "coreVersion": source.version, "deleted": deleted, "body": source.body}
            found["source"] = embedded
    return found


def _submitted(core: ScriptedCore, name: str, record: Json) -> Json:
    rejection = _rejection(core, name, record)
    if rejection is not None:
        return {"id": record["id"], "coreVersion": 0, "rejections": [rejection]}
    state = "deleted" if record.get("deleted") else "live"
    version = core.write(record["id"], record.get("body"), state, name)
    if record["id"] in core.streams[STATUS]:
        core.write(record["id"], name=STATUS, state=state)
    return {"id": record["id"], "coreVersion": version, "rejections": []}


def _rejection(core: ScriptedCore, name: str, record: Json) -> Json | None:
    row, expected = core.streams[name].get(record["id"]), record.get("expectedVersion", 0)
    if name == CLOSED:
        return _rejected(Code.YEAR_NOT_OPEN, "the school year is not open for writing")
    if record["id"] in core.refusing:
        return _rejected(core.refusing[record["id"]], "the school may not write this record")
    standing = 0 if row is None else row.version
    if expected != standing and not (row is not None and row.state == "deleted" and expected == 0):
        detail = f"the expected version is {expected}, the record's is {standing}"
        return _rejected(Code.VERSION_MISMATCH, detail) | {"expectedVersion": expected, "coreVersion": standing}
    body, validator = record.get("body"), _types()[name].validator
    faults = schema_faults(validator, body, "/body") if body is not None and validator is not None else []
    if faults or (row is None and body is None):
        return _rejected(Code.BODY_FAILS_SCHEMA, "the body does not match the schema", faults)
    if row is not None and row.state == "live" and not record.get("deleted") and body == row.body:
        return _rejected(Code.CHANGES_NOTHING, "the body is the one that is stored")
    return None


def _rejected(code: Code, detail: str, faults: Sequence[Fault] = ()) -> Json:
    meaning = MEANINGS[code]
    errors = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return {"code": code, "title": meaning.title, "detail": detail, "action": meaning.action, "errors": errors}


def _compared(core: ScriptedCore, name: str, held: LocalRecords, asked: Json) -> Json:
    low, high = asked["from"], asked["to"]
    answer: Json = {"from": low, "to": high}
    if held.range_between(low, high) == asked:
        return answer | {"result": "match"}
    live = core.live(name)
    ids = sorted(i for i in live if (low or "") <= i and (high is None or i < high))
    if len(ids) <= _FEW:
        return answer | {"result": "records", "records": [{"id": i, "coreVersion": live[i]} for i in ids]}
    edges = [low, *ids[_FEW::_FEW], high]
    return answer | {"result": "split", "ranges": [held.range_between(a, b) for a, b in pairwise(edges)]}


@cache
def _types() -> dict[str, TypeDefinition]:
    catalogue = load_catalogue("alberta")
    return {name: catalogue.resolve(name)[1] for name in (ENROLMENT, STATUS, CLOSED)}


def _described(definition: TypeDefinition) -> Json:
    members: Json = {"name": definition.name, "schoolYear": "required", "idFormat": definition.id_format}
    members["audience"] = definition.audience.value
    if definition.source is not None:
        members["source"] = definition.source
    if definition.schema is not None:
        members["schema"] = definition.schema
    return members
