"""A thin asynchronous client: one method per service, plain JSON in and out."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
import orjson

from homeroom.errors import Code, HomeroomError, error, error_from_problem
from homeroom.protocol import WAIT_SECONDS_DEFAULT

_ANSWER_SECONDS = 30.0
"""What an answer may take beyond the wait that was asked for."""


class Client:
    """Calls a Core at `url` with an API `key`, acting for `organization` (may be left out if there is just one).

    Every method raises an error of the tree in `homeroom.errors`; connection failures are RetryLater.
    `epoch` is the database history that the last answer named.
    """

    def __init__(
        self,
        url: str,
        key: str,
        organization: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        if organization is not None:
            headers["Organization"] = organization
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=_ANSWER_SECONDS, transport=transport)
        self.epoch: str | None = None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, value, trace)

    async def hello(self) -> dict[str, Any]:
        """Who this client is, whom it acts for, and the Core's time and epoch."""
        return await self._call("GET", "/v1/hello")

    async def notification_types(self) -> dict[str, Any]:
        """The catalogue this client may use."""
        return await self._call("GET", "/v1/notification-types")

    async def is_data_available(
        self, types: Sequence[Mapping[str, Any]], wait_seconds: int = WAIT_SECONDS_DEFAULT
    ) -> dict[str, Any]:
        """Be held until one of `types` has moved or `wait_seconds` are over (protocol 3)."""
        body = {"waitSeconds": wait_seconds, "types": types}
        return await self._call("POST", "/v1/is-data-available", body, wait_seconds=wait_seconds)

    async def get(self, notification_type: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The records themselves, up to the first whose expected version is not the Core's (protocol 5)."""
        return await self._call("POST", f"/v1/get/{notification_type}", {"records": records})

    async def submit(
        self,
        notification_type: str,
        records: Sequence[Mapping[str, Any]],
        idempotency_key: UUID | None = None,
    ) -> dict[str, Any]:
        """Add, update, delete and undelete; each record is accepted or rejected by itself (protocol 6)."""
        return await self._call(
            "POST", f"/v1/submit/{notification_type}", {"records": records}, idempotency_key=idempotency_key
        )

    async def reconcile(
        self, notification_type: str, max_core_version: int, ranges: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Hold id ranges against the Core's; `homeroom.reconciliation` makes the ranges and reads the answer."""
        body = {"maxCoreVersion": max_core_version, "ranges": ranges}
        return await self._call("POST", f"/v1/reconcile/{notification_type}", body)

    async def snapshot(
        self, notification_type: str, after: int = 0, until: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The lines of a first load as they come (protocol 7): `until`, records, `bookmark`.

        A stream that ends without its bookmark was cut: go on with `after` the last version and the same `until`.
        """
        query = {"after": after} if until is None else {"after": after, "until": until}
        try:
            async with self._http.stream("GET", f"/v1/snapshot/{notification_type}", params=query) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _error_of(answer)
                self.epoch = answer.headers.get("Homeroom-Epoch", self.epoch)
                async for line in answer.aiter_lines():
                    yield orjson.loads(line)
        except (httpx.TransportError, httpx.DecodingError, orjson.JSONDecodeError) as failure:
            raise error(Code.CORE_NOT_AVAILABLE, f"the stream was cut: {failure!r}") from failure

    async def acknowledge(self, status_type: str, acknowledgement: Mapping[str, Any]) -> dict[str, Any]:
        """Put an alert of a status into another acknowledgement state (protocol 6)."""
        return await self._call("POST", f"/v1/acknowledge/{status_type}", acknowledgement)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        wait_seconds: int = 0,
        idempotency_key: UUID | None = None,
    ) -> dict[str, Any]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = str(idempotency_key)
        try:
            answer = await self._http.request(
                method,
                path,
                content=None if body is None else orjson.dumps(body),
                headers=headers,
                timeout=httpx.Timeout(_ANSWER_SECONDS, read=wait_seconds + _ANSWER_SECONDS),
            )
        except httpx.TransportError as failure:
            raise error(Code.CORE_NOT_AVAILABLE, f"the Core cannot be reached: {failure!r}") from failure
        self.epoch = answer.headers.get("Homeroom-Epoch", self.epoch)
        if answer.is_success:
            result: dict[str, Any] = orjson.loads(answer.content)
            return result
        raise _error_of(answer)


def _error_of(answer: httpx.Response) -> HomeroomError:
    after = answer.headers.get("Retry-After")
    retry_after_seconds = float(after) if after and after.isdigit() else None
    if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return error_from_problem(orjson.loads(answer.content), retry_after_seconds)
    detail = f"HTTP {answer.status_code} from something that is not a Core, perhaps a proxy on the way"
    return error(Code.CORE_NOT_AVAILABLE, detail, retry_after_seconds=retry_after_seconds)
