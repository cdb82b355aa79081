"""Protocol 7: first loads as one stream."""

import gzip
import random
from math import inf
from typing import Any

import anyio
import httpx
import orjson
import pytest
import zstandard
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeroom import Client, HomeroomError, RetryLater
from homeroom_server.endpoints import snapshot as endpoint
from homeroom_server.store import bulk
from tests.conftest import Core
from tests.records import Json, accepted, available, note, record
from tests.test_status import status_of


async def lines_of(client: Client, type_name: str, **window: Any) -> list[Json]:
    return [line async for line in client.snapshot(type_name, **window)]


def watch_pages(monkeypatch: pytest.MonkeyPatch) -> list[bulk.Page]:
    """The pages read from now on, growing."""
    pages: list[bulk.Page] = []
    read_page = bulk.read_page

    async def watched(*arguments: Any) -> bulk.Page:
        pages.append(await read_page(*arguments))
        return pages[-1]

    monkeypatch.setattr(bulk, "read_page", watched)
    return pages


async def test_every_live_record_comes_once_in_order_between_until_and_bookmark(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_PAGE_ROWS_MAX", 3)
    school = await plain_core.client("S.0982")
    versions = await accepted(school, "Note", *(note(f"n{i}", str(i)) for i in range(10)))
    (gone,) = await accepted(school, "Note", record("n4", None, versions[4], deleted=True))
    first, *records, last = await lines_of(school, "Note")
    epoch = (await school.hello()).epoch
    assert (first, last) == ({"until": gone, "epoch": epoch}, {"bookmark": gone})
    assert [r["coreVersion"] for r in records] == [v for v in versions if v != versions[4]]
    (found,) = (await school.get("Note", [{"id": "n7"}])).records
    (same,) = [r for r in records if r["id"] == "n7"]
    assert same == {name: found[name] for name in ("id", "coreVersion", "changedAt", "body")}


async def test_a_status_comes_with_its_source(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a", "text"))
    status = await status_of(school, "NoteStatus", "a", version)
    _, line, _ = await lines_of(school, "NoteStatus")
    assert line == {
        name: status[name] for name in ("id", "coreVersion", "changedAt", "sourceVersion", "body", "source")
    }


async def test_only_what_the_caller_sees_is_streamed(plain_core: Core) -> None:
    await accepted(await plain_core.client("S.0982"), "Note", note("a"))
    assert len(await lines_of(await plain_core.client("A.3020"), "Note")) == 3
    assert len(await lines_of(await plain_core.client("O.1"), "Note")) == 3
    assert len(await lines_of(await plain_core.client("S.0990"), "Note")) == 2


async def test_a_type_nobody_wrote_is_an_empty_stream(plain_core: Core) -> None:
    first, last = await lines_of(await plain_core.client("S.0982"), "Plan.2027")
    assert (first["until"], last) == (0, {"bookmark": 0})


async def test_resumed_in_the_same_window_a_deletion_meanwhile_stays_above_the_bookmark(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    versions = await accepted(school, "Note", *(note(f"n{i}") for i in range(4)))
    first, one, *_ = await lines_of(school, "Note")
    await accepted(school, "Note", record("n3", None, versions[3], deleted=True), note("new"))
    resumed = await lines_of(school, "Note", after=one["coreVersion"], until=first["until"])
    assert [line.get("id") for line in resumed] == [None, "n1", "n2", None]
    assert resumed[-1] == {"bookmark": versions[3]}
    delta = await available(school, "Note", resumed[-1]["bookmark"])
    assert [entry["id"] for entry in delta["records"]] == ["n3", "new"]


async def test_bodies_are_bounded_by_bytes_not_only_by_rows(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PAGE_BYTES_MAX", 2_000)
    pages = watch_pages(monkeypatch)
    school = await plain_core.client("S.0982")
    chance = random.Random(1)
    big = [record(f"n{i}", {"x": chance.randbytes(700).hex()}) for i in range(20)]
    await accepted(school, "Note", *big)
    _, *records, _ = await lines_of(school, "Note")
    assert [(r["id"], r["body"]) for r in records] == [(r["id"], r["body"]) for r in big]
    assert [page.lines.count(b"\n") for page in pages] == [2] * 10 + [0]


async def test_sources_count_as_bytes_of_a_page(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PAGE_BYTES_MAX", 2_000)
    pages = watch_pages(monkeypatch)
    school = await plain_core.client("S.0982")
    chance = random.Random(1)
    for name in "abcd":
        (version,) = await accepted(school, "Note", record(name, {"text": chance.randbytes(700).hex()}))
        await status_of(school, "NoteStatus", name, version)
    assert len(await lines_of(school, "NoteStatus")) == 6
    assert [page.lines.count(b"\n") for page in pages] == [2, 2, 0]


async def test_one_page_is_read_ahead_and_a_hang_up_leaves_nothing(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_PAGE_ROWS_MAX", 1)
    pages = watch_pages(monkeypatch)
    await accepted(await plain_core.client("S.0982"), "Note", *(note(f"n{i}") for i in range(10)))
    pool = plain_core.services.reading.primary.pools["bulk"]
    hung_up = anyio.Event()
    sent: list[bytes] = []

    async def receive() -> Message:
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        assert len(pages) < len(sent)  # two messages go before the first page: one page more than is sent
        if len(sent) == 6:
            for _ in range(3):  # the only connection is free, after those who asked for it before
                async with pool.acquire():
                    pass
            assert len(pages) == 5
            hung_up.set()
            await anyio.sleep_forever()

    headers = [(b"authorization", f"Bearer {await plain_core.key('S.0982')}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/v1/snapshot/Note", "query_string": b"", "headers": headers}
    with anyio.fail_after(10):
        await plain_core.app(scope, receive, send)
    assert (plain_core.services.bulk_readers.admitted, pool.get_idle_size()) == (0, pool.get_size())


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
async def test_streams_are_compressed_when_asked_for(plain_core: Core, encoding: str) -> None:
    school = await plain_core.client("S.0982")
    await accepted(school, "Note", *(note(f"n{i}") for i in range(100)))
    key = await plain_core.key("S.0982")
    transport = httpx.ASGITransport(plain_core.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
        headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": f"br, {encoding}"}
        async with http.stream("GET", "/v1/snapshot/Note", headers=headers) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding", "identity") == encoding
    if encoding == "zstd":
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    elif encoding == "gzip":
        raw = gzip.decompress(raw)
    assert len([orjson.loads(line) for line in raw.splitlines()]) == 102


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"after": "x"}, 3001),
        ({"until": "-1"}, 3001),
        ({"until": str(2**53)}, 3001),
        ({"since": "1"}, 3001),
        ({"until": "999999999"}, 2003),
        ({"after": "999999999"}, 2003),
    ],
)
async def test_a_window_that_makes_no_sense_is_refused(plain_core: Core, query: dict[str, str], code: int) -> None:
    key = await plain_core.key("S.0982")
    transport = httpx.ASGITransport(plain_core.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
        answer = await http.get("/v1/snapshot/Note", params=query, headers={"Authorization": f"Bearer {key}"})
    assert answer.json()["code"] == code


async def test_a_window_below_the_horizon_starts_over(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    await (await plain_core.connect()).execute("update notification_type set horizon = $1 where watermark = $1", b)
    with pytest.raises(HomeroomError) as failure:
        await lines_of(school, "Note", after=0, until=a)
    assert failure.value.code == 2003
    assert len(await lines_of(school, "Note")) == 4


async def test_too_many_first_loads_are_turned_away_and_the_held_are_not(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    readers = plain_core.services.bulk_readers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "admitted", readers._limit)
        with pytest.raises(HomeroomError) as failure:
            await lines_of(school, "Note")
        assert (failure.value.code, failure.value.status) == (2001, 503)
        assert "bulk_readers_max" in failure.value.detail
        assert (await available(school, "Note"))["reason"] == "none"


async def test_taken_under_constant_writes_and_followed_by_deltas_it_equals_the_oracle(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_PAGE_ROWS_MAX", 5)
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("A.3020")
    names = "abcdefghijklmnopqrst"
    stands = dict(zip(names, await accepted(writer, "Note", *(note(name) for name in names)), strict=True))
    chance = random.Random(3)
    stop = anyio.Event()

    async def write() -> None:
        while not stop.is_set():
            name = chance.choice("abcdefghijklmnopqrstuvw")
            if name in stands and chance.random() < 0.3:
                await accepted(writer, "Note", record(name, None, stands.pop(name), deleted=True))
            else:
                (stands[name],) = await accepted(writer, "Note", note(name, str(chance.random()), stands.get(name, 0)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(5):
            held: dict[str, int] = {}
            async for line in reader.snapshot("Note"):
                if "id" in line:
                    assert line["id"] not in held
                    held[line["id"]] = line["coreVersion"]
                cursor = line.get("bookmark", 0)
                await anyio.sleep(0.002)
            assert cursor > 0
        stop.set()
    delta = await available(reader, "Note", cursor)
    answer = await reader.get("Note", [{"id": entry["id"]} for entry in delta["records"]] or [{"id": "a"}])
    for found in answer.records:
        if found["availability"] == "Normal" and not found["deleted"]:
            held[found["id"]] = found["coreVersion"]
        else:
            held.pop(found["id"], None)
    assert held == stands


class CutOnce:
    """An application whose first answer loses everything after so many bytes of its body."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._left: float = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_part(message: Message) -> None:
            if message["type"] == "http.response.body" and self._left != inf:
                body = message.get("body", b"")[: int(self._left)]
                self._left -= len(body)
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, send_part)
        self._left = inf


async def test_cut_at_any_byte_it_resumes_without_loss_or_repetition(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    versions = await accepted(school, "Note", *(note(f"n{i}", "ü") for i in range(4)))
    key = await plain_core.key("S.0982")
    whole = sum(len(orjson.dumps(line)) + 1 for line in await lines_of(school, "Note"))
    for bytes_max in range(whole + 1):
        transport = httpx.ASGITransport(CutOnce(plain_core.app, bytes_max))
        async with Client("http://core", key, transport=transport) as client:
            applied: list[int] = []
            window: dict[str, int] = {}
            bookmark = None
            while bookmark is None:
                try:
                    async for line in client.snapshot("Note", **window):
                        window.setdefault("until", line.get("until", 0))
                        bookmark = line.get("bookmark")
                        if "id" in line:
                            applied.append(line["coreVersion"])
                            window["after"] = line["coreVersion"]
                except RetryLater:
                    continue
        assert (applied, bookmark) == (versions, versions[-1]), f"cut after {bytes_max} bytes"
