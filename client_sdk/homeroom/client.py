"""An asynchronous client: one method per service of the protocol, typed answers, one tree of errors."""

import os
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache, partial
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import anyio
import httpx
import orjson

from homeroom import answers
from homeroom.answers import Availability, Catalogue, Compared, Got, Hello, Json, Result, Submitted
from homeroom.errors import Code, ConnectionCut, HomeroomError, RetryLater, error, error_from_problem
from homeroom.pacing import Backoff
from homeroom.protocol import CATCH_UP_SECONDS, WAIT_SECONDS_DEFAULT

_ANSWER_SECONDS = 25.0 + CATCH_UP_SECONDS
"""What an answer may take beyond the wait that was asked for: a node may first catch up."""
_CONNECT_SECONDS = 10.0
_GAVE_UP = (502, 504, 524)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

T = TypeVar("T")


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Whom TLS trusts, by where the environment has it: reading that takes longer than a call, and clients are many."""
    return httpx.create_ssl_context()


class Client:
    """Calls a Core at `url` with an API `key`, acting for `organization` (may be left out if there is just one).

    Every method raises an error of the tree in `homeroom.errors`. A call that may succeed later (RetryLater) is made
    again, with full jitter and never before the Core's Retry-After, until `retry_seconds` are over. Connections are
    kept and used again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        organization: str | None = None,
        *,
        retry_seconds: float = 0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        if organization is not None:
            headers["Organization"] = organization
        if httpx.URL(url).host in _LOOPBACK:
            headers["Accept-Encoding"] = "identity"  # there is no network to spare
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        self._open = partial(
            httpx.AsyncClient, base_url=url, headers=headers, timeout=timeout, transport=transport, verify=trusted
        )
        self._http = self._open()
        self._retry_seconds = retry_seconds

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, value, trace)

    async def hello(self) -> Hello:
        """Who this client is, whom it acts for, and the Core's time and epoch."""
        return await self._call("GET", "/v1/hello", answers.read_hello)

    async def notification_types(self) -> Catalogue:
        """The catalogue this client may use."""
        return await self._call("GET", "/v1/notification-types", answers.read_catalogue)

    async def is_data_available(
        self, types: Sequence[Mapping[str, Any]], wait_seconds: int = WAIT_SECONDS_DEFAULT
    ) -> Availability:
        """Be held until one of `types` has moved or `wait_seconds` are over (protocol 3)."""
        body = {"waitSeconds": wait_seconds, "types": types}
        read = partial(answers.read_availability, types)
        return await self._call("POST", "/v1/is-data-available", read, body, wait_seconds=wait_seconds)

    async def get(self, notification_type: str, records: Sequence[Mapping[str, Any]]) -> Got:
        """The records themselves, up to the first whose expected version is not the Core's (protocol 5)."""
        read = partial(answers.read_got, records)
        return await self._call("POST", f"/v1/get/{notification_type}", read, {"records": records})

    async def submit(
        self,
        notification_type: str,
        records: Sequence[Mapping[str, Any]],
        idempotency_key: UUID | None = None,
    ) -> Submitted:
        """Add, update, delete and undelete; each record is accepted or rejected by itself (protocol 6)."""
        if idempotency_key is None and self._retry_seconds:
            idempotency_key = uuid4()
        path, read, body = (
            f"/v1/submit/{notification_type}",
            partial(answers.read_submitted, records),
            {"records": records},
        )
        return await self._call("POST", path, read, body, idempotency_key=idempotency_key)

    async def reconcile(
        self, notification_type: str, max_core_version: int, ranges: Sequence[Mapping[str, Any]]
    ) -> Compared:
        """Hold id ranges against the Core's; `homeroom.reconciliation` makes the ranges and reads the answer."""
        body = {"maxCoreVersion": max_core_version, "ranges": ranges}
        read = partial(answers.read_compared, ranges)
        return await self._call("POST", f"/v1/reconcile/{notification_type}", read, body)

    async def acknowledge(self, status_type: str, acknowledgement: Mapping[str, Any]) -> Result:
        """Put an alert of a status into another acknowledgement state (protocol 6)."""
        path, read = f"/v1/acknowledge/{status_type}", partial(answers.read_acknowledged, acknowledgement)
        return await self._call("POST", path, read, acknowledgement)

    async def snapshot(self, notification_type: str, after: int = 0, until: int | None = None) -> AsyncGenerator[Json]:
        """The lines of a first load as they come (protocol 7): `until`, records, `bookmark`.

        A stream that ends without its bookmark was cut: go on with `after` the last version and the same `until`.
        """
        async with aclosing(self.snapshot_lines(notification_type, after, until)) as blocks:
            async for block in blocks:
                for line in block.splitlines():
                    yield orjson.loads(line)

    async def snapshot_lines(
        self, notification_type: str, after: int = 0, until: int | None = None
    ) -> AsyncGenerator[bytes]:
        """The same as blocks of whole lines, not yet parsed. RetryLater where the stream is cut; never retried here."""
        query = {"after": after} if until is None else {"after": after, "until": until}
        rest = b""
        try:
            async with self._http.stream("GET", f"/v1/snapshot/{notification_type}", params=query) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _error_of(answer)
                async for chunk in answer.aiter_bytes():
                    lines, newline, chunk = chunk.rpartition(b"\n")
                    if newline:
                        yield rest + lines + newline
                        rest = b""
                    rest += chunk
        except (httpx.TransportError, httpx.DecodingError) as failure:
            raise _cut(failure) from failure
        if rest:
            raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the stream ended in the midst of a line")

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[str, Json], T],
        body: Mapping[str, Any] | None = None,
        wait_seconds: int = 0,
        idempotency_key: UUID | None = None,
    ) -> T:
        """What `read` makes of the epoch and the JSON of the answer."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = str(idempotency_key)
        content = None if body is None else orjson.dumps(body)
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS, read=wait_seconds + _ANSWER_SECONDS)

        async def once() -> T:
            try:
                answer = await self._http.request(method, path, content=content, headers=headers, timeout=timeout)
            except (httpx.TransportError, httpx.DecodingError) as failure:
                raise _cut(failure) from failure
            if not answer.is_success:
                raise _error_of(answer)
            try:
                return read(answer.headers.get("Homeroom-Epoch", ""), _json_of(answer))
            except (KeyError, TypeError, ValueError, AttributeError) as fault:
                await self._connect_anew()
                detail = f"the answer does not belong to the question; something on the way mixes them up: {fault!r}"
                raise error(Code.CORE_NOT_AVAILABLE, detail) from fault

        return await retried(once, self._retry_seconds)

    async def _connect_anew(self) -> None:
        """Part with connections that may still bring answers to other questions."""
        mixed_up, self._http = self._http, self._open()
        await mixed_up.aclose()


async def retried(call: Callable[[], Awaitable[T]], retry_seconds: float) -> T:
    """What `call` returns, called again after each RetryLater until `retry_seconds` would be over; then that error."""
    deadline = anyio.current_time() + retry_seconds
    backoff = Backoff()
    while True:
        try:
            return await call()
        except RetryLater as failure:
            backoff = backoff.failed()
            pause = backoff.pause_seconds(random.random(), failure.retry_after_seconds)
            if anyio.current_time() + pause > deadline:
                raise
            await anyio.sleep(pause)


def _cut(failure: httpx.HTTPError) -> HomeroomError:
    """A connection that was never made had nothing to cut."""
    if isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return error(Code.CORE_NOT_AVAILABLE, f"the Core cannot be reached: {failure!r}")
    return ConnectionCut(Code.CORE_NOT_AVAILABLE, f"the connection was cut: {failure!r}")


def _json_of(answer: httpx.Response) -> Json:
    found = orjson.loads(answer.content)
    if not isinstance(found, dict):
        raise TypeError("not a JSON object")
    return found


def _error_of(answer: httpx.Response) -> HomeroomError:
    after = answer.headers.get("Retry-After")
    retry_after_seconds = float(after) if after and after.isdigit() else None
    if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            return error_from_problem(orjson.loads(answer.content), retry_after_seconds)
        except (KeyError, TypeError, ValueError) as fault:
            return ConnectionCut(Code.CORE_NOT_AVAILABLE, f"the problem cannot be read: {fault!r}")
    detail = f"HTTP {answer.status_code} from something that is not a Core, perhaps a proxy on the way"
    if answer.status_code in _GAVE_UP:
        return ConnectionCut(Code.CORE_NOT_AVAILABLE, detail, retry_after_seconds=retry_after_seconds)
    return error(Code.CORE_NOT_AVAILABLE, detail, retry_after_seconds=retry_after_seconds)
