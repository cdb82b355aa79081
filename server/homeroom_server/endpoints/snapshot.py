"""`GET /v1/snapshot/{notificationType}` (protocol 7): a first load as one stream, in constant memory."""

import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio.to_thread
import orjson
import zstandard
from anyio.abc import ObjectSendStream
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from homeroom.errors import Code, error
from homeroom.protocol import CORE_VERSION_MAX
from homeroom_server import audience
from homeroom_server.endpoints import requests
from homeroom_server.endpoints.catch_up import reach
from homeroom_server.endpoints.hang_up import unless_hung_up
from homeroom_server.endpoints.requests import EPOCH_HEADER, Faults
from homeroom_server.services import Services
from homeroom_server.store import bulk

_PAGE_ROWS_MAX = 2_000
_PAGE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Window:
    """What is streamed: live records of a stream with after < version <= until."""

    type_number: int | None
    viewer: int | None
    source_name: str | None
    after: int
    until: int
    epoch: str


async def snapshot(request: Request) -> Response:
    """Every live record of a fixed window of versions, ascending; resumed by `after` and the same `until`."""
    services: Services = request.app.state.services
    caller = await requests.authenticate(request, services)
    notification_type, definition = services.catalogue.resolve(request.path_params["notification_type"])
    after, until = _parse(request)
    position = await reach(services, notification_type, max(after, until or 0))
    if until is not None and until < position.horizon:
        raise error(Code.OTHER_HISTORY, "deletions above this window have been collected: start over without until")
    window = _Window(
        position.type_number,
        audience.viewer(definition, caller),
        definition.source,
        after,
        position.watermark if until is None else until,
        position.epoch,
    )
    services.audit.read_all(caller, notification_type, window.after, window.until)
    return _Stream(services, window, request.headers.get("accept-encoding", ""))


class _Stream(Response):
    """Pages read one after the other, each by a statement of its own; the next while the last is on its way."""

    def __init__(self, services: Services, window: _Window, accepted: str) -> None:
        encoding, self._compress, self._finish = _compressor(accepted)
        super().__init__(media_type="application/x-ndjson", headers={EPOCH_HEADER: window.epoch})
        del self.headers["content-length"]
        if encoding:
            self.headers["content-encoding"] = encoding
        self._services = services
        self._window = window

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._services.bulk_readers.admit():
            await unless_hung_up(receive, lambda: self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        into, pages = anyio.create_memory_object_stream[bytes](0)  # holds none: who reads ahead holds one page
        async with pages, anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_ahead, into)
            async for lines in pages:
                body = await anyio.to_thread.run_sync(self._compress, lines)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": self._finish()})

    async def _read_ahead(self, into: ObjectSendStream[bytes]) -> None:
        """Each page is handed over when the last is on its way: a slow client keeps no connection from others."""
        async with into:
            async for lines in self._pages():
                await into.send(lines)

    async def _pages(self) -> AsyncIterator[bytes]:
        """The lines. If the window stops being whole meanwhile, the last line is missing: the stream was cut."""
        window, services = self._window, self._services
        yield orjson.dumps({"until": window.until, "epoch": window.epoch}) + b"\n"
        after: int | None = window.after if window.type_number is not None else None
        while after is not None and window.type_number is not None:
            async with services.bulk_pool.acquire() as connection:
                page = await bulk.read_page(
                    connection,
                    window.type_number,
                    window.viewer,
                    window.source_name,
                    after,
                    window.until,
                    _PAGE_ROWS_MAX,
                    _PAGE_BYTES_MAX,
                )
            if page.epoch != window.epoch or not page.horizon <= window.until <= page.watermark:
                return
            yield page.lines
            after = page.last_version
        yield orjson.dumps({"bookmark": window.until}) + b"\n"


def _compressor(accepted: str) -> tuple[str, Callable[[bytes], bytes], Callable[[], bytes]]:
    """(content encoding, compress and flush a page, the end), zstd before gzip before nothing."""
    offered = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if "zstd" in offered:
        zstd = zstandard.ZstdCompressor(level=1).compressobj()
        block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return "zstd", lambda page: zstd.compress(page) + zstd.flush(block), zstd.flush
    if "gzip" in offered:
        gzip = zlib.compressobj(level=1, wbits=31)
        return "gzip", lambda page: gzip.compress(page) + gzip.flush(zlib.Z_SYNC_FLUSH), gzip.flush
    return "", lambda page: page, lambda: b""


def _parse(request: Request) -> tuple[int, int | None]:
    """`after` and `until`; raises FixRequest with every fault."""
    faults = Faults()
    found: dict[str, int] = {}
    for name, text in request.query_params.multi_items():
        if name not in ("after", "until") or name in found:
            faults.add(Code.NOT_OF_SCHEMA, f"?{name}", "is not known here, or given twice")
        elif not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > CORE_VERSION_MAX:
            faults.add(Code.NOT_OF_SCHEMA, f"?{name}", "takes a core version")
        else:
            found[name] = int(text)
    faults.raise_if_any()
    return found.get("after", 0), found.get("until")
