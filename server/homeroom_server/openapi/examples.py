"""Examples of requests and of their answers, in types of the catalogue, as they follow from each other."""

from collections.abc import Mapping
from typing import Any

import orjson

from homeroom.errors import Code
from homeroom_server.openapi.advice import rejection_example
from homeroom_server.openapi.kinds import Sample
from homeroom_server.openapi.links import EVERYTHING

Json = dict[str, Any]
_OF_ONE = "ed9c7d5a52a8aca1e3da7b3e59928b2a"
"""The version hash of a stream with version 10 alone."""
_EPOCH = "b3f0c6f1-1c52-4c8e-8d5e-2f2f6a0d8a11"
_AT = "2026-11-22T04:10:24.123Z"
_FINGERPRINT = "3f2a9c0b7d51e6480a1b2c3d4e5f6071"


def _example(summary: str, value: Any) -> Json:
    return {"summary": summary, "value": value}


def requests(record: Sample, status: Sample | None) -> Mapping[str, Json]:
    """By service, its requests."""
    stream = {"notificationType": record.name, "maxCoreVersion": 10}
    stored = {"id": record.id, "expectedVersion": 0, "body": record.body}
    alert = {"id": status.id if status else record.id, "alertCode": 42005, "arguments": {"SchoolYear": "2027"}}
    return {
        "isDataAvailable": {
            "first": _example("From the beginning", _asking({**stream, "maxCoreVersion": 0}, 0)),
            "follow": _example("Held until something moves", _asking(stream, 50)),
            "proved": _example("With the hash of what is held", _asking({**stream, "versionHash": _OF_ONE}, 50)),
        },
        "get": {
            "listed": _example("As a list named it", {"records": [{"id": record.id, "expectedVersion": 10}]}),
            "asItStands": _example("Whatever its version", {"records": [{"id": record.id}]}),
        },
        "submit": {
            "add": _example("A new record", {"records": [stored]}),
            "update": _example("A change of version 10", {"records": [{**stored, "expectedVersion": 10}]}),
            "delete": _example("A deletion", {"records": [{"id": record.id, "expectedVersion": 10, "deleted": True}]}),
        },
        "acknowledge": {"advice": _example("An advice is known", {**alert, "state": "Acknowledged"})},
        "reconcile": {"whole": _example("All that is held: nothing", {"maxCoreVersion": 10, "ranges": [EVERYTHING]})},
    }


def answers(record: Sample, status: Sample | None) -> Mapping[str, Json]:
    """By service, its answers with 200."""
    listed = {"id": record.id, "coreVersion": 10}
    rejected = rejection_example(Code.VERSION_MISMATCH, expectedVersion=9, coreVersion=10)
    return {
        "isDataAvailable": {
            "newer": _example("Something has moved", _news(record.name, "newer", [listed])),
            "mismatch": _example("The hash differs: the full list", _news(record.name, "mismatch", [listed])),
            "none": _example("The wait is over", _news(record.name, "none", [])),
        },
        "get": _records(record, status),
        "submit": {
            "stored": _example("It is stored", {"results": [{**listed, "rejections": []}]}),
            "rejected": _example(
                "It is not", {"results": [{"id": record.id, "coreVersion": 0, "rejections": [rejected]}]}
            ),
        },
        "acknowledge": {"done": _example("Done", {"id": record.id, "coreVersion": 12, "rejections": []})},
        "reconcile": _comparisons(listed),
        "snapshot": {"whole": _example("A stream of one record", _snapshot_lines(record))},
        "hello": {"school": _example("A school's own system", _hello())},
        "notificationTypes": {"one": _example("A catalogue of one type", {"notificationTypes": [_type(record)]})},
        "healthz": {"alive": _example("It answers", {"status": "alive"})},
        "readyz": {"ready": _example("It takes calls", readiness("ready"))},
        "metrics": {
            "one": _example("One of them", 'homeroom_limit_in_use{limit="held_requests_per_node_max"} 1200.0\n')
        },
    }


def readiness(status: str, *reasons: str) -> Json:
    """What /readyz says."""
    told = {"status": status, "reasons": list(reasons), "troubles": [], "epoch": _EPOCH, "reads": "primary"}
    return {**told, "held": 1200, "pid": 4711}


def _asking(stream: Mapping[str, Any], wait_seconds: int) -> Json:
    return {"waitSeconds": wait_seconds, "types": [stream]}


def _news(name: str, reason: str, records: list[Json]) -> Json:
    told = {"notificationType": name, "reason": reason, "maxCoreVersion": 12, "complete": True}
    return {"types": [{**told, "records": records}]}


def _records(record: Sample, status: Sample | None) -> Json:
    told = {"id": record.id, "availability": "Normal", "coreVersion": 10, "deleted": False, "changedAt": _AT}
    found = {**told, "body": record.body}
    examples = {
        "normal": _example("Here it is", {"records": [found], "stoppedAt": None}),
        "stopped": _example("It has changed again", {"records": [], "stoppedAt": 0}),
        "noAccess": _example(
            "Drop the copy", {"records": [{"id": record.id, "availability": "NoAccess"}], "stoppedAt": None}
        ),
    }
    if status is not None:
        source = {"id": status.id, "coreVersion": 10, "deleted": False, "body": status.body}
        calculated = {**told, "id": status.id, "coreVersion": 11, "sourceVersion": 10, "body": {"alerts": []}}
        both = {"records": [{**calculated, "source": source}], "stoppedAt": None}
        examples["status"] = _example("A status with its source", both)
    return examples


def _comparisons(listed: Json) -> Json:
    border: Json = {"from": None, "to": None}
    halves = [
        {"from": None, "to": "5000", "count": 40, "fingerprint": _FINGERPRINT},
        {"from": "5000", "to": None, "count": 41, "fingerprint": _FINGERPRINT},
    ]
    return {
        "match": _example("Both hold the same", {"ranges": [{**border, "result": "match"}]}),
        "records": _example("Few differ", {"ranges": [{**border, "result": "records", "records": [listed]}]}),
        "split": _example("Ask about these", {"ranges": [{**border, "result": "split", "ranges": halves}]}),
    }


def snapshot_lines(record: Sample) -> list[Json]:
    """The lines of a stream of one record."""
    return [
        {"until": 12, "epoch": _EPOCH},
        {"id": record.id, "coreVersion": 10, "changedAt": _AT, "body": record.body},
        {"bookmark": 12},
    ]


def _snapshot_lines(record: Sample) -> str:
    return "".join(orjson.dumps(line).decode() + "\n" for line in snapshot_lines(record))


def _hello() -> Json:
    school = {"code": "S.0982", "name": "Maple Ridge School"}
    who = {"client": "Maple Ridge SIS", "role": "writer", "organization": "S.0982", "organizations": [school]}
    return {**who, "epoch": _EPOCH, "serverTime": _AT}


def _type(record: Sample) -> Json:
    return {"name": record.name.partition(".")[0], "schoolYear": "none", "idFormat": "code", "audience": "public"}
