"""What ships in deploy/ at work: HAProxy before three nodes on a primary and a standby, all of them real."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.abc
import httpx
import orjson
import pytest

from homeroom import ConnectionCut, Replica, RetryLater
from homeroom.errors import Code
from tests.cluster import Cluster, free_port, running_cluster
from tests.conftest import PROVINCE
from tests.haproxy import HAPROXY, NODES, Proxy, running_haproxy
from tests.processes import Node, homeroom, running_node
from tests.records import accepted, available, note, pairs
from tests.test_replica_weather import here, there
from tests.test_sockets import held_on, until_held_on

DEPLOY = Path(__file__).parent.parent / "deploy"
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")

CLIENTS = 6
_HERE = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = '64MB'
fsync = off
"""
"""What a machine of tests has otherwise than one of production."""


@pytest.fixture(scope="module")
def shipped_cluster() -> Iterator[Cluster]:
    """A primary and a standby with the settings that ship."""
    conf = "".join((DEPLOY / "postgresql" / name).read_text() for name in ("primary.conf", "standby.conf"))
    with (
        tempfile.TemporaryDirectory(prefix="homeroom-tests-") as folder,
        running_cluster(Path(folder), conf + _HERE) as cluster,
    ):
        yield cluster


@pytest.fixture
def plan(shipped_cluster: Cluster, folder: Path, any_catalogue: str) -> Node:
    """How each node is started, with a key of the ministry."""
    organizations, database = folder / "organizations.csv", ("--database-url", shipped_cluster.url)
    organizations.write_text(PROVINCE, encoding="utf-8")
    homeroom("load-organizations", str(organizations), *database)
    created = homeroom("client", "create", folder.name, "--organization", "O.1", "--json", *database)
    standby = ("--read-database-url", shipped_cluster.standby.url)
    return Node("unused", (*database, *standby, "--catalogue", any_catalogue), orjson.loads(created.stdout)["key"])


@dataclass
class Stack:
    """A proxy and its nodes, each of which can be restarted where it stood."""

    proxy: Proxy
    plans: list[Node]
    nodes: list[Node] = field(default_factory=list)
    _running: list[AsyncExitStack] = field(default_factory=list)

    async def start(self, number: int) -> None:
        self._running[number] = AsyncExitStack()
        self.nodes[number] = await self._running[number].enter_async_context(running_node(self.plans[number]))

    async def stop(self, number: int) -> None:
        """SIGTERM, and wait for its end."""
        await self._running[number].aclose()

    async def restart(self, number: int) -> None:
        """As an operator does it: the next one only when the proxy uses this one again."""
        await self.stop(number)
        await self.start(number)
        await self.proxy.until(*["UP"] * NODES)

    async def until_held(self, held: int) -> None:
        """Wait until the nodes together hold so many requests."""
        with anyio.fail_after(10):
            while sum([await held_on(node) for node in self.nodes]) != held:
                await anyio.sleep(0.01)

    async def open(self) -> None:
        self.nodes, self._running = list(self.plans), [AsyncExitStack() for _ in self.plans]
        async with anyio.create_task_group() as tasks:
            for number in range(len(self.plans)):
                tasks.start_soon(self.start, number)
        await self.proxy.until(*["UP"] * NODES)

    async def close(self) -> None:
        """At once: how they end well is tested before."""
        for node in self.nodes:
            if node.pid:
                os.kill(node.pid, signal.SIGKILL)
        async with anyio.create_task_group() as tasks:
            for number in range(len(self.plans)):
                tasks.start_soon(self.stop, number)


@asynccontextmanager
async def running_stack(plan: Node, folder: Path) -> AsyncIterator[Stack]:
    ports = [str(free_port()) for _ in range(NODES)]
    async with running_haproxy(folder, [f"127.0.0.1:{port}" for port in ports]) as proxy:
        stack = Stack(proxy, [replace(plan, flags=(*plan.flags, "--port", port)) for port in ports])
        try:
            await stack.open()
            yield stack
        finally:
            await stack.close()


async def test_a_held_request_is_woken_through_the_proxy_and_freed_by_a_hang_up(plan: Node, folder: Path) -> None:
    async with running_stack(plan, folder) as stack, stack.proxy.client(plan.key) as client:
        answers = []

        async def hear() -> None:
            answers.append(pairs(await available(client, "Bulletin", wait_seconds=300)))

        async with anyio.create_task_group() as tasks:
            for _ in range(NODES):
                tasks.start_soon(hear)
            for node in stack.nodes:  # the one with the fewest connections is given the next
                await until_held_on(node, 1)
            async with stack.nodes[0].client() as writer:
                (version,) = await accepted(writer, "Bulletin", note("a"))
        assert answers == [[("a", version)]] * NODES
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold_for_ever, stack.proxy, plan.key, version)
            await stack.until_held(1)
            tasks.cancel_scope.cancel()
        await stack.until_held(0)


async def hold_for_ever(proxy: Proxy, key: str, since: int) -> None:
    async with proxy.client(key) as client:
        await available(client, "Bulletin", since=since, wait_seconds=300)


async def test_a_call_that_finds_no_node_is_told_to_come_again(folder: Path) -> None:
    async with running_haproxy(folder) as proxy, proxy.client("any") as client:
        await proxy.until(*["DOWN"] * NODES)
        with pytest.raises(RetryLater, match="no node of the Core is ready") as failure:
            await client.hello()
        assert (failure.value.code, failure.value.retry_after_seconds) == (Code.CORE_NOT_AVAILABLE, 2)


async def test_a_request_that_a_node_may_have_read_is_not_sent_again(folder: Path) -> None:
    read = []

    async def answer_checks_alone(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            said = await stream.receive()
            if said.startswith(b"GET /readyz"):
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                read.append(said)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer_checks_alone)
        async with running_haproxy(folder, [address] * NODES) as proxy, proxy.client("any") as client:
            await proxy.until(*["UP"] * NODES)
            with pytest.raises(ConnectionCut):
                await client.submit("Bulletin", [note("a")])
        tasks.cancel_scope.cancel()
    assert len(read) == 1


async def test_the_standby_follows_on_the_settings_that_ship(shipped_cluster: Cluster) -> None:
    primary, standby = shipped_cluster.primary, shipped_cluster.standby
    primary.sql("create table follows (n int)")
    with anyio.fail_after(10):
        while not shipped_cluster.caught_up():
            await anyio.sleep(0.05)
    assert standby.sql("select count(*) from follows") == "0"
    assert primary.sql("select string_agg(name, ' ') from pg_file_settings where error is not null") == ""
    assert primary.sql("select state from pg_stat_replication") == "streaming"
    primary.sql("drop table follows")


@dataclass
class Log:
    """What clients without any retry of their own met."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    failures: list[str] = field(default_factory=list)

    def take(self, answer: httpx.Response) -> dict[str, Any]:
        self.answers += 1
        if answer.status_code != 200:
            self.failures.append(f"{answer.request.url.path}: {answer.status_code} {answer.text}")
            return {}
        document: dict[str, Any] = answer.json()
        return document

    def failed(self, failure: httpx.TransportError) -> dict[str, Any]:
        self.failures.append(f"{failure.request.url.path}: {failure!r}")
        return {}


async def call(http: httpx.AsyncClient, path: str, body: object, log: Log, **headers: str) -> dict[str, Any]:
    try:
        return log.take(await http.post(path, json=body, headers=headers))
    except httpx.TransportError as failure:
        return log.failed(failure)


async def poll(stack: Stack, key: str, notification_type: str, log: Log) -> None:
    """Ask to be held, again and again."""
    cursor = 0
    async with plain(stack.proxy, key) as http:
        while True:
            types = [{"notificationType": notification_type, "maxCoreVersion": cursor}]
            said = await call(http, "/v1/is-data-available", {"waitSeconds": 50, "types": types}, log)
            cursor = said["types"][0]["maxCoreVersion"] if said else cursor


async def write(stack: Stack, key: str, name: str, stopped: anyio.Event, log: Log) -> None:
    """New records one after the other."""
    async with plain(stack.proxy, key) as http:
        for number in count():
            if stopped.is_set():
                return
            record = note(f"{name}-{number}")
            said = await call(
                http, "/v1/submit/Bulletin", {"records": [record]}, log, **{"Idempotency-Key": str(uuid4())}
            )
            if said:
                log.acknowledged[record["id"]] = said["results"][0]["coreVersion"]
            await anyio.sleep(0.02)


def plain(proxy: Proxy, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust, headers=headers, timeout=60)


async def test_a_rolling_restart_loses_nothing_and_is_noticed_by_nobody(
    plan: Node, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEROOM_DRAIN_NOTICE_SECONDS", "2")
    monkeypatch.setenv("HOMEROOM_DRAIN_SECONDS", "0.5")
    quiet, polls, writes, stopped = Log(), Log(), Log(), anyio.Event()
    async with (
        running_stack(plan, folder) as stack,
        stack.proxy.client(plan.key) as client,
        Replica(tmp_path / "replica.db", client, ["Bulletin"]) as replica,
        anyio.create_task_group() as pollers,
    ):
        await replica.in_step()
        for _ in range(CLIENTS):
            pollers.start_soon(poll, stack, plan.key, "Plan.2027", quiet)
        await stack.until_held(CLIENTS + 1)
        await stack.restart(0)
        assert quiet.answers <= CLIENTS, "who is released is held by another node next"
        async with anyio.create_task_group() as writers:
            for number in range(CLIENTS):
                pollers.start_soon(poll, stack, plan.key, "Bulletin", polls)
                writers.start_soon(write, stack, plan.key, f"{folder.name}-{number}", stopped, writes)
            for number in range(1, NODES):
                await stack.restart(number)
            stopped.set()
        stands = await there(client, "Bulletin")
        assert (quiet.failures, polls.failures, writes.failures) == ([], [], [])
        assert writes.acknowledged
        assert {i: stands[i][0] for i in writes.acknowledged} == writes.acknowledged
        with anyio.fail_after(10):
            while here(tmp_path / "replica.db", "Bulletin") != stands:
                await anyio.sleep(0.05)
        pollers.cancel_scope.cancel()
