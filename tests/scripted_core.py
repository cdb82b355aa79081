"""The scripted Core of the client suite as an httpx transport: for what a real one does rarely, or not yet.

It keeps to protocol 3 to 7 for one organisation and the types Note and NoteStatus; knobs make it awkward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
import httpx
import orjson

from homeroom.errors import Code, Fault
from homeroom_server.conformance.client import answering, scripted_core
from homeroom_server.conformance.client.answering import Answer, answered, refused
from homeroom_server.conformance.client.scripted_core import Row
from tests.records import Json

NOTE, STATUS = "Note", "NoteStatus"


@dataclass
class ScriptedCore(scripted_core.ScriptedCore, httpx.AsyncBaseTransport):
    """Its state and knobs, and the calls that came; `before` may answer one in its place."""

    epoch: str = "one"
    streams: dict[str, dict[str, Row]] = field(default_factory=lambda: {NOTE: {}, STATUS: {}})
    watermarks: dict[str, int] = field(default_factory=lambda: {NOTE: 0, STATUS: 0})
    sources: Mapping[str, str] = field(default_factory=lambda: {STATUS: NOTE})
    calls: list[tuple[str, Json]] = field(default_factory=list)
    before: Callable[["ScriptedCore", str, Json], httpx.Response | None] = lambda core, path, body: None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def write(self, record_id: str, body: Json | None = None, state: str = "live", name: str = NOTE) -> int:
        version = super().write(record_id, body, state, name)
        self.changed.set()
        self.changed = anyio.Event()
        return version

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        body = orjson.loads(await request.aread() or b"{}")
        if path.startswith("snapshot/"):
            body = {name: int(value) for name, value in request.url.params.items()}
        self.calls.append((path, body))
        return self.before(self, path, body) or self.respond(await self._answer(path, body))

    async def _answer(self, path: str, body: Json) -> Answer:
        service, _, name = path.partition("/")
        match service:
            case "hello":
                return answering.hello(self)
            case "notification-types":
                types = [{"name": NOTE, "schoolYear": "none"}, {"name": STATUS, "schoolYear": "none", "source": NOTE}]
                return answered({"notificationTypes": types})
            case "is-data-available":
                return await self._is_data_available(body)
            case "get":
                return answering.get(self, name, body["records"])
            case "reconcile":
                return answering.reconcile(self, name, body["maxCoreVersion"], body["ranges"])
            case "snapshot":
                return answering.snapshot(self, name, body.get("after", 0), body.get("until"))
        return refused(Code.UNKNOWN_TYPE, "no such service")

    async def _is_data_available(self, body: Json) -> Answer:
        with anyio.move_on_after(body["waitSeconds"]):
            while True:
                changed, answers = self.changed, [answering.look(self, entry) for entry in body["types"]]
                beyond = [n for n, entry in enumerate(body["types"]) if entry["maxCoreVersion"] > self.counter]
                if beyond:
                    faults = [Fault(f"/types/{n}/maxCoreVersion", "") for n in beyond]
                    return refused(Code.OTHER_HISTORY, "another history", faults)
                if body["waitSeconds"] == 0 or any(answer["reason"] != "none" for answer in answers):
                    break
                await changed.wait()
        return answered({"types": answers})

    def respond(self, answer: Answer) -> httpx.Response:
        """An answer as it comes out of this history."""
        headers = {"Homeroom-Epoch": self.epoch, "Content-Type": answer.kind}
        return httpx.Response(answer.status, content=answer.content, headers=headers)


def problem(
    status: int, code: int, action: str, detail: str, errors: list[Json] | None = None, retry_after: int | None = None
) -> httpx.Response:
    """An answer that is an error (RFC 9457)."""
    body = {"code": code, "title": detail, "detail": detail, "action": action, "errors": errors or []}
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return httpx.Response(status, content=orjson.dumps(body), headers=headers)
