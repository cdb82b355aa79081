"""A client of the server that is tried: it sends what it is told, right or wrong, and returns what came."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from homeroom_server.conformance.core.exchange import Answer
from homeroom_server.conformance.core.expectation import expect, must

Json = dict[str, Any]


class Caller:
    """Acts for one organisation with one key. `wrote`: (type, id) of every record that it got accepted, in order."""

    def __init__(self, http: httpx.AsyncClient, key: str | None, organization: str | None) -> None:
        self._http = http
        self.key = key
        self.organization = organization or ""
        self.wrote: dict[tuple[str, str], None] = {}
        self.last: Answer | None = None

    async def send(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request; a header given here stands for the caller's own, "" leaves it out."""
        own = {"Authorization": f"Bearer {self.key}" if self.key else "", "Organization": self.organization}
        if content is not None:
            own["Content-Type"] = "application/json"
        sent = {name: value for name, value in (own | dict(headers or {})).items() if value}
        begun_at = time.monotonic()
        response = await self._http.request(method, path, content=content, headers=sent)
        seconds = time.monotonic() - begun_at
        answer = Answer(f"{method} {path}", response.status_code, response.headers, response.content, seconds)
        self.last = answer
        return answer

    async def ask(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("GET", path, None, headers)

    async def post(self, path: str, document: object, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("POST", path, orjson.dumps(document), headers)

    async def submit(self, name: str, *records: Json, headers: Mapping[str, str] | None = None) -> list[Json]:
        """The results, one for each record."""
        answer = await self.post(f"/v1/submit/{name}", {"records": records}, headers)
        results: list[Json] = answer.document()["results"]
        expect("the number of results of Submit", len(results), len(records))
        for record, result in zip(records, results, strict=True):
            if not result["rejections"]:
                self.wrote[name, record["id"]] = None
        return results

    async def write(self, name: str, *records: Json) -> list[int]:
        """Submit records that must be accepted; their versions."""
        results = await self.submit(name, *records)
        for result in results:
            must(not result["rejections"], f"a record that should be accepted was rejected: {result['rejections']}")
        return [result["coreVersion"] for result in results]

    async def rejected(self, name: str, record: Json, code: int) -> Json:
        """Submit a record that must be rejected; the rejection of that code."""
        (result,) = await self.submit(name, record)
        return rejection(result, code)

    async def available(self, *entries: Json, wait_seconds: int = 0) -> list[Json]:
        """Is Data Available, for several types."""
        answer = await self.post("/v1/is-data-available", {"waitSeconds": wait_seconds, "types": entries})
        found: list[Json] = answer.document()["types"]
        expect("the number of types in the answer of Is Data Available", len(found), len(entries))
        return found

    async def look(self, name: str, since: int, wait_seconds: int = 0, **members: Any) -> Json:
        """Is Data Available, for one type."""
        (found,) = await self.available(
            {"notificationType": name, "maxCoreVersion": since, **members}, wait_seconds=wait_seconds
        )
        return found

    async def get(self, name: str, *items: Json) -> Json:
        answer = await self.post(f"/v1/get/{name}", {"records": items})
        found: Json = answer.document()
        return found

    async def record(self, name: str, record_id: str) -> Json:
        """One record as it stands, or why there is none."""
        (found,) = (await self.get(name, {"id": record_id}))["records"]
        expect("the id of the record that Get answered", found["id"], record_id)
        one: Json = found
        return one


def rejection(result: Json, code: int) -> Json:
    """The rejection of that code of a record that must not be accepted."""
    codes = [each["code"] for each in result["rejections"]]
    must(
        code in codes,
        f"expected a rejection with code {code}, seen codes {codes} and coreVersion {result['coreVersion']}",
    )
    found: Json = result["rejections"][codes.index(code)]
    return found


def listed(entry: Json) -> list[tuple[str, int]]:
    """(id, version) of every record of a list, in its order."""
    return [(record["id"], record["coreVersion"]) for record in entry["records"]]


def versions_of(records: Sequence[tuple[str, int]]) -> list[int]:
    return [version for _, version in records]
