"""Every code of the protocol: what its caller should do, and how such a problem reads."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from homeroom.errors import MEANINGS, Code

Json = dict[str, Any]


class Advice(NamedTuple):
    """`what_to_do`: for a programmer. `detail`: as an answer may say it; where a `pointer` is given, of that place."""

    what_to_do: str
    detail: str
    pointer: str | None = None


ADVICE: Mapping[Code, Advice] = {
    Code.NO_SUCH_KEY: Advice(
        "Stop. Look whether the key is whole and meant for this Core; ask the operator for another.",
        "this API key is not known here",
    ),
    Code.KEY_DISABLED: Advice(
        "Stop. The key was replaced or has expired: put the new one in place, or ask the operator for one.",
        "this API key has been disabled",
    ),
    Code.CLIENT_DISABLED: Advice(
        "Stop. Ask the operator why the client was disabled.", "this client has been disabled"
    ),
    Code.SERVICE_NOT_OPEN: Advice(
        "Stop. The client may only read, or must call from its own network or with its certificate: ask the operator.",
        "the role reader does not include this service",
    ),
    Code.ORGANIZATION_NOT_REPRESENTED: Advice(
        "Stop. Name in Organization one of those that hello lists; ask the operator if one is missing.",
        "this client does not represent 'S.0990'",
    ),
    Code.CORE_NOT_AVAILABLE: Advice(
        "Send the same call again after Retry-After seconds, then after twice as long each time, with chance in it. "
        "Writes with an Idempotency-Key are never done twice.",
        "the database cannot be reached, or did not do in time what was asked; try again",
    ),
    Code.NODE_BEHIND: Advice(
        "Send the same call again after Retry-After seconds: this node has not yet seen what another one told you.",
        "this node has not yet seen the version that the client holds: School",
    ),
    Code.OTHER_HISTORY: Advice(
        "The Core's database was restored. Load the type anew from a snapshot, or reconcile; then go on from its "
        "bookmark.",
        "the Core never gave out versions this high: School",
    ),
    Code.CLIENT_LIMIT: Advice(
        "Wait Retry-After seconds, and call less often or hold fewer requests at once: the detail names the limit.",
        "this client makes more than 1000 calls a second on this node (calls_per_client_per_second_max)",
    ),
    Code.NOT_OF_SCHEMA: Advice(
        "Correct the request where errors point; sent again as it is, it fails again.",
        "the value is less than the minimum of 0",
        "/types/0/maxCoreVersion",
    ),
    Code.NOT_STRUCTURED: Advice(
        "Correct the request: JSON in UTF-8, no id or type twice, an Idempotency-Key for one request only.",
        "the same as /records/0/id",
        "/records/1/id",
    ),
    Code.TOO_LARGE: Advice(
        "Send fewer records a call, or smaller bodies; the detail names the limit.",
        "the body is over 8388608 bytes (body_bytes_max)",
    ),
    Code.VERSION_MISMATCH: Advice(
        "Somebody else was faster. Get the record as it stands, put your change into it, and submit that with its "
        "version.",
        "the record is at version 104",
    ),
    Code.UNKNOWN_TYPE: Advice(
        "Take a type that the catalogue names; Submit takes no status type, Acknowledge nothing else.",
        "there is no notification type Schol",
        "/types/0/notificationType",
    ),
    Code.UNEXPECTED_YEAR: Advice(
        "Leave the school year away where the type takes none. In a rejection: the record was created under another "
        "year.",
        "School takes no school year",
        "/types/0/notificationType",
    ),
    Code.INVALID_WAIT: Advice("Ask for 0 to 300 seconds.", "takes 0 to 300 seconds", "/waitSeconds"),
    Code.YEAR_MISSING: Advice(
        "Add the calendar year in which the school year ends: Type.2027.",
        "CourseEnrolment takes a school year: CourseEnrolment.YYYY",
        "/types/0/notificationType",
    ),
    Code.VERSION_NOT_SEEN: Advice("Submit the record again.", "this node has not yet seen that version"),
    Code.NOT_AUTHORIZED_FOR_RECORD: Advice(
        "Do not send it again. Its owner, the owner's authority and the ministry write a record; look for whom you "
        "call.",
        "this organisation may not write this record",
    ),
    Code.CHANGES_NOTHING: Advice("Nothing is to be done: the record is so already.", "the record is already so"),
    Code.YEAR_NOT_OPEN: Advice(
        "Keep the change, or drop it: this school year is not open for writing.",
        "this school year is not open for writing",
    ),
    Code.BODY_FAILS_SCHEMA: Advice(
        "Correct the body where errors point: its schema stands with the type.",
        "the body fails the schema of School in 1 places",
        "/names",
    ),
    Code.NO_SUCH_ALERT: Advice(
        "Get the status as it stands: its alerts were calculated anew.", "the status carries no alert 42005"
    ),
    Code.ARGUMENTS_DIFFER: Advice(
        "Get the status as it stands: the alert was judged on other data.", "alert 42005 stands with other arguments"
    ),
    Code.STATE_NOT_ALLOWED: Advice(
        "Only an advice can be acknowledged, and only the ministry overrides: correct the record itself.",
        "the alert cannot be put into that state",
    ),
}


def ends_a_call(code: Code) -> bool:
    """Whether it is a problem; else it stands among the rejections of a record."""
    return MEANINGS[code].status != 200


def problem_examples(codes: Iterable[Code]) -> Json:
    """By code, a problem as it may be answered."""
    return {str(code.value): _example(code) for code in codes if ends_a_call(code)}


def _example(code: Code) -> Json:
    meaning, advice = MEANINGS[code], ADVICE[code]
    faults = [] if advice.pointer is None else [{"pointer": advice.pointer, "detail": advice.detail}]
    value = {
        "type": f"urn:homeroom:problem:{code.value}",
        "status": meaning.status,
        "code": code.value,
        "title": meaning.title,
        "detail": f"{advice.pointer}: {advice.detail}" if advice.pointer else advice.detail,
        "action": meaning.action,
        "errors": faults,
    }
    return {"summary": f"{code.value} {meaning.title}", "description": advice.what_to_do, "value": value}


def rejection_example(code: Code, **versions: int) -> Json:
    """One of a record's rejections as it may be answered."""
    meaning = MEANINGS[code]
    told = {"code": code.value, "title": meaning.title, "detail": ADVICE[code].detail, "action": meaning.action}
    return {**told, **versions}
