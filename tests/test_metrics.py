"""What /metrics tells, and to whom."""

import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from homeroom import RetryLater
from homeroom_server import metrics
from homeroom_server.settings import Settings
from homeroom_server.tally import Timings
from tests.conftest import Core, open_core
from tests.records import accepted, available, note
from tests.test_is_data_available import until_held
from tests.test_parking import HOLD, line, reasons

ROOM = Path(metrics.__file__).parent
Told = Mapping[tuple[str, ...], float]


def browser(core: Core, address: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(core.app, client=(address, 1)), base_url="http://core")


async def told(core: Core) -> Told:
    """Every sample: its name, then what its labels say."""
    async with browser(core) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.name.startswith("homeroom_") and family.documentation for family in families)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def test_they_tell_of_limits_and_of_work_done(plain_core: Core) -> None:
    client = await plain_core.client("S.0982")
    before = await told(plain_core)
    assert before["homeroom_limit", "held_requests_per_client_max"] == 64
    assert before["homeroom_limit", "records_per_call_max"] == 5_000
    assert before["homeroom_limit", "connections_max"] > 100
    assert before["homeroom_limit_refusals_total", "turns_waiting_max"] == 0
    assert before["homeroom_feed_alive",] == 1
    assert ("homeroom_database_connections_in_use", "write") in before
    await accepted(client, "Note", note("a"), note("b"))
    await accepted(client, "Note", note("c"))
    after = await told(plain_core)
    assert after["homeroom_requests_total", "submit", "2xx"] == 2
    assert after["homeroom_requests_total", "metrics", "2xx"] == 1
    assert after["homeroom_commits_total",] >= 2
    assert after["homeroom_records_committed_total",] >= 3


async def test_held_requests_are_told_while_they_are_held_and_once_they_are_answered(plain_core: Core) -> None:
    writer = await plain_core.client("S.0982")
    async with plain_core.served(), line(plain_core) as a, line(plain_core) as b:
        await a.ask(HOLD)
        await b.ask(HOLD | {"waitSeconds": 1, "types": [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]})
        await until_held(plain_core, 2)
        held = await told(plain_core)
        assert held["homeroom_held_requests",] == 2
        assert held["homeroom_limit_in_use", "held_requests_per_node_max"] == 2
        assert held["homeroom_limit_in_use", "held_requests_per_client_max"] == 1
        assert held["homeroom_limit_in_use", "connections_max"] == 2
        assert ("homeroom_requests_total", "is-data-available", "2xx") not in held
        await accepted(writer, "Bulletin", note("a"))
        assert reasons((await a.answer())[1]) == ["newer"]
        assert reasons((await b.answer())[1]) == ["none"]
        answered = await told(plain_core)
    assert answered["homeroom_held_requests",] == 0
    assert (answered["homeroom_wakes_total",], answered["homeroom_waits_ended_total",]) == (1, 1)
    assert answered["homeroom_requests_total", "is-data-available", "2xx"] == 2


async def test_refusals_are_told_by_the_limit_that_refused(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    narrow = replace(settings, catalogue=any_catalogue, held_requests_per_client_max=0, writes_waiting_max=0)
    async with open_core(database_of_test, narrow) as core:
        client = await core.client("S.0982")
        for call in (lambda: available(client, "Note", wait_seconds=1), lambda: accepted(client, "Note", note("a"))):
            with pytest.raises(RetryLater):
                await call()
        after = await told(core)
    assert after["homeroom_limit_refusals_total", "held_requests_per_client_max"] == 1
    assert after["homeroom_limit_refusals_total", "writes_waiting_max"] == 1
    assert after["homeroom_requests_total", "is-data-available", "4xx"] == 1
    assert after["homeroom_requests_total", "submit", "5xx"] == 1


async def test_labels_do_not_grow_with_what_is_asked_for(plain_core: Core) -> None:
    async with browser(plain_core) as http:
        for path in ("/nothing", "/v1/nothing", "/v1/get/x/y", "/console/a", "/console/b"):
            await http.get(path)
    services = {labels[1] for labels in await told(plain_core) if labels[0] == "homeroom_requests_total"}
    assert services == {"none", "console"}


@pytest.mark.parametrize(
    ("address", "forwarded_for", "status"),
    [
        ("127.0.0.1", None, 200),
        ("10.1.2.3", None, 200),
        ("10.2.0.1", None, 404),
        ("127.0.0.1", "10.1.0.9", 200),
        ("127.0.0.1", "203.0.113.9", 404),
        ("203.0.113.9", "10.1.0.9", 404),
    ],
)
async def test_they_are_for_some_networks_and_for_others_there_are_none(
    database_of_test: str, settings: Settings, any_catalogue: str, address: str, forwarded_for: str | None, status: int
) -> None:
    known = replace(settings, catalogue=any_catalogue, metrics_networks="127.0.0.1 10.1.0.0/16")
    async with open_core(database_of_test, known) as core, browser(core, address) as http:
        headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
        answer = await http.get("/metrics", headers=headers)
        assert answer.status_code == status
        if status == 404:
            assert answer.content == (await http.get("/nothing")).content


async def test_every_label_is_of_a_bounded_set_whatever_is_asked_for(plain_core: Core) -> None:
    writer = await plain_core.client("S.0982")
    await accepted(writer, "Note", note("a"))
    async with browser(plain_core) as http:
        for path in (
            "/v1/get/Anything",
            "/v1/get/Note",
            "/v1/submit/Note",
            "/v1/nothing",
            "/console/x",
            "/openapi.json",
        ):
            await http.post(path, json={"records": [{"id": str(number)} for number in range(3)]})
            await http.get(path)
        text = (await http.get("/metrics")).text
    limits = {each.name for each in fields(Settings) if each.name.endswith("_max")}
    limits |= {f"{of}_per_call_max" for of in ("types", "records", "ranges")} | {"json_depth_max"}
    ours = [route for route in plain_core.app.routes if isinstance(route, Route)]
    routes = {route.endpoint.__name__ for route in ours if not route.path.startswith("/console")}
    bounded = {
        "limit": limits,
        "service": {name.replace("_", "-") for name in routes} | {"console", "none"},
        "status": {"2xx", "3xx", "4xx", "5xx"},
        "pool": {"usual", "bulk", "console", "feed", "write", "merges"},
        "kind": {"status", "access"},
        "le": {bound for bound, _ in Timings().buckets()},
        "pid": {str(os.getpid())},
        "reads": {plain_core.services.reading.place.name},
    }
    for family in text_string_to_metric_families(text):
        assert len(family.documentation) > 10, family.name
        for sample in family.samples:
            beyond = {name: said for name, said in sample.labels.items() if said not in bounded[name]}
            assert beyond == {}, sample.name


def test_every_limit_that_counts_refusals_is_told_of_before_the_first() -> None:
    sources = [file.read_text(encoding="utf-8") for file in ROOM.rglob("*.py")]
    counted = {name for text in sources for name in re.findall(r'refusals\["(\w+)"\]', text)}
    assert len(counted) > 10
    assert counted <= set(metrics._REFUSING)


async def test_it_tells_how_long_commits_and_wakes_take_and_what_waits(plain_core: Core) -> None:
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0990")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(available, reader, "Bulletin", wait_seconds=30))
        await until_held(plain_core)
        await accepted(writer, "Bulletin", note("a"))
    plain_core.services.audit.lost = 3
    connection = await plain_core.connect()
    await connection.execute("insert into status_trigger (record_type, id, changed) values (999, 'x', true)")
    await plain_core.services.pulse.beat()
    said = await told(plain_core)
    assert said["homeroom_commit_seconds_count",] >= 1
    assert said["homeroom_commit_seconds_bucket", "+Inf"] == said["homeroom_commit_seconds_count",]
    assert 0 < said["homeroom_commit_seconds_sum",] < 10
    assert (said["homeroom_wake_seconds_count",], said["homeroom_wake_seconds_bucket", "10.0"]) == (1, 1)
    assert said["homeroom_triggers_waiting", "status"] == 1
    assert said["homeroom_audit_lost_total",] == 3
    assert "homeroom_audit_waiting" in {name for name, *_ in said}
