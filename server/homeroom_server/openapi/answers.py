"""What the Core answers, as JSON Schema (protocol 2 to 7)."""

from collections.abc import Mapping

from homeroom.errors import MEANINGS, Code
from homeroom_server.openapi.shape import (
    Schema,
    always,
    any_object,
    count,
    list_of,
    named,
    object_with,
    one_of,
    text,
    version,
    whether,
)

_CODE = "The code of the protocol, which never changes its sense."
_TITLE = "The code in words; the same for every answer with this code."
_DETAIL = "What is wrong this time, for the log. It repeats nothing of a record's body."
_ACTION = one_of(
    "What the caller should do: fix the request, retry it as it is later, resync what it holds, or stop until a person "
    "has acted.",
    *("fix", "retry", "resync", "stop"),
)
_OF_A_RECORD = [*(code.value for code in Code if MEANINGS[code].status == 200), Code.UNEXPECTED_YEAR.value]
"""The last one also ends a call: where the type takes no year, not where the record has another."""
_ID = text("The record's id.")
_BODY = any_object("The record itself, in the schema of its type.")
_LISTED = list_of(named("ListedRecord"), "Ascending by version; none twice.")
_BORDERS: Mapping[str, Schema] = {
    "from": {"type": ["string", "null"], "description": "The first id of the range; null: from the beginning."},
    "to": {"type": ["string", "null"], "description": "The first id beyond the range; null: to the end."},
}


def _range(description: str, **members: Schema) -> Schema:
    return object_with(description, **_BORDERS, **members)


_SMALLER = _range(
    "A range of ids that lies within the one asked about.",
    count=version("How many live records the Core has there."),
    fingerprint=text("Over these records, made as in the request."),
)

SCHEMAS: Mapping[str, Schema] = {
    "Problem": object_with(
        "Why a call was refused (RFC 9457).",
        type=text("A URN for the code; /docs/problems explains it."),
        status={"type": "integer", "description": "The HTTP status of the answer."},
        code=one_of(_CODE, *(code.value for code in Code if MEANINGS[code].status != 200)),
        title=text(_TITLE),
        detail=text(_DETAIL),
        action=_ACTION,
        errors=list_of(named("Fault"), "Every fault of the request, not just the first; empty where it has none."),
    ),
    "Refusal": object_with(
        "Why something was refused that was no call of the protocol: it has no code.",
        ("detail",),
        type=text("Always about:blank: the status says what it is."),
        status={"type": "integer", "description": "The HTTP status of the answer."},
        title=text("The status in words."),
        detail=text("What is wrong this time, and which limit it is."),
        action=_ACTION,
    ),
    "Fault": object_with(
        "One thing that is wrong.",
        pointer=text("Where: a JSON pointer (RFC 6901) into the body; ?name for a parameter."),
        detail=text("What is wrong there."),
    ),
    "Rejection": object_with(
        "Why a record was not stored.",
        ("errors", "expectedVersion", "coreVersion"),
        code=one_of(_CODE, *_OF_A_RECORD),
        title=text(_TITLE),
        detail=text(_DETAIL),
        action=_ACTION,
        errors=list_of(named("Fault"), "With 9040: every place where the body fails its schema."),
        expectedVersion=version("With 3004: the version that was expected."),
        coreVersion=version("With 3004: the version at which the record stands; 0: there is none."),
    ),
    "ListedRecord": object_with(
        "A record of a list: fetch it with Get, with this version as the expected one.",
        id=_ID,
        coreVersion=version("Its newest version in this stream."),
    ),
    "Availability": object_with(
        "What is new in each stream.",
        types=list_of(named("StreamNews"), "One for each type asked about, in the order of the request."),
    ),
    "StreamNews": object_with(
        "What is new in one stream.",
        notificationType=text("The type in its canonical spelling."),
        reason=one_of(
            "newer: the records are what has moved above the client's cursor. mismatch: they are the full list of live "
            "records, and what the client holds beyond them is to be dropped. none: nothing is new.",
            *("newer", "mismatch", "none"),
        ),
        maxCoreVersion=version("The next question's cursor. Keep it together with what was applied."),
        complete=whether("False where a list was cut: ask on at once."),
        records=_LISTED,
    ),
    "Records": object_with(
        "What was asked for, in order, up to where processing stopped.",
        records=list_of(named("Record"), "One for each item that was processed."),
        stoppedAt={
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "The index of the first item at another version than expected: it has changed again, and "
            "the next list names it. No item from there on was processed. Null: all were.",
        },
    ),
    "Record": object_with(
        "A record, or why there is none.",
        ("coreVersion", "deleted", "changedAt", "sourceVersion", "body", "source"),
        id=_ID,
        availability=one_of(
            "Normal: here it is. Unknown: there is no such record, or it is none of the caller's business. NoAccess: "
            "the caller may see it no longer, and drops its copy.",
            *("Normal", "Unknown", "NoAccess"),
        ),
        coreVersion=version("The version of the record."),
        deleted=whether("True: it was deleted, and the body is the last one it had."),
        changedAt=text("When the body last changed, in UTC.", format="date-time"),
        sourceVersion=version("Status types: the version of the source that the status was calculated from."),
        body=_BODY,
        source=named("SourceRecord"),
    ),
    "SourceRecord": object_with(
        "Status types: the record that the status is about, read at the same moment.",
        id=_ID,
        coreVersion=version("The version of the source."),
        deleted=whether("True: the source was deleted."),
        body=_BODY,
    ),
    "Results": object_with(
        "What became of each record that was submitted.",
        results=list_of(named("Result"), "In the order of the request."),
    ),
    "Result": object_with(
        "What became of one record: stored if there are no rejections.",
        id=_ID,
        coreVersion=version("The version at which the record now stands; never a cursor. 0 where it was rejected."),
        rejections=list_of(named("Rejection"), "Empty: it was stored, durably."),
    ),
    "Comparison": object_with(
        "How each range compares.",
        ranges=list_of(named("ComparedRange"), "One for each range of the request, in its order."),
    ),
    "ComparedRange": {
        "description": "How one range compares.",
        "oneOf": [
            _range("Both hold the same.", result=always("Nothing is to be done.", "match")),
            _range(
                "They differ, in a range with many records.",
                result=always("Compare the smaller ranges, and ask about those that differ.", "split"),
                ranges=list_of(_SMALLER, "Up to 32, without gaps."),
            ),
            _range(
                "They differ, in a range with few records.",
                result=always(
                    "Get what is missing or at another version; check with Get what is held besides.", "records"
                ),
                records=list_of(named("ListedRecord"), "All live records of the range, up to 32."),
            ),
        ],
    },
    "SnapshotLine": {
        "description": "One line of a snapshot.",
        "oneOf": [
            object_with(
                "The first line: which window of versions this is.",
                until=version("Where the window ends. Send it again to resume a stream that was cut."),
                epoch=text("The history of the Core's database."),
            ),
            object_with(
                "A live record; ascending by version.",
                ("sourceVersion", "source"),
                id=_ID,
                coreVersion=version("Its version. If the stream is cut behind it, send it as after."),
                changedAt=text("When the body last changed, in UTC.", format="date-time"),
                sourceVersion=version("Status types: the version of the source that it was calculated from."),
                body=_BODY,
                source=named("SourceRecord"),
            ),
            object_with(
                "The last line. Without it the stream was cut.",
                bookmark=version("The first cursor for Is Data Available."),
            ),
        ],
    },
    "Hello": object_with(
        "Who calls, for whom, and where the Core stands.",
        client=text("The name under which the client is registered."),
        role=text("reader, or writer: who may submit and acknowledge too."),
        organization=text("For whom this call was made."),
        organizations=list_of(
            object_with(
                "An organisation that the client may act for.",
                code=text("What the Organization header takes."),
                name=text("What people call it."),
            ),
            "All that the client may act for, by code.",
        ),
        epoch=text("The history of the Core's database, as in Homeroom-Epoch."),
        serverTime=text("The Core's clock, in UTC.", format="date-time"),
    ),
    "NotificationTypes": object_with(
        "The catalogue.",
        notificationTypes=list_of(named("NotificationType"), "Every type of this Core, status types included."),
    ),
    "NotificationType": object_with(
        "A type of record.",
        ("source", "student", "schema"),
        name=text("What a notification type begins with."),
        schoolYear=one_of(
            "Whether the name takes a school year, as Type.2027.",
            *("required", "none", "optional"),
        ),
        idFormat=one_of(
            "What ids look like: a UUID, nine digits, or 1 to 64 of A-Z a-z 0-9 . _ -",
            *("uuid", "asn", "code"),
        ),
        audience=one_of(
            "Who sees its records: everybody; the owner, its authority and the ministry; these and every organisation "
            "associated with the record's student.",
            *("public", "owner", "student"),
        ),
        source=text("Status types: the type that the status is about."),
        student=text("The member of the body that names the student; @id: the record's own id."),
        schema=any_object("The JSON Schema of a body; left out where any JSON object is taken."),
    ),
    "Liveness": object_with("That the process answers.", status=always("Always so.", "alive")),
    "Readiness": object_with(
        "Whether this node takes calls.",
        status=one_of("ready with 200, not ready with 503.", "ready", "not ready"),
        reasons=list_of(text("Why it is not ready."), "Empty while it is."),
        troubles=list_of(text("One of them, and what to do."), "What did not work of late, though the node is ready."),
        epoch=text("The history of the Core's database."),
        reads=text("Where the node reads: a standby, or the primary."),
        held=count("How many requests it holds."),
        pid=count("The process that answered."),
    ),
    "StatusBody": object_with(
        "The body of every status type.",
        alerts=list_of(named("Alert"), "What the rules found; empty: all is well."),
    ),
    "Alert": object_with(
        "What a rule found, and what people have said of it.",
        alertCode={"type": "integer", "description": "The rule that found it."},
        alertType=one_of("A Warning must be fixed; an Advice may be acknowledged.", "Warning", "Advice"),
        description=text("What is wrong, for people."),
        arguments={
            "type": "object",
            "description": "The data on which it was judged, as text.",
            "additionalProperties": text("A value of the record, or of one that it names."),
        },
        acknowledgement={
            "type": "object",
            "description": "Its state, and who put it there, when.",
            "required": ["state"],
            "properties": {
                "state": one_of(
                    "Unacknowledged at first.", *("Unacknowledged", "InProgress", "Acknowledged", "Overridden")
                )
            },
        },
    ),
}
