"""After a loss, and for what was never visible, nothing about a record reaches anybody: every service is tried."""

import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from homeroom import Client, HomeroomError, LocalRecords
from homeroom_server.settings import Settings
from tests.access import enrol, settled, write_catalogue
from tests.conftest import Core, open_core
from tests.records import Json, accepted, record
from tests.test_access import ELK, MAPLE, PLAIN, PRAIRIE

TYPES = ("Student", "StudentStatus", "Document", "DocumentStatus", "Mark", "MarkStatus", "Enrolment.2027")
VERSIONS = {"maxCoreVersion", "until", "bookmark", "coreVersion"}


@pytest.fixture
async def leak_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with open_core(database_of_test, changed) as core:
        await settled(core.services)
        yield core


def without_versions(answer: Any) -> Any:
    """Version and bookmark values may move with what others do."""
    if isinstance(answer, dict):
        return {k: "…" if k in VERSIONS else without_versions(v) for k, v in answer.items()}
    return [without_versions(each) for each in answer] if isinstance(answer, list) else answer


async def said_by(client: Client, method: str, *arguments: Any) -> Any:
    """What a service says, be it an error."""
    try:
        answer = await getattr(client, method)(*arguments)
    except HomeroomError as failure:
        return [failure.code, failure.detail, [[f.pointer, f.detail] for f in failure.errors]]
    return answer if isinstance(answer, dict) else {k: getattr(answer, k) for k in answer.__slots__ if k != "epoch"}


async def everything(client: Client, ids: dict[str, str], cursors: dict[str, int]) -> Any:
    """What every service tells an organisation about some records and about their types."""
    told: list[Any] = []
    for name in TYPES:
        record_id = ids[name.removesuffix("Status").partition(".")[0]]
        for cursor in (0, cursors[name]):
            asked = {"notificationType": name, "maxCoreVersion": cursor, "versionHash": "0" * 32}
            told.append(await said_by(client, "is_data_available", [asked], 0))
        for version in (0, 1):
            asked = {"id": record_id, "expectedVersion": version}
            told.append(await said_by(client, "get", name, [asked]))
        lines = [line async for line in client.snapshot(name)]
        told.append(lines)
        told.append(await said_by(client, "reconcile", name, 0, LocalRecords([]).whole()))
        exact = {"from": record_id, "to": record_id + "~", "count": 1, "fingerprint": "0" * 32}
        told.append(await said_by(client, "reconcile", name, 0, [exact | {"to": None}]))
        if not name.endswith("Status"):
            body = {"studentId": "s1", "school": "0990", "start": "2020-09-01"}
            told.append(await said_by(client, "submit", name, [record(record_id, body, 1)]))
            told.append(await said_by(client, "submit", name, [record(record_id, None, 1, deleted=True)]))
        else:
            word = {"id": record_id, "alertCode": 1, "arguments": {}, "state": "Acknowledged"}
            told.append(await said_by(client, "acknowledge", name, word))
    return without_versions(orjson.loads(orjson.dumps(told)))


async def current(client: Client, name: str, record_id: str) -> Json:
    (found,) = (await client.get(name, [{"id": record_id}])).records
    return dict(found)


async def change(core: Core, ministry: Client, name: str, record_id: str, what: str) -> None:
    """Something happens to a record, for those who still see it."""
    stands = await current(ministry, name, record_id)
    body = stands["body"] | ({"n": time.time()} if what == "change" else {})
    changed = record(record_id, body, stands["coreVersion"], deleted=what == "delete")
    await accepted(ministry, name, changed)
    await settled(core.services)


async def test_after_a_loss_no_answer_depends_on_what_happens_to_the_record(leak_core: Core) -> None:
    maple, plain, ministry = [await leak_core.client(code) for code in (MAPLE, PLAIN, "O.1")]
    prairie, elk = await leak_core.client(PRAIRIE), await leak_core.client(ELK)
    ids = {"Student": "s1", "Document": "d1", "Mark": "m1", "Enrolment": "e1"}
    await accepted(maple, "Student", record("s1", {}), record("s2", {}))
    await enrol(maple, "e1", "s1", "0982")
    enrolled = await enrol(plain, "e2", "s1", "0990")
    await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await accepted(maple, "Mark", record("m1", {"studentId": "s1", "decision": {"approved": True}}))
    await settled(leak_core.services)
    await enrol(plain, "e2", "s1", "0990", enrolled, exit="2021-06-30")
    await settled(leak_core.services)
    names = [name for name in TYPES if not name.endswith("Status")]
    strangers = {"lost": plain, "lost by the authority": prairie, "never saw it": elk}
    cursors = {}
    for name in TYPES:
        answer = await maple.is_data_available([{"notificationType": name, "maxCoreVersion": 0}], 0)
        cursors[name] = answer.types[0]["maxCoreVersion"]
    before = {who: await everything(client, ids, cursors) for who, client in strangers.items()}
    for what in ("change", "delete", "undelete", "change"):
        for name in names:
            await change(leak_core, ministry, name, ids[name.partition(".")[0]], what)
        for who, client in strangers.items():
            assert await everything(client, ids, cursors) == before[who], (who, what)
    await accepted(maple, "Document", record("d2", {"studentId": "s1"}))
    await settled(leak_core.services)
    for who, client in strangers.items():
        assert await everything(client, ids, cursors) == before[who], who


async def test_what_was_never_visible_is_unknown_and_takes_as_long_as_what_is_not_there(leak_core: Core) -> None:
    maple, elk = await leak_core.client(MAPLE), await leak_core.client(ELK)
    await accepted(maple, "Student", record("s1", {"text": "x" * 20_000}))
    await accepted(maple, "Document", record("d1", {"studentId": "s1", "text": "x" * 20_000}))
    await settled(leak_core.services)
    for name, hidden in (("Student", "s1"), ("StudentStatus", "s1"), ("Document", "d1"), ("DocumentStatus", "d1")):
        answers = {}
        seconds: dict[str, list[float]] = {hidden: [], "nobody": []}
        for _ in range(150):
            for record_id, spent in seconds.items():
                begun = time.perf_counter()
                (answers[record_id],) = (await elk.get(name, [{"id": record_id}])).records
                spent.append(time.perf_counter() - begun)
        assert answers[hidden] == {"id": hidden, "availability": "Unknown"}
        assert answers["nobody"] == {"id": "nobody", "availability": "Unknown"}
        ratio = statistics.median(seconds[hidden]) / statistics.median(seconds["nobody"])
        assert 0.7 < ratio < 1.4, f"{name}: {ratio:.2f}"
