"""A client that knows no more than HTTP: it sees every answer as it came, whatever the SDK would make of it."""

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import orjson

from tests.history.events import CUT
from tests.history.front import Front

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 15.0

Json = dict[str, Any]


class Answer(NamedTuple):
    """`error` is the protocol's number, or CUT; 0 for an answer, whose JSON is `body`."""

    began: float
    ended: float
    error: int
    epoch: str
    body: Json


class Caller:
    """Speaks for one organisation, each call through a front taken by chance: that is how clients change nodes."""

    def __init__(self, name: str, organization: str, key: str, fronts: Sequence[Front], chance: random.Random) -> None:
        self.name = name
        self.organization = organization
        self.chance = chance
        self._fronts = fronts
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.http = httpx.AsyncClient(headers=headers)

    async def post(self, path: str, body: Json, wait_seconds: float = 0, idempotency_key: str = "") -> Answer:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        url = self.chance.choice(self._fronts).url + path
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS + wait_seconds)
        began = time.monotonic()
        error, epoch, found = CUT, "", {}
        with suppress(httpx.TransportError):
            answer = await self.http.post(url, content=orjson.dumps(body), headers=headers, timeout=timeout)
            epoch, found = answer.headers.get("Homeroom-Epoch", ""), orjson.loads(answer.content)
            error = 0 if answer.is_success else int(found["code"])
        return Answer(began, time.monotonic(), error, epoch, found)
