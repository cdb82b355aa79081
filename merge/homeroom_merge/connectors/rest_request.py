"""One request to a web service that may be busy, out of reach or hostile."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anyio
import httpx

from homeroom_merge.pacing import Pacing

_BUSY = 429


class ServiceFault(Exception):
    """A service that cannot be read as it is: what is wrong, and the cure. Never repeats what it said.

    `status`: that of its answer, if that was the fault.
    """

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a service may send, and how long it may take."""

    body_bytes_max: int = 64 * 1024 * 1024
    pages_max: int = 20_000
    request_seconds: float = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with all of its body."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def at(self) -> datetime | None:
        """When the service says that it gave it."""
        return _http_date(self.headers.get("Date", ""))


async def ask(client: httpx.AsyncClient, request: httpx.Request, pacing: Pacing, bounds: Bounds) -> Answer:
    """What a service answers; while it is busy or fails, it is asked again. Raises ConnectionError, ServiceFault."""
    failures = 0
    while True:
        asked: float | None = None
        try:
            answer = await _once(client, request, bounds)
            if answer.status != _BUSY and answer.status < httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
            said, asked = f"answers {answer.status}", _wait_asked_seconds(answer)
        except (httpx.RequestError, TimeoutError) as fault:
            said = f"cannot be reached ({type(fault).__name__})"
        failures += 1
        pause = pacing.pause_seconds(failures, asked)
        if pause is None:
            wait = f", and asks to be left alone for {asked:.0f} seconds" if asked else ""
            raise ConnectionError(f"{request.url.host}{request.url.path} {said}{wait}; tried {failures} times")
        await anyio.sleep(pause)


def built(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    authorization: str,
    *,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> httpx.Request:
    """A request. Raises ServiceFault for an address that is none."""
    try:
        return client.build_request(method, url, params=query, data=form, headers={"Authorization": authorization})
    except (httpx.InvalidURL, ValueError) as fault:
        raise ServiceFault("the address of the service is no URL; correct it under [connector]") from fault


async def _once(client: httpx.AsyncClient, request: httpx.Request, bounds: Bounds) -> Answer:
    with anyio.fail_after(bounds.request_seconds):
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > bounds.body_bytes_max:
                    raise ServiceFault(f"an answer of {request.url.path} has more than {bounds.body_bytes_max:,} bytes")
        finally:
            await response.aclose()
    return Answer(response.status_code, response.headers, bytes(body))


def _wait_asked_seconds(answer: Answer) -> float | None:
    """What `Retry-After` says, in seconds or by a date."""
    said = answer.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    until = _http_date(said)
    return None if until is None else max(0.0, (until - (answer.at or datetime.now(UTC))).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
