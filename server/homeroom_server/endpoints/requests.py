"""What every endpoint does with a request: who calls, what was sent, and every fault in it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from homeroom.errors import Code, Fault, HomeroomError, error
from homeroom.protocol import CORE_VERSION_MAX
from homeroom_server.auth import Caller, Role
from homeroom_server.bodies import Bodies
from homeroom_server.catalogue import TypeDefinition
from homeroom_server.endpoints import compression
from homeroom_server.json_schema import Validator, schema_faults
from homeroom_server.peers import Origin
from homeroom_server.services import Services

EPOCH_HEADER = "Homeroom-Epoch"
CLIENT = "homeroom.client"
"""In a request's scope: the number of the client that calls, once it is known."""
_inflating = anyio.CapacityLimiter(4)
"""So many bodies at once, each into a buffer of the limit's size."""
_RETRY_AFTER_SECONDS = (1, 5)
_NO_MEMORY = "Not enough memory"
"""As orjson says it, which takes the fault for the body's."""
VERSION_SCHEMA = {"type": "integer", "minimum": 0, "maximum": CORE_VERSION_MAX}


@dataclass(slots=True)
class Faults:
    """All that is wrong with a request; the first code found names the whole answer."""

    found: list[tuple[Code, Fault]] = field(default_factory=list)

    def add(self, code: Code, pointer: str, detail: str) -> None:
        self.found.append((code, Fault(pointer, detail)))

    def check(self, validator: Validator, document: object) -> None:
        """Add every place where a document does not match its schema (3001)."""
        self.found += [(Code.NOT_OF_SCHEMA, fault) for fault in schema_faults(validator, document)]

    def check_twice(self, values: Sequence[object], pointer: str, member: str) -> None:
        """Add every entry of a list that names what an earlier one named (3002)."""
        seen: dict[object, int] = {}
        for index, value in enumerate(values):
            first = seen.setdefault(value, index)
            if value is not None and first != index:
                self.add(
                    Code.NOT_STRUCTURED,
                    f"{pointer}/{index}/{member}",
                    f"the same as {pointer}/{first}/{member}",
                )

    def raise_if_any(self) -> None:
        if self.found:
            code, first = self.found[0]
            more = f" (and {len(self.found) - 1} more, see errors)" if len(self.found) > 1 else ""
            detail = f"{first.pointer or 'the request'}: {first.detail}{more}"
            raise error(code, detail, [fault for _, fault in self.found])


def header(request: Request, name: bytes) -> str | None:
    """The value of a header, named in lower case."""
    for given, value in request.scope["headers"]:
        if given == name:
            return str(value, "latin-1")
    return None


def service_of(scope: Scope) -> str:
    """The name of a call's endpoint; all that people see of one kind is one."""
    for place in ("console", "docs"):
        if scope["path"].startswith(f"/{place}"):
            return place
    return str(getattr(scope.get("endpoint"), "__name__", "none"))


def said_service(scope: Scope) -> str:
    """As people read it, in metrics, log and traces: is-data-available."""
    return service_of(scope).replace("_", "-")


async def authenticate(request: Request, services: Services, *, writes: bool = False) -> Caller:
    """The caller; raises 1001-1003, 1007 if its role lacks the service or it may not call so, 1008, 2004."""
    origin = Origin(services.peers, request)
    key = await services.directory.identify(header(request, b"authorization"), origin)
    request.scope[CLIENT] = key.client
    services.client_traffic.called(key.client)
    caller = services.directory.caller(key, header(request, b"organization"), origin)
    services.rates.admit(key.client)
    if writes and caller.role is not Role.WRITER:
        raise error(Code.SERVICE_NOT_OPEN, f"the role {caller.role.value} does not include this service")
    return caller


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The body, inflated if it was compressed.

    Raises FixRequest 3003 over `bytes_max`, before reading it where its length is announced, 3002 if it cannot be
    inflated, or never came whole; RetryLater 2001 if the node has too many large ones in hand.
    """
    bodies: Bodies = request.app.state.services.bodies
    inflate = compression.inflating([value for name, value in request.scope["headers"] if name == b"content-encoding"])
    announced = header(request, b"content-length") or "0"
    if not announced.isdigit() or int(announced) > bytes_max:
        raise _too_large(request, bytes_max)
    bodies.expect(request.scope, int(announced))
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > bytes_max:
                raise _too_large(request, bytes_max)
            bodies.hold(request.scope, len(chunks))
    except ClientDisconnect as gone:
        raise error(Code.NOT_STRUCTURED, "the connection ended before the body did") from gone
    body = bytes(chunks)
    if inflate is None:
        return body
    inflated = await anyio.to_thread.run_sync(inflate, body, bytes_max, limiter=_inflating)
    if inflated is None:
        raise _too_large(request, bytes_max)
    bodies.hold(request.scope, len(body) + len(inflated))
    return inflated


def _too_large(request: Request, bytes_max: int) -> HomeroomError:
    request.app.state.services.tally.refusals["body_bytes_max"] += 1
    return error(Code.TOO_LARGE, f"the body is over {bytes_max} bytes (body_bytes_max)")


def retry_after(seconds: int | None = None) -> dict[str, str]:
    """The header of a 429 or 503; unless the seconds are known, with chance in it, so that nobody comes in step."""
    return {"Retry-After": str(random.randint(*_RETRY_AFTER_SECONDS) if seconds is None else seconds)}


def parse_json(body: bytes) -> Any:
    """The JSON document of a body; raises FixRequest 3002 if it is none, MemoryError if there is no room for it."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        if fault.msg.startswith(_NO_MEMORY):
            raise MemoryError from fault
        raise error(Code.NOT_STRUCTURED, f"the body is no JSON: {fault.msg} at character {fault.pos}") from fault


def list_of(services: Services, document: object, member: str, length_max: int) -> list[Mapping[str, Any]]:
    """The entries of a request's list, those of the wrong kind replaced by empty ones; 3003 if there are too many."""
    entries = document.get(member) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return []
    if len(entries) > length_max:
        services.tally.refusals[f"{member}_per_call_max"] += 1
        raise error(Code.TOO_LARGE, f"/{member} has {len(entries)} entries, at most {length_max} are taken")
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def check_ids(records: Sequence[Mapping[str, Any]], definition: TypeDefinition, faults: Faults) -> list[str | None]:
    """The id of every record in its stored form; adds those of the wrong form (3001) and doubled ones (3002)."""
    ids = []
    for index, record in enumerate(records):
        text = text_of(record, "id")
        record_id = None if text is None else definition.canonical_id(text)
        if text is not None and record_id is None:
            faults.add(Code.NOT_OF_SCHEMA, f"/records/{index}/id", f"is not {definition.id_words}")
        ids.append(record_id)
    faults.check_twice(ids, "/records", "id")
    return ids


def text_of(entry: Mapping[str, Any], member: str) -> str | None:
    value = entry.get(member)
    return value if isinstance(value, str) else None


def json_response(body: bytes, epoch: str) -> Response:
    return Response(body, media_type="application/json", headers={EPOCH_HEADER: epoch})
