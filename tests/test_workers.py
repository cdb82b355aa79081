"""`serve --workers`: real nodes behind one port, what they do for their clients and what becomes of them."""

import os
import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
import psutil
import pytest

from homeroom_server import operations, workers
from homeroom_server.auth import Role
from homeroom_server.settings import Settings, read_settings, to_environment
from homeroom_server.workers import WorkersError, run_workers
from tests.processes import Node, homeroom, running_node
from tests.records import accepted, available, note, pairs
from tests.test_sockets import HOLD

Doors = dict[psutil.Process, list[httpx.AsyncClient]]


@pytest.fixture
async def two_workers(database_of_test: str, any_catalogue: str) -> Node:
    connection = await asyncpg.connect(database_of_test)
    key = await operations.create_client(connection, "tests", ["O.1"], Role.WRITER)
    await connection.close()
    flags = ("--database-url", database_of_test, "--catalogue", any_catalogue, "--workers", "2")
    return Node("unused", flags, key)


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "worker" in arguments_of(child)]


def arguments_of(process: psutil.Process) -> list[str]:
    """None once it has ended, even if its end was not yet noticed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # zombies included
        return []


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if arguments_of(process)]


@asynccontextmanager
async def open_doors(node: Node, each: int = 1) -> AsyncIterator[Doors]:
    """For each worker so many clients, each with one connection, which that worker has accepted."""
    by_pid: dict[int, list[httpx.AsyncClient]] = {worker.pid: [] for worker in workers_of(node.pid)}
    async with AsyncExitStack() as stack:
        with anyio.fail_after(20):
            while any(len(clients) < each for clients in by_pid.values()):
                http = httpx.AsyncClient(
                    base_url=node.url,
                    headers={"Authorization": f"Bearer {node.key}"},
                    limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
                    timeout=30,
                )
                await stack.enter_async_context(http)
                by_pid[(await http.get("/readyz")).json()["pid"]].append(http)
        yield {psutil.Process(pid): clients for pid, clients in by_pid.items()}


async def held_by_each(doors: Doors) -> list[int]:
    return [(await clients[0].get("/readyz")).json()["held"] for clients in doors.values()]


async def until_all_held(doors: Doors, count: int) -> list[int]:
    with anyio.fail_after(20):
        while sum(held := await held_by_each(doors)) != count:
            await anyio.sleep(0.01)
    return held


async def hold(http: httpx.AsyncClient, answers: list[Any]) -> None:
    answers.append((await http.post("/v1/is-data-available", json=HOLD)).json()["types"][0]["records"])


async def test_a_submit_to_one_worker_wakes_those_held_by_all(two_workers: Node) -> None:
    async with running_node(two_workers) as node, node.client() as client, open_doors(node) as doors:
        answers = []

        async def hear() -> None:
            answers.append(pairs(await available(client, "Bulletin", wait_seconds=300)))

        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(hear)
            held = await until_all_held(doors, 40)
            assert min(held) > 0, "the kernel spreads connections over the workers"
            (version,) = await accepted(client, "Bulletin", note("a"))
        assert answers == [[("a", version)]] * 40


async def test_a_killed_worker_is_replaced_and_clients_of_the_other_notice_nothing(two_workers: Node) -> None:
    async with running_node(two_workers) as node, node.client() as client, open_doors(node, each=2) as doors:
        killed, other = doors
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, doors[other][1], answers)
            await until_all_held(doors, 1)
            killed.kill()
            with anyio.fail_after(30):
                async with anyio.create_task_group() as newcomers:
                    for _ in range(20):  # half of these queue for the one that comes
                        newcomers.start_soon(client.hello)
            assert answers == []
            (version,) = await accepted(client, "Bulletin", note("a"))
        assert answers == [[{"id": "a", "coreVersion": version}]]
        now = workers_of(node.pid)
        assert len(now) == 2
        assert (killed in now, other in now) == (False, True)
        async with open_doors(node) as again:
            assert await held_by_each(again) == [0, 0]


async def test_a_worker_that_is_told_to_end_answers_its_held_and_is_replaced(two_workers: Node) -> None:
    async with running_node(two_workers) as node, open_doors(node, each=2) as doors:
        told, other = doors
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, doors[told][1], answers)
            await until_all_held(doors, 1)
            told.terminate()
        assert answers == [[]]
        with anyio.fail_after(20):
            while told in (now := workers_of(node.pid)) or len(now) < 2:
                await anyio.sleep(0.01)
        assert other in now


async def test_sigterm_answers_the_held_of_all_workers_and_leaves_nothing_behind(node_files: Node) -> None:
    embedded = replace(node_files, flags=(*node_files.flags, "--workers", "2"))
    async with running_node(embedded) as node, node.client() as client:
        answers = []
        family = [psutil.Process(node.pid), *workers_of(node.pid)]

        async def hear() -> None:
            answers.append((await available(client, "Bulletin", wait_seconds=300))["reason"])

        async with open_doors(node) as doors, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(hear)
            await until_all_held(doors, 20)
            os.kill(node.pid, signal.SIGTERM)
        assert answers == ["none"] * 20
    assert len(family) == 3
    assert not alive(family)
    assert not (Path(node.data_dir) / "postgres" / "postmaster.pid").exists()


async def test_workers_do_not_outlive_a_killed_parent(two_workers: Node) -> None:
    async with running_node(two_workers) as node:
        orphans = workers_of(node.pid)
        assert len(orphans) == 2
        os.kill(node.pid, signal.SIGKILL)
        with anyio.fail_after(20):
            while alive(orphans):
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--catalogue", "/no/such.toml"], "/no/such.toml"),
        (["--workers", "64"], "64 workers may open 1281 connections"),
        (["--database-url", "postgresql:///none?host=/nowhere"], "the database cannot be reached"),
    ],
)
async def test_what_no_worker_could_start_with_is_said_once(database_of_test: str, flags: list[str], said: str) -> None:
    command = ["serve", "--port", "0", "--workers", "2", "--database-url", database_of_test, *flags]
    done = await anyio.to_thread.run_sync(lambda: homeroom(*command, check=False))
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("homeroom: ") == 1
    assert "died" not in done.stderr


async def test_a_port_that_others_share_is_taken(two_workers: Node) -> None:
    async with running_node(two_workers) as node:
        command = ["serve", "--port", node.url.rpartition(":")[2], *node.flags]
        done = await anyio.to_thread.run_sync(lambda: homeroom(*command, check=False))
        assert (done.returncode, done.stderr.count("in use")) == (1, 1)


async def test_workers_that_keep_dying_at_start_end_all_of_them(
    database_of_test: str, any_catalogue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_PAUSES_SECONDS", (0, 0.01))
    settings = Settings(port=0, catalogue=any_catalogue, workers=2, drain_seconds=0.1)
    crew: list[psutil.Process] = []

    def spoil(url: str) -> None:
        Path(any_catalogue).write_text("spoilt", encoding="utf-8")
        crew.extend(workers_of(os.getpid()))
        crew[0].kill()

    with anyio.fail_after(60), pytest.raises(WorkersError, match="3 times in a row"):
        await run_workers(settings, database_of_test, spoil)
    assert len(crew) == 2
    assert not alive(crew)


async def test_a_node_takes_as_many_sockets_as_the_system_grants(two_workers: Node) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(500, hard), hard))
    try:
        async with running_node(two_workers) as node:
            assert [w.rlimit(psutil.RLIMIT_NOFILE) for w in workers_of(node.pid)] == [(hard, hard)] * 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_settings_pass_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(port=1, workers=3, drain_seconds=0.1, time_zone="UTC", database_url="postgresql://x")
    for variable, value in to_environment(settings).items():
        monkeypatch.setenv(variable, value)
    assert read_settings() == settings
