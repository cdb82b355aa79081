"""Servers that are wrong in one thing each: a Core behind a layer that spoils what is asked or answered."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Json = dict[str, Any]
_AVAILABLE = "/v1/is-data-available"


@dataclass
class Exchange:
    """A call on its way: what was asked, with which headers, and what is answered; whoever spoils it changes these."""

    path: str
    asked: Json
    asked_headers: dict[bytes, bytes]
    answer: Json
    answer_headers: dict[bytes, bytes]
    core: ASGIApp

    async def get(self, name: str, ids: list[str]) -> list[Json]:
        """What the caller would get of these records, from the Core itself."""
        headers = [(key, value) for key, value in self.asked_headers.items() if key != b"content-length"]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.core), base_url="http://core") as client:
            items = [{"id": record_id} for record_id in ids]
            answer = await client.post(f"/v1/get/{name}", json={"records": items}, headers=headers)
            return list(answer.json()["records"])


def _as_is(exchange: Exchange) -> None:
    """Spoils nothing."""


async def _as_it_was(exchange: Exchange) -> None:
    """Spoils nothing."""


@dataclass(frozen=True)
class Fault:
    """What is spoilt, of the question or of the answer."""

    question: Callable[[Exchange], None] = _as_is
    answer: Callable[[Exchange], Awaitable[None]] = _as_it_was


class Faulty:
    """The Core with a fault, as an ASGI app. What is no JSON passes as it is."""

    def __init__(self, core: ASGIApp, fault: Fault) -> None:
        self._core = core
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body_of(receive)
        exchange = Exchange(scope["path"], _json_or_empty(body), dict(scope["headers"]), {}, {}, self._core)
        self._fault.question(exchange)
        sent = body if exchange.asked == _json_or_empty(body) else orjson.dumps(exchange.asked)
        exchange.asked_headers[b"content-length"] = str(len(sent)).encode()
        asked: list[Message] = [{"type": "http.request", "body": sent}]
        told: list[Message] = []

        async def receive_again() -> Message:
            if asked:
                return asked.pop()
            await anyio.sleep_forever()
            raise AssertionError("nothing comes")

        async def hear(message: Message) -> None:
            told.append(message)

        await self._core({**scope, "headers": list(exchange.asked_headers.items())}, receive_again, hear)
        content = b"".join(message.get("body", b"") for message in told[1:])
        exchange.answer, exchange.answer_headers = _json_or_empty(content), dict(told[0]["headers"])
        await self._fault.answer(exchange)
        content = orjson.dumps(exchange.answer) if exchange.answer else content
        exchange.answer_headers[b"content-length"] = str(len(content)).encode()
        await send({**told[0], "headers": list(exchange.answer_headers.items())})
        await send({"type": "http.response.body", "body": content})


async def _body_of(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _json_or_empty(content: bytes) -> Json:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _entries(exchange: Exchange) -> list[tuple[Json, Json]]:
    """(asked, answered) of each type of an answered Is Data Available."""
    if exchange.path != _AVAILABLE or "types" not in exchange.answer:
        return []
    return list(zip(exchange.asked["types"], exchange.answer["types"], strict=True))


def _results(exchange: Exchange) -> list[Json]:
    return exchange.answer.get("results", []) if exchange.path.startswith("/v1/submit/") else []


async def one_version_a_call(exchange: Exchange) -> None:
    for result in _results(exchange):
        if not result["rejections"]:
            result["coreVersion"] = max(each["coreVersion"] for each in _results(exchange))


async def all_or_nothing(exchange: Exchange) -> None:
    rejections = [each for result in _results(exchange) for each in result["rejections"]]
    for result in _results(exchange) if rejections else []:
        result |= {"coreVersion": 0, "rejections": rejections}


async def says_why_not(exchange: Exchange) -> None:
    for result in _results(exchange):
        if any(each["code"] == 9020 for each in result["rejections"]):
            result["rejections"].append({"code": 3004, "expectedVersion": 0, "coreVersion": 1})


async def tells_no_versions(exchange: Exchange) -> None:
    for rejection in [each for result in _results(exchange) for each in result["rejections"]]:
        rejection.pop("coreVersion", None)


async def always_matches(exchange: Exchange) -> None:
    for answered in exchange.answer.get("ranges", []):
        answered["result"] = "match"


def forgets_calls(exchange: Exchange) -> None:
    exchange.asked_headers.pop(b"idempotency-key", None)


def ignores_hashes(exchange: Exchange) -> None:
    for entry in exchange.asked.get("types", []):
        entry.pop("versionHash", None)


def ends_waits_early(exchange: Exchange) -> None:
    if 1 < exchange.asked.get("waitSeconds", 0) < 10:
        exchange.asked["waitSeconds"] = 0


def ends_waits_late(exchange: Exchange) -> None:
    if exchange.asked.get("waitSeconds", 0) > 1:
        exchange.asked["waitSeconds"] += 4


async def wakes_late(exchange: Exchange) -> None:
    if exchange.asked.get("waitSeconds", 0) > 10:
        await anyio.sleep(3)


async def keeps_cursors(exchange: Exchange) -> None:
    for asked, answered in _entries(exchange):
        if answered["reason"] == "none":
            answered["maxCoreVersion"] = asked["maxCoreVersion"]


async def misses_one_of_many(exchange: Exchange) -> None:
    for asked, answered in _entries(exchange):
        if answered["reason"] == "newer" and asked["maxCoreVersion"] and len(answered["records"]) > 4:
            del answered["records"][0]


async def _unlist(exchange: Exchange, unlisted: Callable[[Json], bool]) -> None:
    """Take out of the lists what Get says this of."""
    for _, answered in _entries(exchange):
        if answered["reason"] == "newer":
            found = await exchange.get(answered["notificationType"], [each["id"] for each in answered["records"]])
            gone = {record["id"] for record in found if unlisted(record)}
            answered["records"] = [each for each in answered["records"] if each["id"] not in gone]


async def lists_no_deletes(exchange: Exchange) -> None:
    await _unlist(exchange, lambda record: record.get("deleted", False))


async def lists_no_revocations(exchange: Exchange) -> None:
    await _unlist(exchange, lambda record: record["availability"] == "NoAccess")


def never_stops(exchange: Exchange) -> None:
    if exchange.path.startswith("/v1/get/"):
        for item in exchange.asked.get("records", []):
            item.pop("expectedVersion", None)


async def calls_lost_unknown(exchange: Exchange) -> None:
    if exchange.path.startswith("/v1/get/"):
        for record in exchange.answer.get("records", []):
            if record["availability"] == "NoAccess":
                record["availability"] = "Unknown"


async def sorts_what_it_gets(exchange: Exchange) -> None:
    if exchange.path.startswith("/v1/get/") and len(exchange.answer.get("records", [])) > 4:
        exchange.answer["records"].sort(key=lambda record: record["id"])


def forgets_known_sources(exchange: Exchange) -> None:
    if exchange.path.startswith("/v1/get/"):
        for item in exchange.asked.get("records", []):
            item.pop("knownSourceVersion", None)


async def leaves_codes_out(exchange: Exchange) -> None:
    if exchange.path == "/v1/hello":
        exchange.answer.pop("code", None)


async def leaves_actions_out(exchange: Exchange) -> None:
    exchange.answer.pop("action", None)


async def leaves_the_epoch_out(exchange: Exchange) -> None:
    if exchange.path.startswith("/v1/get/"):
        exchange.answer_headers.pop(b"homeroom-epoch", None)


FAULTS: Mapping[str, tuple[Fault, set[str]]] = {
    "lists no deletes": (
        Fault(answer=lists_no_deletes),
        {"a-delete-is-listed", "a-delete-ends-a-wait", "a-status-goes-and-comes-with-its-source"},
    ),
    "lists no revocations": (Fault(answer=lists_no_revocations), {"a-loss-is-listed"}),
    "wakes late": (
        Fault(answer=wakes_late),
        {"news-are-not-held", "a-change-ends-a-wait", "a-delete-ends-a-wait", "one-of-several-types-ends-a-wait"},
    ),
    "ends waits late": (Fault(ends_waits_late), {"a-wait-ends-in-time"}),
    "one version a call": (Fault(answer=one_version_a_call), {"versions-rise", "a-reader-misses-nothing"}),
    "all or nothing": (Fault(answer=all_or_nothing), {"each-record-stands-alone"}),
    "says why not": (
        Fault(answer=says_why_not),
        {"a-foreign-record-cannot-be-written", "a-lost-record-cannot-be-written"},
    ),
    "tells no versions": (Fault(answer=tells_no_versions), {"a-stale-version-is-rejected"}),
    "always matches": (Fault(answer=always_matches), {"a-difference-is-found-by-fingerprints"}),
    "forgets calls": (
        Fault(forgets_calls),
        {"a-repeated-call-gets-the-first-answer", "an-idempotency-key-is-for-one-body"},
    ),
    "ignores hashes": (
        Fault(ignores_hashes),
        {
            "a-hash-that-differs-gets-the-full-list",
            "the-hash-of-nothing-is-known",
            "a-hash-that-differs-is-not-held",
        },
    ),
    "ends waits early": (Fault(ends_waits_early), {"a-wait-ends-in-time", "what-others-do-ends-no-wait"}),
    "keeps cursors": (Fault(answer=keeps_cursors), {"a-cursor-moves-on-without-news", "nothing-reaches-who-lost"}),
    "misses one of many": (
        Fault(answer=misses_one_of_many),
        {"a-reader-misses-nothing", "what-is-written-together-is-shown-together"},
    ),
    "never stops": (Fault(never_stops), {"get-stops-at-another-version"}),
    "calls lost unknown": (Fault(answer=calls_lost_unknown), {"a-lost-record-is-no-access"}),
    "sorts what it gets": (Fault(answer=sorts_what_it_gets), {"get-answers-in-the-order-asked"}),
    "forgets known sources": (Fault(forgets_known_sources), {"a-status-brings-its-source"}),
    "leaves codes out": (
        Fault(answer=leaves_codes_out),
        {
            "a-call-without-a-key-is-refused",
            "an-unknown-key-is-refused",
            "a-foreign-organization-is-refused",
            "who-is-registered-is-not-told",
            "refusals-are-problem-documents",
        },
    ),
    "leaves actions out": (Fault(answer=leaves_actions_out), {"refusals-say-what-to-do"}),
    "leaves the epoch out": (Fault(answer=leaves_the_epoch_out), {"every-answer-names-the-epoch"}),
}
"""What is wrong with a server, and the cases that must fail for it: these and no others. The long ones come first."""
