"""What /metrics tells, and to whom."""

from collections.abc import Mapping
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from homeroom import RetryLater
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import accepted, available, note
from tests.test_is_data_available import until_held
from tests.test_parking import HOLD, line, reasons

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
