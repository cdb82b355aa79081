"""The SIS tells which of its records changed: `POST /hooks/{feed}/{entity}`, signed.

Whoever has no secret learns nothing: a feed that is not there is answered as a signature that does not hold.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from homeroom_merge.feed_secrets import secret_of
from homeroom_merge.runners import signing
from homeroom_merge.runners.debouncing import Notice
from homeroom_merge.sealing import Sealed
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import seen, triggers, webhooks
from homeroom_merge.store.connection import FAILURES

_READ_SECONDS = 10.0
_ERRORS_MAX = 100
"""Of a body, so many faults are named."""
_NOBODY = secrets.token_hex(32)
"""The secret of feeds that are not there: nobody has it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls of a feed are taken: a burst at once, then so many a second."""

    burst: int = 100
    per_second: float = 10.0


@dataclass(slots=True)
class Hooked:
    """A feed whose SIS may call. `notice` is told of an entity once what it said is stored."""

    secret: str = field(repr=False)
    entities: frozenset[str]
    notice: Notice
    rate: Rate = Rate()
    _spent: float = 0.0
    _at: float = 0.0

    def wait_seconds(self, now: float) -> float:
        """Take one more call, or say how long to wait for the next."""
        self._spent = max(0.0, self._spent - max(0.0, now - self._at) * self.rate.per_second)
        self._at = now
        if self._spent + 1 > self.rate.burst:
            return (self._spent + 1 - self.rate.burst) / self.rate.per_second
        self._spent += 1
        return 0.0


def hooked(settings: Settings, stored: Mapping[str, Sealed], notice: Notice) -> Hooked:
    """The feed of these settings. `stored`: its secrets. Raises MissingSecretError, SealError."""
    entities = frozenset(name for name, entity in settings.entity.items() if entity.enabled)
    return Hooked(secret_of(settings, "webhook_secret", stored), entities, notice)


def webhook_app(pool: asyncpg.Pool, feeds: Mapping[str, Hooked], clock: Callable[[], float] = time.time) -> Starlette:
    """`feeds`: by name; looked up at each call, so that they may come and go."""
    intake = _Intake(pool, feeds, clock)
    routes = [Route("/hooks/{feed}/{entity}", intake.call, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: _plain, _Problem: _told})


class _Problem(Exception):
    """An answer that is no acceptance."""

    def __init__(self, status: int, detail: str, errors: tuple[str, ...] = (), retry_after_seconds: float = 0) -> None:
        self.status, self.detail, self.errors = status, detail, errors
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class _Intake:
    pool: asyncpg.Pool
    feeds: Mapping[str, Hooked]
    clock: Callable[[], float]

    async def call(self, request: Request) -> Response:
        """Whoever signed is known before anything else is said of the call."""
        feed, entity = request.path_params["feed"], request.path_params["entity"]
        body = await _body(request)
        hooked, forget_at, signature = self._signed(request, feed, entity, body)
        if wait_seconds := hooked.wait_seconds(self.clock()):
            raise _Problem(429, "too many calls of this feed: put more keys into one", retry_after_seconds=wait_seconds)
        if entity not in hooked.entities:
            raise _Problem(404, f"the feed merges no {entity}; it merges {', '.join(sorted(hooked.entities))}")
        said = signing.read_keys(body)
        if said.faults:
            raise _Problem(422, "the body cannot be taken", said.faults)
        if not await self._store(feed, entity, said.keys, bytes.fromhex(signature), forget_at):
            detail = "this signature was taken already: sign anew, with the present time (fractions of seconds count)"
            raise _Problem(401, detail)
        hooked.notice(entity)
        return _json(202, {"accepted": len(said.keys)})

    def _signed(self, request: Request, feed: str, entity: str, body: bytes) -> tuple[Hooked, float, str]:
        """Who signed it, until when its signature would hold, and the signature."""
        timestamp, given = request.headers.get(signing.TIMESTAMP, ""), request.headers.get(signing.SIGNATURE, "")
        seconds = signing.seconds_of(timestamp, self.clock())
        if seconds is None:
            detail = f"{signing.TIMESTAMP} is to be the present time in Unix seconds, off by 5 minutes at most"
            raise _Problem(401, detail)
        hooked = self.feeds.get(feed)
        secret = _NOBODY if hooked is None else hooked.secret
        if not signing.holds(given, signing.signature(secret, timestamp, feed, entity, body)) or hooked is None:
            detail = f"{signing.SIGNATURE} is not that of this feed, entity, timestamp and body"
            raise _Problem(401, detail)
        return hooked, seconds + signing.AGE_SECONDS_MAX, given

    async def _store(self, feed: str, entity: str, keys: tuple[str, ...], signature: bytes, forget_at: float) -> bool:
        """Whether it was stored; not if it was before. The signature outlives a restart, as long as it would hold."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        until = datetime.fromtimestamp(forget_at, UTC) + timedelta(seconds=1)
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                if not await webhooks.take(connection, signature, now, until):
                    return False
                subject = (await seen.find_subject(connection, feed, entity)).number
                await triggers.raise_(connection, subject, "sis", keys)
        except FAILURES as failure:
            raise _Problem(503, "it cannot be stored now: send it again", retry_after_seconds=5) from failure
        return True


async def _body(request: Request) -> bytes:
    """Read no further than it may go; by then nobody has asked whose it is."""
    body = bytearray()
    try:
        with anyio.fail_after(_READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > signing.BODY_BYTES_MAX:
                    detail = f"a body has {signing.BODY_BYTES_MAX:,} bytes at most: send fewer keys at once"
                    raise _Problem(413, detail)
    except (TimeoutError, ClientDisconnect) as failure:
        raise _Problem(408, f"the body did not come within {_READ_SECONDS:.0f} seconds") from failure
    return bytes(body)


async def _told(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, _Problem)
    said: dict[str, Any] = {"status": problem.status, "detail": problem.detail}
    if problem.errors:
        said["errors"] = problem.errors[:_ERRORS_MAX]
    answer = _json(problem.status, said, "application/problem+json")
    if problem.retry_after_seconds:
        answer.headers["Retry-After"] = str(max(1, round(problem.retry_after_seconds)))
    return answer


async def _plain(request: Request, failure: Exception) -> Response:
    """A place or a method that is none."""
    assert isinstance(failure, HTTPException)
    said = {"status": failure.status_code, "detail": "calls are POST /hooks/FEED/ENTITY"}
    return _json(failure.status_code, said, "application/problem+json")


def _json(status: int, said: Mapping[str, Any], media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(said), status, media_type=media_type)
