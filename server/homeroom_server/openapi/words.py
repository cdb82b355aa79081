"""What each member of a request is for, and the forms that requests are held against only once their type is known."""

from collections.abc import Mapping
from typing import Any

from homeroom.protocol import (
    LISTED_PER_TYPE_MAX,
    NOTIFICATION_TYPE,
    RANGES_PER_CALL_MAX,
    RECORDS_PER_CALL_MAX,
    TYPES_PER_CALL_MAX,
    WAIT_SECONDS_DEFAULT,
    WAIT_SECONDS_MAX,
)
from homeroom_server.rule_set import ANY_ID

Json = dict[str, Any]
Words = Mapping[str, str]
"""By the member's place: `types[].maxCoreVersion`; the request itself is ``."""

TYPE_NAME: Json = {"type": "string", "pattern": f"^(?:{NOTIFICATION_TYPE.pattern})$"}
_FORMS: Mapping[str, Json] = {
    "id": {"type": "string", "pattern": f"^{ANY_ID.pattern}$"},
    "notificationType": TYPE_NAME,
}
_AN_ID = "The record's id: a UUID, an ASN (nine digits) or a code of this form, as its type has it."

REQUESTS: Mapping[str, Words] = {
    "isDataAvailable": {
        "": "Which streams, and how far the client has come in each.",
        "waitSeconds": f"How long to be held if nothing is new, 0 to {WAIT_SECONDS_MAX}; 0 is answered now. The "
        f"default of {WAIT_SECONDS_DEFAULT} stays below the usual minute of proxies. Allow the answer some seconds "
        "more.",
        "types": f"1 to {TYPES_PER_CALL_MAX} types, none twice. One call may ask for all that a client follows.",
        "types[]": "One stream: a type as the acting organisation sees it.",
        "types[].notificationType": "Type, or Type.YYYY where it has school years (2027 is 2026/27). Case does not "
        "count.",
        "types[].maxCoreVersion": "The cursor: 0 at first, then the maxCoreVersion of the answer before, or the "
        "bookmark of a snapshot. Nothing else: not what Get or Submit returned.",
        "types[].versionHash": "MD5, in hex, over the core versions of all live records held, ascending, each as 8 "
        "bytes big-endian. If it differs from the Core's, the answer is the full list. Left out or null: not judged.",
        "types[].listAfter": f"Goes on with a full list that was cut (more than {LISTED_PER_TYPE_MAX:,} records): the "
        "last version listed, together with the same maxCoreVersion.",
    },
    "get": {
        "": "Which records, at which versions.",
        "records": f"1 to {RECORDS_PER_CALL_MAX:,}, no id twice. They are processed in this order.",
        "records[]": "One record.",
        "records[].id": _AN_ID,
        "records[].expectedVersion": "The version that a list named. If the record stands at another, it is not "
        "returned and processing stops there. 0 or left out: the record as it stands.",
        "records[].knownSourceVersion": "Status types alone: the version of the source that the client holds. A newer "
        "source comes with the status; left out, it always does.",
    },
    "submit": {
        "": "What is to be stored.",
        "records": f"1 to {RECORDS_PER_CALL_MAX:,}, no id twice. Each is accepted or rejected by itself.",
        "records[]": "One addition, update, deletion or undeletion.",
        "records[].id": _AN_ID + " The caller chooses it for a new record.",
        "records[].expectedVersion": "The version that the caller saw; 0 for a record that is new, and allowed for "
        "one that is deleted. If the body has changed since, the record is rejected with 3004.",
        "records[].deleted": "True deletes; false, the default, stores the body, and undeletes.",
        "records[].organization": "Who owns a new record; left out: the acting organisation. It never changes "
        "afterwards.",
        "records[].body": "The whole record, in place of what stood there. Its schema is that of the type. A deletion "
        "may leave it out.",
    },
    "acknowledge": {
        "": "Which alert, and what is said of it.",
        "id": "The id of the status, which is that of its source.",
        "alertCode": "The alert's code, as the status has it.",
        "arguments": "The alert's arguments, exactly as the status has them: an alert judged on other data is another "
        "one.",
        "arguments{}": "A value, as text.",
        "state": "InProgress or Acknowledged for an advice; Overridden by the ministry alone; Unacknowledged takes it "
        "back.",
    },
    "reconcile": {
        "": "What the client holds, as counts and fingerprints of ranges of ids.",
        "maxCoreVersion": "The cursor up to which the client has followed the type; the node reaches it first.",
        "ranges": f"1 to {RANGES_PER_CALL_MAX:,}, ascending, not overlapping. Begin with one that is open at both "
        "ends.",
        "ranges[]": "Ids with from <= id < to, compared bytewise.",
        "ranges[].from": "The first id of the range; null: from the beginning.",
        "ranges[].to": "The first id beyond it; null: to the end.",
        "ranges[].count": "How many live records the client holds there.",
        "ranges[].fingerprint": "Over these records: the two 64-bit halves of MD5(id, 0x00, version as 8 bytes "
        "big-endian), each summed modulo 2^64, as 32 hex digits.",
    },
}


def described(schema: Mapping[str, Any], words: Words, at: str = "") -> Json:
    """The schema with its words, and the forms of ids and types' names wherever it takes one."""
    found: Json = {**schema, **({"description": words[at]} if at in words else {})}
    if "properties" in schema:
        found["properties"] = {
            name: described(_formed(name, part), words, f"{at}.{name}" if at else name)
            for name, part in schema["properties"].items()
        }
    if "items" in schema:
        found["items"] = described(schema["items"], words, f"{at}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = described(schema["additionalProperties"], words, f"{at}{{}}")
    return found


def _formed(name: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return _FORMS[name] if name in _FORMS and schema == {"type": "string"} else schema
