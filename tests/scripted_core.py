"""A Core of a few dictionaries, as an httpx transport: for what a real one does rarely, or not yet.

It keeps to protocol 3 to 7 for one organisation and the types Note and NoteStatus; knobs make it awkward.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import anyio
import httpx
import orjson

from homeroom import version_hash
from homeroom.reconciliation import LocalRecords
from tests.records import Json

FEW = 4


@dataclass(frozen=True)
class Row:
    """A record of a stream: state `live`, `deleted` or `revoked`."""

    version: int
    state: str
    body: Json
    source_version: int | None = None


@dataclass
class ScriptedCore(httpx.AsyncBaseTransport):
    """State, knobs, and the calls that came."""

    epoch: str = "one"
    counter: int = 0
    listed_max: int = 1_000
    horizon: int = 0
    streams: dict[str, dict[str, Row]] = field(default_factory=lambda: {"Note": {}, "NoteStatus": {}})
    watermarks: dict[str, int] = field(default_factory=lambda: {"Note": 0, "NoteStatus": 0})
    calls: list[tuple[str, Json]] = field(default_factory=list)
    before: Callable[["ScriptedCore", str, Json], httpx.Response | None] = lambda core, path, body: None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def write(self, record_id: str, body: Json | None = None, state: str = "live", name: str = "Note") -> int:
        """A change of a record; its version."""
        self.counter += 1
        old = self.streams[name].get(record_id)
        kept = body if body is not None else old.body if old else {}
        source = self.streams["Note"].get(record_id)
        source_version = source.version if name == "NoteStatus" and source else None
        self.streams[name][record_id] = Row(self.counter, state, kept, source_version)
        self.watermarks[name] = self.counter
        self.changed.set()
        self.changed = anyio.Event()
        return self.counter

    def restored(self, streams: dict[str, dict[str, Row]]) -> None:
        """The database has gone back to an earlier state: another history, far above the first (architecture 3.8)."""
        self.streams = {name: dict(rows) for name, rows in streams.items()}
        self.epoch += "'"
        self.counter += 2**40
        self.watermarks = dict.fromkeys(self.watermarks, self.counter)

    def live(self, name: str) -> dict[str, int]:
        return {i: row.version for i, row in self.streams[name].items() if row.state == "live"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        body = orjson.loads(await request.aread() or b"{}")
        if path.startswith("snapshot/"):
            body = {name: int(value) for name, value in request.url.params.items()}
        self.calls.append((path, body))
        awkward = self.before(self, path, body)
        if awkward is not None:
            return awkward
        service, _, name = path.partition("/")
        match service:
            case "hello":
                return self._json(
                    {
                        "client": "t",
                        "role": "writer",
                        "organization": "S.0982",
                        "organizations": [],
                        "epoch": self.epoch,
                        "serverTime": "",
                    }
                )
            case "notification-types":
                types = [{"name": "Note", "schoolYear": "none"}, {"name": "NoteStatus", "schoolYear": "none"}]
                types[1]["source"] = "Note"
                return self._json({"notificationTypes": types})
            case "is-data-available":
                return await self._is_data_available(body)
            case "get":
                return self._get(name, body["records"])
            case "reconcile":
                return self._reconcile(name, body)
            case "snapshot":
                return self._snapshot(name, body)
        return problem(404, 3005, "fix", "no such service")

    def _json(self, answer: Json) -> httpx.Response:
        return httpx.Response(200, content=orjson.dumps(answer), headers={"Homeroom-Epoch": self.epoch})

    async def _is_data_available(self, body: Json) -> httpx.Response:
        with anyio.move_on_after(body["waitSeconds"]):
            while True:
                changed, answers = self.changed, [self._look(entry) for entry in body["types"]]
                beyond = [n for n, entry in enumerate(body["types"]) if entry["maxCoreVersion"] > self.counter]
                if beyond:
                    faults = [{"pointer": f"/types/{n}/maxCoreVersion", "detail": ""} for n in beyond]
                    return problem(409, 2003, "resync", "another history", faults)
                if body["waitSeconds"] == 0 or any(answer["reason"] != "none" for answer in answers):
                    break
                await changed.wait()
        return self._json({"types": answers})

    def _look(self, entry: Json) -> Json:
        name, cursor, after = entry["notificationType"], entry["maxCoreVersion"], entry.get("listAfter")
        rows = self.streams[name]
        newer = sorted((row.version, i) for i, row in rows.items() if row.version > cursor)
        reason, listed, window = "none", [], self.watermarks[name]
        if after is not None or cursor < min(self.horizon, self.watermarks[name]):
            window = self.watermarks[name] if after is None else cursor
            alive = sorted((v, i) for i, v in self.live(name).items() if (after or 0) < v <= window)
            reason, listed = "mismatch", alive
        elif newer:
            reason, listed = "newer", newer
        elif entry.get("versionHash", hashed := version_hash(self.live(name).values())) != hashed:
            reason, listed = "mismatch", sorted((v, i) for i, v in self.live(name).items())
        cut = listed[: self.listed_max]
        complete = len(cut) == len(listed)
        return {
            "notificationType": name,
            "reason": reason,
            "maxCoreVersion": window if complete or reason == "mismatch" else cut[-1][0],
            "complete": complete,
            "records": [{"id": i, "coreVersion": version} for version, i in cut],
        }

    def _get(self, name: str, items: list[Json]) -> httpx.Response:
        records: list[Json] = []
        for item in items:
            row = self.streams[name].get(item["id"])
            if row is None or row.state == "revoked":
                records.append({"id": item["id"], "availability": "Unknown" if row is None else "NoAccess"})
            elif item.get("expectedVersion", 0) not in (0, row.version):
                return self._json({"records": records, "stoppedAt": len(records)})
            else:
                known = item.get("knownSourceVersion", -1)
                records.append(self._record(name, item["id"], row, known) | {"availability": "Normal"})
        return self._json({"records": records, "stoppedAt": None})

    def _record(self, name: str, record_id: str, row: Row, known_source: int) -> Json:
        found: Json = {"id": record_id, "coreVersion": row.version, "deleted": row.state == "deleted", "body": row.body}
        source = self.streams["Note"].get(record_id) if name == "NoteStatus" else None
        if source is not None:
            found["sourceVersion"] = row.source_version
            if source.version > known_source:
                deleted = source.state == "deleted"
                found["source"] = {"id": record_id, "coreVersion": source.version, "deleted": deleted}
                found["source"]["body"] = source.body
        return found

    def _reconcile(self, name: str, body: Json) -> httpx.Response:
        if body["maxCoreVersion"] > self.counter:
            return problem(409, 2003, "resync", "another history")
        held = LocalRecords(self.live(name).items())
        return self._json({"ranges": [self._compare(name, held, asked) for asked in body["ranges"]]})

    def _compare(self, name: str, held: LocalRecords, asked: Json) -> Json:
        low, high = asked["from"], asked["to"]
        answer: Json = {"from": low, "to": high}
        if held.range_between(low, high) == asked:
            return answer | {"result": "match"}
        ids = sorted(i for i in self.live(name) if (low or "") <= i and (high is None or i < high))
        if len(ids) <= FEW:
            records = [{"id": i, "coreVersion": self.live(name)[i]} for i in ids]
            return answer | {"result": "records", "records": records}
        edges = [low, *ids[FEW::FEW], high]
        pieces = [held.range_between(a, b) for a, b in pairwise(edges)]
        return answer | {"result": "split", "ranges": pieces}

    def _snapshot(self, name: str, query: dict[str, Any]) -> httpx.Response:
        until = query.get("until", self.watermarks[name])
        if until > self.counter or until < min(self.horizon, self.watermarks[name]):
            return problem(409, 2003, "resync", "another history")
        rows = sorted((row.version, i) for i, row in self.streams[name].items() if row.state == "live")
        window = [(v, i) for v, i in rows if query.get("after", 0) < v <= until]
        lines = [{"until": until, "epoch": self.epoch}]
        lines += [self._record(name, i, self.streams[name][i], -1) for _, i in window]
        lines.append({"bookmark": until})
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        return httpx.Response(200, content=content, headers={"Homeroom-Epoch": self.epoch})


def problem(
    status: int, code: int, action: str, detail: str, errors: list[Json] | None = None, retry_after: int | None = None
) -> httpx.Response:
    """An answer that is an error (RFC 9457)."""
    body = {"code": code, "title": detail, "detail": detail, "action": action, "errors": errors or []}
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return httpx.Response(status, content=orjson.dumps(body), headers=headers)


def copied(streams: dict[str, dict[str, Row]]) -> dict[str, dict[str, Row]]:
    """What `restored` may bring back later."""
    return {name: {i: replace(row) for i, row in rows.items()} for name, rows in streams.items()}
