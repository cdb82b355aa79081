"""A call of the client, played: first what holds in every case, then the case's own script, then the Core."""

from collections.abc import Sequence
from http import HTTPStatus

import anyio
import orjson

from homeroom.errors import Code, Fault
from homeroom_server.conformance.client import answering, diagnosis
from homeroom_server.conformance.client.answering import Answer, answered, refused
from homeroom_server.conformance.client.rules import faults_of
from homeroom_server.conformance.client.scripted_core import ENROLMENT, SCHOOL, STATUS, Json
from homeroom_server.conformance.client.stage import Call, Stage

CALLS_PER_SECOND_MAX = 100
_MISMATCHES_MAX = 6
"""Who is told so often that its hash differs does not repair."""


async def played(stage: Stage, call: Call) -> Answer:
    """The answer to a call; the stage has learned of both."""
    stage.calls.append(call)
    answer = _refusal(stage, call) or stage.interrupt(call) or await _served(stage, call)
    call.answer, call.told = answer, _words(answer)
    _learn(stage, call, answer)
    stage.wake()
    return answer


def _refusal(stage: Stage, call: Call) -> Answer | None:
    """The answer to a call that no client may make: the case has failed."""
    recent = stage.calls[-CALLS_PER_SECOND_MAX - 1 :]
    if len(recent) > CALLS_PER_SECOND_MAX and recent[0].at > call.at - 1:
        stage.fail(f"it made more than {CALLS_PER_SECOND_MAX} calls within a second")
        return refused(Code.CLIENT_LIMIT, "too many calls within a second", retry_after=60)
    faults = faults_of(call.service, call.body, stage.told)
    if call.organization != SCHOOL:
        faults.append(f"it acts for {call.organization[:40]!r}; the header Organization is {SCHOOL}, or left out")
    if call.service == "?":
        faults = ["it calls a path, or sends a body, that the protocol does not know"]
    if call.service == "submit" and stage.core.named(call.name) == STATUS:
        faults.append("it submits a status, which only the Core makes")
    for name in _names(call):
        if stage.core.named(name) is None:
            faults.append(f"it calls {call.service} for {name[:80]!r}; its types are {', '.join(stage.types)}")
    if not faults:
        return None
    stage.fail("; ".join(faults[:3]))
    return refused(Code.NOT_STRUCTURED, "; ".join(faults[:3]))


def _names(call: Call) -> Sequence[str]:
    if call.service != "is-data-available":
        return [call.name] if call.name else []
    types = call.body.get("types")
    entries = types if isinstance(types, list) else []
    return [
        str(entry["notificationType"]) for entry in entries if isinstance(entry, dict) and "notificationType" in entry
    ]


async def _served(stage: Stage, call: Call) -> Answer:
    core, body, name = stage.core, call.body, stage.core.named(call.name) or ""
    match call.service:
        case "hello":
            return answering.hello(core)
        case "notification-types":
            return answering.notification_types()
        case "is-data-available":
            return await _is_data_available(stage, call)
        case "get":
            _look_at_sources(stage, name, call)
            return answering.get(core, name, [record | {"id": record["id"].lower()} for record in call.records])
        case "submit":
            return submit(stage, call, name)
        case "snapshot":
            return answering.snapshot(core, name, body["after"], body.get("until"))
        case _:
            return answering.reconcile(core, name, body.get("maxCoreVersion", 0), body["ranges"])


def submit(stage: Stage, call: Call, name: str) -> Answer:
    """What a Submit comes to; under an Idempotency-Key that was used already, the first answer."""
    key = call.idempotency_key
    if key in stage.first_answers:
        body, first = stage.first_answers[key]
        if body == call.body:
            return first
        stage.fail("it sent another body under an Idempotency-Key that it had used")
        return refused(Code.NOT_STRUCTURED, "this Idempotency-Key went with another body")
    records = [record | {"id": record["id"].lower()} for record in call.records]
    answer = answering.submit(stage.core, name, records)
    if key is not None:
        stage.first_answers[key] = (call.body, answer)
    return answer


async def _is_data_available(stage: Stage, call: Call) -> Answer:
    core = stage.core
    asked = [entry | {"notificationType": core.named(entry["notificationType"])} for entry in call.body["types"]]
    beyond = [n for n, entry in enumerate(asked) if entry["maxCoreVersion"] > core.counter]
    if beyond:
        faults = [Fault(f"/types/{n}/maxCoreVersion", "of another history") for n in beyond]
        return refused(Code.OTHER_HISTORY, "a version of another history", faults)
    continued = any("listAfter" in entry for entry in asked)
    epoch, waits_ended = core.epoch, stage.waits_ended
    with anyio.move_on_after(call.body.get("waitSeconds", 50)) as wait:
        while True:
            found = [_looked(stage, entry) for entry in asked]
            if core.epoch != epoch:
                return refused(Code.CORE_NOT_AVAILABLE, "another history has begun", retry_after=1)
            over = wait.deadline <= anyio.current_time() or stage.closed or stage.waits_ended != waits_ended
            if over or continued or any(entry["reason"] != "none" for entry in found):
                break
            await stage.hold()
    return answered({"types": found})


def _looked(stage: Stage, question: Json) -> Json:
    """What one type is told, and what its hash proves."""
    found, digest = answering.look(stage.node, question), question.get("versionHash")
    name = question["notificationType"]
    if digest is None or "listAfter" in question or found["reason"] == "newer":
        return found
    if found["reason"] == "none":
        stage.proved[name] = stage.node.revision
    elif not stage.mismatch_expected:
        stage.fail(f"the version hash of {name} is {diagnosis.held(stage.node, name, str(digest))}")
    return found


def _look_at_sources(stage: Stage, name: str, call: Call) -> None:
    """Who says which source it holds must hold it: the Core leaves it out then (protocol 5)."""
    if name != STATUS:
        return
    for record in call.records:
        known, record_id = record.get("knownSourceVersion"), record["id"].lower()
        had = stage.core.given.get((ENROLMENT, record_id), set())
        brought = stage.sources_brought.get(record_id, 0)
        if known is not None and known not in had:
            stage.fail(f"knownSourceVersion of {record_id} is {known}, which its source never was")
        elif known is not None and known < brought:
            stage.fail(f"knownSourceVersion of {record_id} is {known}, but its source was brought at version {brought}")


def _learn(stage: Stage, call: Call, answer: Answer) -> None:
    """What the client has been told by this answer."""
    if answer.status != HTTPStatus.OK:
        return
    match call.service:
        case "is-data-available":
            entries = orjson.loads(answer.content)["types"]
            told = {entry["notificationType"]: entry["maxCoreVersion"] for entry in entries}
            stage.hashes_sent += sum("versionHash" in entry for entry in call.body["types"])
            _count_mismatches(stage, entries)
        case "snapshot":
            lines = [orjson.loads(line) for line in answer.content.splitlines()]
            told = {call.name: lines[-1].get("bookmark", 0)}
            _note_sources(stage, lines)
        case "get":
            told = {}
            _note_sources(stage, orjson.loads(answer.content)["records"])
        case _:
            told = {}
    for name, cursor in told.items():
        stage.told[name.lower()] = max(cursor, stage.told.get(name.lower(), 0))


def _count_mismatches(stage: Stage, entries: Sequence[Json]) -> None:
    differ = any(entry["reason"] == "mismatch" for entry in entries)
    stage.mismatches = stage.mismatches + 1 if differ else 0
    if stage.mismatches > _MISMATCHES_MAX:
        stage.fail(f"it was told {stage.mismatches} times in a row that its hash differs, and did not repair")


def _note_sources(stage: Stage, records: Sequence[Json]) -> None:
    stage.sources_brought |= {record["id"]: record["source"]["coreVersion"] for record in records if "source" in record}


def _words(answer: Answer) -> str:
    """An answer in a few words."""
    if answer.kind != "application/json":
        problem = orjson.loads(answer.content) if answer.kind == "application/problem+json" else {}
        after = "" if answer.retry_after is None else f", Retry-After: {answer.retry_after}"
        return f"{answer.status}{' code ' + str(problem['code']) if problem else ''}{after}"
    found = orjson.loads(answer.content)
    if "types" in found:
        return "; ".join(_entry_words(entry) for entry in found["types"])
    if "results" in found:
        codes = [
            r["rejections"][0]["code"] if r["rejections"] else f"version {r['coreVersion']}" for r in found["results"]
        ]
        return ", ".join(map(str, codes[:5]))
    if "records" in found:
        stopped = "" if found["stoppedAt"] is None else f", stopped at {found['stoppedAt']}"
        return f"{len(found['records']):,} records{stopped}"
    return str(answer.status)


def _entry_words(entry: Json) -> str:
    cut = "" if entry["complete"] else ", not complete"
    return f"{entry['reason']}, {len(entry['records']):,} listed{cut}, maxCoreVersion {entry['maxCoreVersion']}"
