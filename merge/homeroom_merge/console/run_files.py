"""The whole report of a run as a file, made while it is sent."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import tzinfo
from uuid import UUID

from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from homeroom_merge.console.frame.files import file_headers
from homeroom_merge.console.host import Host
from homeroom_merge.console.run import none_such, the_run
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.console.words import zone_of
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report import lines, sheet
from homeroom_merge.report.model import RecordEntry, Report
from homeroom_merge.report.page import Groups, render
from homeroom_merge.reporting import kept
from homeroom_merge.run_records import BEGINNING, Place, read

_AT_ONCE = 200
"""Records that are made into text at once: others of this process wait so long."""

Made = Callable[[Host, UUID, Report, tzinfo], AsyncIterator[bytes | str]]


async def report_file(visit: FeedVisit) -> Response:
    """`html`, `jsonl` or `csv`, with every record. RefusedError: the run goes on."""
    form, found = visit.request.path_params["form"], await the_run(visit)
    if found is None or form not in _FORMS:
        return none_such(visit)
    run, head = found
    report = await kept(visit.connection, run)
    if report is None:
        raise RefusedError("The run goes on: its report is there once it has ended.")
    made, media_type = _FORMS[form]
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in f"{visit.feed}-{head.entity}")
    headers = {**file_headers(f"{name[:100]}-{run}.{form}"), "X-Content-Type-Options": "nosniff"}
    text = made(visit.host, run, report, zone_of(visit))
    return StreamingResponse(text, media_type=media_type, headers=headers)


async def _jsonl(host: Host, run: UUID, report: Report, _zone: tzinfo) -> AsyncIterator[bytes | str]:
    yield lines.head_line(report)
    async for block in _blocks(host, run):
        yield b"".join(map(lines.entry_line, block))


async def _csv(host: Host, run: UUID, _report: Report, _zone: tzinfo) -> AsyncIterator[bytes | str]:
    yield sheet.first_line()
    async for block in _blocks(host, run):
        yield "".join(map(sheet.entry_line, block))


async def _html(host: Host, run: UUID, report: Report, zone: tzinfo) -> AsyncIterator[bytes | str]:
    """Some of each group, as Groups keeps them."""
    groups = Groups()
    async for block in _blocks(host, run):
        for entry in block:
            groups.add(entry)
    yield await to_thread.run_sync(render, report, groups, zone)


async def _blocks(host: Host, run: UUID) -> AsyncIterator[list[RecordEntry]]:
    """With a connection for each: who takes the file slowly holds none."""
    after: Place | None = BEGINNING
    while after is not None:
        async with host.state() as connection:
            assert connection is not None, "it was there when the file was asked for"
            page = await read(connection, run, after, _AT_ONCE)
        yield page.entries
        after = page.next


_FORMS: Mapping[str, tuple[Made, str]] = {
    "html": (_html, "text/html"),
    "jsonl": (_jsonl, "application/x-ndjson"),
    "csv": (_csv, "text/csv"),
}
