"""Spans for a collector: what a node did and for how long, never about whom; nothing where none is configured."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import httpx
import pytest

from homeroom import HomeroomError
from homeroom_server.settings import Settings, SettingsError, read_settings
from homeroom_server.tracing import spans
from homeroom_server.tracing.spans import NO_SPAN, NoTraces
from tests.cluster import free_port
from tests.conftest import Core, open_core
from tests.records import accepted, available, note
from tests.test_is_data_available import until_held

CHILD = "123456789"
needs_library = pytest.mark.skipif(not spans.is_installed(), reason="opentelemetry is not installed (the extra traces)")


@dataclass
class Collector:
    """What was sent to it, as bytes and as spans."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [span for each in sent for r in each.resource_spans for s in r.scope_spans for span in s.spans]

    def of(self, name: str) -> list[tuple[Any, dict[str, Any]]]:
        """Spans of a name, each with its facts."""
        found = [span for span in self.spans() if span.name == name]
        return [
            (span, {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}) for span in found
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


async def go_to_work(core: Core) -> None:
    """A submit, a held request that it wakes, a get, a refusal, and calls that nobody knows."""
    writer, reader = await core.client("S.0982"), await core.client("A.3020")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(available, reader, "Note", wait_seconds=30))
        await until_held(core)
        await accepted(writer, "Note", note(CHILD, text="secret words"))
    await reader.get("Note", [{"id": CHILD}])
    with pytest.raises(HomeroomError):
        await reader.get(CHILD, [{"id": CHILD}])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://core") as http:
        await http.get(f"/console/records/Note/{CHILD}")
        await http.get(f"/nothing/{CHILD}")
    await core.services.processor._process_batch()


@needs_library
async def test_spans_tell_what_was_done_and_nothing_about_whom(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    with collecting() as collector:
        known = replace(settings, catalogue=any_catalogue, traces_url=collector.url)
        async with open_core(database_of_test, known) as core:
            await go_to_work(core)
            with anyio.fail_after(20):
                while await (await core.connect()).fetchval("select count(*) from status_trigger"):
                    await anyio.sleep(0.05)
    ((submit, facts),) = collector.of("submit")
    assert facts == {"http.response.status_code": 200, "homeroom.type": "Note"}
    (commit, told), *_ = [(span, facts) for span, facts in collector.of("commit") if facts["homeroom.type"] == "Note"]
    assert told == {"homeroom.type": "Note", "homeroom.changes": 1, "homeroom.records": 1}
    assert [link.span_id for link in commit.links] == [submit.span_id]
    assert {facts.get("homeroom.code") for _, facts in collector.of("get")} == {None, 3005}
    assert {facts["http.response.status_code"] for _, facts in collector.of("none")} == {404}
    assert len(collector.of("is-data-available")) == 1
    assert collector.of("feed")
    assert [facts for _, facts in collector.of("statuses")] == [{"homeroom.count": 1}]
    everything = b"".join(collector.bodies)
    assert all(word not in everything for word in (CHILD.encode(), b"secret", b"S.0982"))
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in collector.spans())


@needs_library
async def test_a_fault_is_told_by_its_class_alone(
    database_of_test: str, settings: Settings, any_catalogue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        known = replace(settings, catalogue=any_catalogue, traces_url=collector.url)
        async with open_core(database_of_test, known) as core:
            writer = await core.client("S.0982")

            def broken(*_: object) -> None:
                raise RuntimeError(CHILD)

            monkeypatch.setattr(core.services.committer, "commit", broken)
            with pytest.raises(RuntimeError):
                await accepted(writer, "Note", note("a"))
    ((span, facts),) = collector.of("submit")
    assert (span.status.message, facts["http.response.status_code"]) == ("RuntimeError", 500)
    assert CHILD.encode() not in b"".join(collector.bodies)


@needs_library
async def test_a_collector_that_is_away_keeps_nobody(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1/traces"
    known = replace(settings, catalogue=any_catalogue, traces_url=away)
    with anyio.fail_after(15):
        async with open_core(database_of_test, known) as core:
            await accepted(await core.client("S.0982"), "Note", note("a"))


def test_without_a_collector_the_library_is_not_loaded() -> None:
    looks = (
        "import homeroom_server.server, sys; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", looks], check=False, timeout=60).returncode == 0


async def test_without_a_collector_a_span_is_nothing(plain_core: Core) -> None:
    assert isinstance(plain_core.services.traces, NoTraces)
    assert plain_core.services.traces.span("call", [NO_SPAN]) is NO_SPAN


def test_a_collector_without_the_library_is_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"traces_url.*homeroom-server\[traces\]"):
        read_settings({"traces_url": "http://127.0.0.1:4318/v1/traces"})
