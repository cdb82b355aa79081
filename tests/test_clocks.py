"""Clocks that jump by a day, a node's and the database's: who waits is told in time, and nothing is stuck for a day."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from homeroom import StopCalling
from homeroom_server import audit as audit_room
from homeroom_server import auth, client_streams, client_traffic, collection, operations, people, pulse
from homeroom_server.auth import Role
from homeroom_server.endpoints import hello
from homeroom_server.endpoints import submit as submit_endpoint
from homeroom_server.people import PersonRole, SignInRefusedError
from homeroom_server.store import pulse as beats
from tests.conftest import Core
from tests.records import accepted, available, note, pairs
from tests.test_is_data_available import until_held

DAY = timedelta(days=1)
PASSWORD = "correct horse battery"


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the wall clock of a node in this process, in every room that looks at it."""
    shift = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + shift

    def move(by: timedelta) -> None:
        nonlocal shift
        shift = by
        monkeypatch.setattr(time, "time", lambda: datetime.now(UTC).timestamp() + by.total_seconds())

    for room in (auth, client_streams, client_traffic, audit_room, pulse, hello, submit_endpoint):
        monkeypatch.setattr(room, "datetime", Clock)
    return move


@pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])
class TestOfANode:
    async def test_waits_end_in_their_time_and_changes_are_told(
        self, plain_core: Core, jump: Callable[[timedelta], None], by: timedelta
    ) -> None:
        writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0990")
        heard: list[list[tuple[str, int]]] = []

        async def hear() -> None:
            heard.append(pairs(await available(reader, "Bulletin", wait_seconds=300)))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                begun = time.monotonic()
                tasks.start_soon(available, reader, "Plan.2027", 0, 1)
                await until_held(plain_core, 2)
                jump(by)
                await until_held(plain_core, 1)
                assert 0.5 < time.monotonic() - begun < 10
                (version,) = await accepted(writer, "Bulletin", note("a"))
        assert heard == [[("a", version)]]

    async def test_statuses_are_calculated_and_the_node_is_alive(
        self, plain_core: Core, jump: Callable[[timedelta], None], by: timedelta
    ) -> None:
        client, connection = await plain_core.client("S.0982"), await plain_core.connect()
        jump(by)
        await accepted(client, "Note", note("a"))
        with anyio.fail_after(20):
            while not pairs(await available(client, "NoteStatus")):
                await anyio.sleep(0.01)
        await plain_core.services.pulse.beat()
        assert [node.is_heard for node in await beats.read_nodes(connection, pulse.SILENT_SECONDS)] == [True]

    async def test_a_key_goes_by_the_nodes_clock_and_counts_again_once_it_is_right(
        self, plain_core: Core, jump: Callable[[timedelta], None], by: timedelta
    ) -> None:
        connection = await plain_core.connect()
        soon = await operations.create_client(connection, "soon", ["S.0982"], Role.WRITER, expires_days=1)
        later = await operations.create_client(connection, "later", ["S.0982"], Role.WRITER, expires_days=3)
        async with plain_core.client_with(soon) as ending, plain_core.client_with(later) as lasting:
            await ending.hello()
            jump(by)
            await lasting.hello()
            if by > timedelta():
                with pytest.raises(StopCalling) as refused:
                    await ending.hello()
                assert refused.value.code == 1002
            jump(timedelta())
            await ending.hello()


class TestOfTheDatabase:
    """What a clock has left that was a day ahead and has been put right, or was right and is a day ahead now."""

    async def test_what_it_put_off_is_taken_up(self, plain_core: Core) -> None:
        client, connection = await plain_core.client("S.0982"), await plain_core.connect()
        await accepted(client, "Note", note("a"))
        with anyio.fail_after(20):
            while not pairs(await available(client, "NoteStatus")):
                await anyio.sleep(0.01)
        await connection.execute(
            """
            insert into status_trigger (record_type, id, changed, due_at)
            select record_type, id, false, now() + interval '1 day 1.5 seconds' from record where body is not null
            limit 1;
            insert into access_trigger (student, leased_until) values ('123456789', now() + interval '1 day')
            """
        )
        midnight = "(now()::date + 3)::timestamptz"
        await connection.execute(
            f"insert into status_trigger (record_type, id, changed, due_at) values (99, 'put off', false, {midnight})"
        )
        await collection.end_leases_of_tomorrow(plain_core.services.write_pool)
        with anyio.fail_after(20):
            while (
                await connection.fetchval(
                    "select (select count(*) from status_trigger) + (select count(*) from access_trigger)"
                )
                > 1
            ):
                await anyio.sleep(0.01)
        assert await connection.fetchval("select id from status_trigger") == "put off"

    @pytest.mark.parametrize("by", ["interval '1 day'", "interval '-1 day'"], ids=["forward", "back"])
    async def test_a_dead_node_is_called_dead_and_one_that_lives_alive(self, plain_core: Core, by: str) -> None:
        connection = await plain_core.connect()
        await plain_core.services.pulse.beat()
        await connection.execute(
            f"""
            update node set heard_at = heard_at - {by};
            insert into node (id, name, started_at, heard_at, reads_from, behind)
            values (gen_random_uuid(), 'dead', now(), now() - {by}, 'primary', 0)
            """
        )
        await plain_core.services.pulse.beat()
        nodes = await beats.read_nodes(connection, pulse.SILENT_SECONDS)
        assert [(node.is_heard, node.name == "dead") for node in nodes] == [(True, False), (False, True)]

    async def test_wrong_passwords_of_tomorrow_bar_nobody(self, plain_core: Core) -> None:
        connection = await plain_core.connect()
        await people.create(connection, "olga", PersonRole.OPERATOR, [], PASSWORD)
        for _ in range(people.FAILURES_OF_NAME_MAX):
            with pytest.raises(SignInRefusedError):
                await people.sign_in(connection, "olga", "wrong", "203.0.113.9")
        await connection.execute("update sign_in_failure set failed_at = failed_at + interval '1 day'")
        await people.sign_in(connection, "olga", PASSWORD, "203.0.113.9")

    @pytest.mark.parametrize(
        ("by", "is_signed_in"), [("1 day", True), ("-1 day", False)], ids=["was ahead", "is ahead"]
    )
    async def test_a_session_lasts_as_long_as_is_said(self, plain_core: Core, by: str, is_signed_in: bool) -> None:
        connection = await plain_core.connect()
        await people.create(connection, "olga", PersonRole.OPERATOR, [], PASSWORD)
        token = (await people.sign_in(connection, "olga", PASSWORD, "203.0.113.9")).token
        await connection.execute(
            f"update person_session set seen_at = seen_at + interval '{by}', begun_at = begun_at + interval '{by}'"
        )
        assert (await people.signed_in(connection, token) is not None) == is_signed_in
        await connection.execute("update person_session set begun_at = begun_at - interval '8 days'")
        assert await people.signed_in(connection, token) is None
