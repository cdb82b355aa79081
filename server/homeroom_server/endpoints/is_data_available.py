"""`POST /v1/is-data-available` (protocol 3 and 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code, Fault, HomeroomError, error
from homeroom.protocol import TYPES_PER_CALL_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX
from homeroom_server import audience
from homeroom_server.auth import Caller
from homeroom_server.availability import HASH_PUT_OFF_SECONDS_MAX, Entry, Finding
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.catch_up import was_given_out
from homeroom_server.endpoints.parked import Parked, parked
from homeroom_server.endpoints.requests import VERSION_SCHEMA, Faults
from homeroom_server.endpoints.waiting import WaitingTask
from homeroom_server.json_schema import compile_schema
from homeroom_server.services import Services

_PATIENCE_SECONDS = 1.0
"""How long a request waits for a hash before it is held: it is judged when the hash is there (protocol 4)."""

REQUEST: Mapping[str, Any] = {
    "type": "object",
    "required": ["types"],
    "additionalProperties": False,
    "properties": {
        "waitSeconds": {"type": "integer"},
        "types": {
            "type": "array",
            "minItems": 1,
            "maxItems": TYPES_PER_CALL_MAX,
            "items": {
                "type": "object",
                "required": ["notificationType", "maxCoreVersion"],
                "additionalProperties": False,
                "properties": {
                    "notificationType": {"type": "string"},
                    "maxCoreVersion": VERSION_SCHEMA,
                    "versionHash": {"type": ["string", "null"], "pattern": "^[0-9a-fA-F]{32}$"},
                    "listAfter": VERSION_SCHEMA,
                },
            },
        },
    },
}
_SCHEMA = compile_schema(REQUEST)


@dataclass(frozen=True, slots=True)
class _Question:
    entries: tuple[Entry, ...]
    wait_seconds: int


async def is_data_available(request: Request) -> Response:
    """Answer at once if something is newer or a hash differs; else when it does, or when the wait ends."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    document = requests.parse_json(await requests.read_body(request, services.settings.body_bytes_max))
    question = _parse(document, services, caller)
    entries = question.entries
    interest = services.waiters.interest(
        [entry.notification_type for entry in entries], [entry.viewer is None for entry in entries]
    )
    with services.waiters.watch(caller, interest) as held:
        while True:
            held.moved = False
            known = services.availability.in_step(entries) if question.wait_seconds else None
            finding = known or await _caught_up(services, question)
            for place, (entry, part) in enumerate(zip(entries, finding.parts, strict=True)):
                if place not in finding.unjudged:
                    services.client_streams.told(caller, entry, part)
            if finding.has_news or question.wait_seconds == 0 or not services.waiters.holding:
                return requests.json_response(finding.answer.body, finding.epoch)
            if not held.moved:  # and nothing can move before it is held: nothing is awaited on the way
                services.waiters.admit(caller)
                outlet = parked(request, held) or WaitingTask()
                services.waiters.hold(held, finding.cursors, question.wait_seconds, outlet)
                services.availability.judge_later(finding.unjudged.values(), partial(services.waiters.release, held))
                return await outlet.response(request, services, held) if isinstance(outlet, WaitingTask) else Parked()


async def _caught_up(services: Services, question: _Question) -> Finding:
    """A look, repeated once this node has seen what the client has.

    Raises ResyncNeeded 2003 for versions of another history, RetryLater 2002 if the node stays behind.
    """
    entries = question.entries
    finding = await _judged(services, question)
    await _check_history(services, entries, finding)
    if finding.behind:
        deadline = anyio.current_time() + services.settings.catch_up_seconds
        for entry in entries:
            await services.feed.reach(entry.notification_type, entry.max_core_version, deadline)
        finding = await _judged(services, question)
    if finding.behind:
        names = ", ".join(map(str, finding.behind))
        raise error(Code.NODE_BEHIND, f"this node has not yet seen the version that the client holds: {names}")
    return finding


async def _judged(services: Services, question: _Question) -> Finding:
    """A look. Who does not wait is not woken either, and is told "none" only where its hash was judged.

    Raises RetryLater 2002 where that takes too long.
    """
    if question.wait_seconds:
        return await services.availability.look(question.entries, _PATIENCE_SECONDS)
    for _ in range(len(question.entries) + 1):  # each look lists what outran the one before it
        finding = await services.availability.look(question.entries, HASH_PUT_OFF_SECONDS_MAX)
        if finding.unjudged:
            break
        if not finding.outrun:
            return finding
    raise error(Code.NODE_BEHIND, "the version hash could not be judged in time; ask again")


async def _check_history(services: Services, entries: tuple[Entry, ...], finding: Finding) -> None:
    beyond = [
        place
        for place, entry in enumerate(entries)
        if entry.notification_type in finding.behind
        and not await was_given_out(services, entry.max_core_version, finding.counter)
    ]
    if beyond:
        names = ", ".join(str(entries[place].notification_type) for place in beyond)
        wrong = [Fault(f"/types/{place}/maxCoreVersion", "above every version") for place in beyond]
        raise error(Code.OTHER_HISTORY, f"the Core never gave out versions this high: {names}", wrong)


def _parse(document: object, services: Services, caller: Caller) -> _Question:
    """The question that was asked; raises FixRequest with every fault."""
    faults = Faults()
    types = requests.list_of(services, document, "types", TYPES_PER_CALL_MAX)
    faults.check(_SCHEMA, document)
    wait_seconds = document.get("waitSeconds", WAIT_SECONDS_DEFAULT) if isinstance(document, dict) else None
    if isinstance(wait_seconds, int | float) and not 0 <= wait_seconds <= WAIT_SECONDS_MAX:
        faults.add(Code.INVALID_WAIT, "/waitSeconds", f"takes 0 to {WAIT_SECONDS_MAX} seconds")
    found = []
    for index, entry in enumerate(types):
        name = requests.text_of(entry, "notificationType")
        resolved = None if name is None else services.catalogue.find(name)
        if isinstance(resolved, HomeroomError):
            faults.add(resolved.code, f"/types/{index}/notificationType", resolved.detail)
        found.append(resolved)
    names = [None if r is None or isinstance(r, HomeroomError) else str(r[0]) for r in found]
    faults.check_twice(names, "/types", "notificationType")
    faults.raise_if_any()
    entries = []
    for entry, resolved in zip(types, found, strict=True):
        assert isinstance(resolved, tuple), "faults have been raised"
        notification_type, definition = resolved
        version_hash = entry.get("versionHash")
        entries.append(
            Entry(
                notification_type,
                audience.viewer(definition, caller),
                int(entry["maxCoreVersion"]),
                None if version_hash is None else version_hash.lower(),
                int(entry["listAfter"]) if "listAfter" in entry else None,
            )
        )
    assert isinstance(wait_seconds, int | float), "faults have been raised"
    return _Question(tuple(entries), int(wait_seconds))
