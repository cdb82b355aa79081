"""`POST /v1/is-data-available` (protocol 3 and 4)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from starlette.requests import Request
from starlette.responses import Response

from homeroom.errors import Code, Fault, HomeroomError, error
from homeroom.protocol import TYPES_PER_CALL_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX
from homeroom_server import audience
from homeroom_server.auth import Caller
from homeroom_server.availability import Entry, Finding
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.hang_up import unless_hung_up
from homeroom_server.endpoints.requests import VERSION_SCHEMA, Faults
from homeroom_server.json_schema import compile_schema
from homeroom_server.services import Services
from homeroom_server.waiters import Watch

_EARLY_SHARE_MAX = 0.1
"""Waits end up to this share early, at random, so that clients do not come back in step."""


_SCHEMA = compile_schema(
    {
        "type": "object",
        "required": ["types"],
        "additionalProperties": False,
        "properties": {
            "waitSeconds": {"type": "integer"},
            "types": {
                "type": "array",
                "minItems": 1,
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
)


@dataclass(frozen=True, slots=True)
class _Question:
    entries: Sequence[Entry]
    wait_seconds: int


async def is_data_available(request: Request) -> Response:
    """Answer at once if something is newer or a hash differs; else when it does, or when the wait ends."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    document = requests.parse_json(await requests.read_body(request, services.settings.body_bytes_max))
    question = _parse(document, services, caller)
    answer = await unless_hung_up(request.receive, lambda: _answer(services, caller, question))
    if answer is None:
        return Response()  # nobody is there to read it
    for entry, part in zip(question.entries, answer.parts, strict=True):
        services.client_streams.told(caller, entry, part)
    return requests.json_response(answer.encoded, answer.epoch)


async def _answer(services: Services, caller: Caller, question: _Question) -> Finding:
    """Watch, read, then wait; a wake that reads nothing stays registered."""
    entries = tuple(question.entries)
    early = 1 - random.uniform(0, _EARLY_SHARE_MAX)
    deadline = anyio.current_time() + question.wait_seconds * early
    with services.waiters.watch([(entry.notification_type, entry.viewer) for entry in entries]) as watch:
        finding = await _caught_up(services, entries, watch)
        if finding.has_news or question.wait_seconds == 0:
            return finding
        with services.waiters.hold(caller.client):
            while await watch.wait_until(deadline):
                services.directory.check_again(caller)
                watch.reset()
                finding = await services.availability.look(entries)
                if finding.has_news:
                    return finding
    return finding.with_bookmarks([services.feed.seen(entry.notification_type) for entry in entries])


async def _caught_up(services: Services, entries: tuple[Entry, ...], watch: Watch) -> Finding:
    """The first look, repeated for a few seconds while the client has seen more than this node.

    Raises ResyncNeeded 2003 for versions of another history, RetryLater 2002 if the node stays behind.
    """
    deadline = anyio.current_time() + services.settings.catch_up_seconds
    watched_also = False
    while True:
        watch.reset()
        finding = await services.availability.look(entries)
        if finding.beyond:
            pointers = [
                f"/types/{i}/maxCoreVersion" for i, e in enumerate(entries) if e.notification_type in finding.beyond
            ]
            names, wrong = ", ".join(map(str, finding.beyond)), [Fault(p, "above every version") for p in pointers]
            raise error(Code.OTHER_HISTORY, f"the Core never gave out versions this high: {names}", wrong)
        if not finding.behind:
            return finding
        if not watched_also:
            watched_also = True
            for notification_type in finding.behind:
                services.waiters.watch_also(watch, (notification_type, None))
            continue
        if not await watch.wait_until(deadline):
            names = ", ".join(map(str, finding.behind))
            raise error(Code.NODE_BEHIND, f"this node has not yet seen the version that the client holds: {names}")


def _parse(document: object, services: Services, caller: Caller) -> _Question:
    """The question that was asked; raises FixRequest with every fault."""
    faults = Faults()
    types = requests.list_of(document, "types", TYPES_PER_CALL_MAX)
    faults.check(_SCHEMA, document)
    wait = document.get("waitSeconds", WAIT_SECONDS_DEFAULT) if isinstance(document, dict) else None
    if isinstance(wait, int | float) and not 0 <= wait <= WAIT_SECONDS_MAX:
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
    assert isinstance(wait, int | float), "faults have been raised"
    return _Question(entries, int(wait))
