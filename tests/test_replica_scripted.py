"""A replica against a scripted Core: epochs, revocations, horizons, caps, hot records, Cores that spin."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom import (
    Change,
    Client,
    FixRequest,
    MemoryStorage,
    Replica,
    RetryLater,
    StopCalling,
    StorageError,
    version_hash,
)
from homeroom.replica import Difference, Progress, SqliteStorage, Storage
from homeroom.replica.machine import Phase
from homeroom_server.conformance.client import answering
from homeroom_server.conformance.client.answering import answered
from tests.records import Json
from tests.scripted_core import ScriptedCore, problem


@dataclass
class Kept:
    """A scripted Core and a replica of it that syncs when told."""

    core: ScriptedCore
    storage: Storage
    replica: Replica

    async def sync(self) -> None:
        self.core.calls.clear()
        await self.replica.sync()

    async def changes(self) -> list[tuple[str, int, str]]:
        found: list[Change] = []
        while some := self.storage.changes("t", 100):
            found += some
            for change in some:
                self.storage.acknowledge("t", change)
        return [(change.id, change.version, change.kind) for change in found]

    def services(self) -> Counter[str]:
        return Counter(path.partition("/")[0] for path, _ in self.core.calls)

    def differences(self) -> list[Difference]:
        return list(self.storage.differences(100))

    def check(self, name: str = "Note") -> None:
        held, there = dict(self.storage.live(name)), self.core.live(name)
        assert held == there
        for record_id in held:
            record = self.storage.record(name, record_id)
            assert record is not None
            assert record.body == self.core.streams[name][record_id].body


@asynccontextmanager
async def kept(*types: str, records: int = 20) -> AsyncIterator[Kept]:
    """A replica that has loaded what the Core has."""
    core, storage = ScriptedCore(), MemoryStorage()
    for number in range(records):
        core.write(f"n{number:03}", {"n": number})
        core.write(f"n{number:03}", {"alerts": []}, name="NoteStatus")
    async with (
        Client("http://scripted", "key", transport=core) as client,
        Replica(storage, client, types or ["Note"], follow=False) as replica,
    ):
        found = Kept(core, storage, replica)
        await found.sync()
        await found.changes()
        yield found


async def test_a_record_that_is_revoked_is_dropped_and_said_so() -> None:
    async with kept() as k:
        version = k.core.write("n003", state="revoked")
        await k.sync()
        k.check()
        assert await k.replica.get("Note", "n003") is None
        ((record_id, dropped_at, kind),) = await k.changes()
        assert (record_id, kind) == ("n003", "dropped")
        assert dropped_at < version


async def test_a_status_takes_its_source_along_when_it_goes() -> None:
    async with kept("NoteStatus") as k:
        assert dict(k.storage.live("Note")) == k.core.live("Note")
        k.core.write("n003", state="revoked", name="NoteStatus")
        k.core.write("n003", state="revoked")
        await k.sync()
        k.check("NoteStatus")
        k.check("Note")
        assert sorted(await k.changes()) == [("n003", 7, "dropped"), ("n003", 8, "dropped")]


async def test_a_status_brings_its_source_only_when_that_is_newer() -> None:
    async with kept("NoteStatus") as k:
        k.core.write("n001", {"n": "again"}, name="NoteStatus")
        source = k.core.write("n002", {"n": "new"})
        k.core.write("n002", {"alerts": [1]}, name="NoteStatus")
        await k.sync()
        (get,) = [body for path, body in k.core.calls if path == "get/NoteStatus"]
        assert [(item["id"], item["knownSourceVersion"]) for item in get["records"]] == [("n001", 3), ("n002", 5)]
        assert k.storage.versions("Note", ["n002"]) == {"n002": source}
        assert sorted(change[0] for change in await k.changes()) == ["n001", "n002", "n002"]


async def test_a_new_epoch_in_which_nothing_was_lost_costs_one_hash() -> None:
    async with kept() as k:
        k.core.restore(k.core.streams)
        await k.sync()
        assert k.services() == {"hello": 1, "notification-types": 1, "is-data-available": 1}
        assert k.storage.state("Note").epoch == k.core.epoch
        assert k.storage.state("Note").cursor == k.core.counter
        assert await k.changes() == []


async def test_history_that_was_lost_is_lost_here_too() -> None:
    async with kept() as k:
        backup = k.core.copied()
        k.core.write("n001", {"n": "lost"})
        k.core.write("n002", state="deleted")
        k.core.write("new", {"n": "lost"})
        await k.sync()
        await k.changes()
        k.core.restore(backup)
        k.core.write("n005", {"n": "after"})
        await k.sync()
        k.check()
        assert k.storage.state("Note").epoch == k.core.epoch
        causes = {(d.id, d.cause) for d in k.differences()}
        assert causes == {("n001", "other epoch"), ("n002", "other epoch"), ("new", "access lost")}


async def test_a_core_that_never_gave_out_the_cursor_is_followed_from_its_beginning() -> None:
    async with kept() as k:
        k.core.streams["Note"].clear()
        k.core.counter, k.core.epoch = 3, "a database of yesterday"
        k.core.watermarks = {"Note": 0, "NoteStatus": 0}
        version = k.core.write("n001", {"n": "then"})
        await k.sync()
        k.check()
        assert k.storage.state("Note").cursor == version


async def test_what_was_tampered_with_is_found_by_the_hash_and_mended() -> None:
    async with kept() as k:
        memory = k.storage
        assert isinstance(memory, MemoryStorage)
        rows = memory._types["Note"].rows  # the only hands that reach into memory are a test's
        del rows["n003"]
        rows["n004"] = rows["n004"]._replace(version=1)
        rows["n005"] = rows["n005"]._replace(version=999)
        rows["made-up"] = rows["n006"]._replace(id="made-up")
        await k.sync()
        k.check()
        assert {d.id for d in k.differences()} == {"n003", "n004", "n005", "made-up"}


@pytest.mark.parametrize("listed_max", [3, 7, 1000])
async def test_repairs_are_the_same_however_short_lists_are_cut(listed_max: int) -> None:
    async with kept(records=50) as k:
        k.core.listed_max = listed_max
        memory = k.storage
        assert isinstance(memory, MemoryStorage)
        for number in range(0, 50, 9):
            del memory._types["Note"].rows[f"n{number:03}"]
        k.core.watermarks["Note"] = k.core.counter
        await k.sync()
        k.check()
        reached = {body["maxCoreVersion"] for path, body in k.core.calls if path == "reconcile/Note"}
        assert reached == ({k.core.counter} if listed_max < 50 else set()), "no node compares that has seen less"


async def test_a_reconciliation_without_end_gives_way_to_the_full_list() -> None:
    async with kept(records=50) as k:
        k.core.listed_max = 20
        memory = k.storage
        assert isinstance(memory, MemoryStorage)
        del memory._types["Note"].rows["n033"]

        def never_ends(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
            if not path.startswith("reconcile"):
                return None
            ranges = [
                {"from": r["from"], "to": r["to"], "result": "split", "ranges": [r | {"count": 0}]}
                for r in body["ranges"]
            ]
            return core.respond(answered({"ranges": ranges}))

        k.core.before = never_ends
        await k.sync()
        k.check()
        assert [d.id for d in k.differences()] == ["n033"]


async def test_a_cursor_below_the_horizon_gets_the_list_and_loses_nothing() -> None:
    async with kept() as k:
        k.core.write("n001", state="deleted")
        del k.core.streams["Note"]["n001"]
        k.core.write("n002", {"n": "newer"})
        k.core.horizon = k.core.counter
        await k.sync()
        k.check()
        assert k.storage.state("Note").cursor == k.core.counter


async def test_a_cut_delta_goes_on_where_it_was_cut() -> None:
    async with kept() as k:
        k.core.listed_max = 4
        for number in range(15):
            k.core.write(f"n{number:03}", {"n": "new"})
        await k.sync()
        k.check()
        assert len(await k.changes()) == 15


async def test_a_record_that_moves_all_the_time_is_taken_as_it_is_after_three_stops() -> None:
    async with kept() as k:
        k.core.write("n001", {"n": "hot"})
        stops = 0

        def moves(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
            nonlocal stops
            if path == "get/Note" and body["records"][0].get("expectedVersion"):
                stops += 1
                core.write("n001", {"n": f"hot {stops}"})
            return None

        k.core.before = moves
        await k.sync()
        k.check()
        assert stops == 3
        versions = [version for _, version, _ in await k.changes()]
        assert versions == sorted(versions)


async def test_a_record_that_is_taken_as_it_is_is_not_taken_from_a_node_that_is_behind() -> None:
    async with kept() as k:
        behind = k.core.write("n001", {"n": "hot"})
        rows = dict(k.core.streams["Note"])
        asked: list[int] = []

        def moves(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
            if path != "get/Note":
                return None
            asked.append(body["records"][0]["expectedVersion"])
            if asked[-1]:
                core.write("n001", {"n": "hot"})
            elif asked.count(0) <= 2:  # two nodes are behind: one has an older version, one has never heard of it
                here, core.streams["Note"] = core.streams["Note"], rows if asked.count(0) == 1 else {}
                answer = core.respond(answering.get(core, "Note", body["records"]))
                core.streams["Note"] = here
                return answer
            return None

        k.core.before = moves
        for _ in range(2):
            with pytest.raises(RetryLater, match="has not seen yet"):
                await k.sync()
            assert k.storage.state("Note").cursor < behind
        await k.sync()
        k.check()
        assert asked.count(0) == 3


async def test_a_source_that_a_new_history_took_back_is_replaced_though_its_status_lives_on() -> None:
    async with kept("NoteStatus") as k:
        lives_on = k.core.copied()
        status = k.core.streams["NoteStatus"]["n005"]
        k.core.write("n005", {"n": "lost"})
        k.core.write("n005", {"alerts": []}, name="NoteStatus")
        before = k.core.streams["NoteStatus"]["n005"]
        k.core.streams["NoteStatus"]["n005"] = replace(before, source_version=status.source_version)
        await k.sync()
        k.check("Note")
        lives_on["NoteStatus"] = dict(k.core.streams["NoteStatus"])
        k.core.restore(lives_on)
        await k.sync()
        k.check("NoteStatus")
        k.check("Note")


async def test_that_a_history_has_ended_is_not_forgotten_while_a_replica_is_closed(tmp_path: Path) -> None:
    core, path = ScriptedCore(), tmp_path / "r.db"
    core.write("a", {"n": 1})
    core.write("a", {"alerts": []}, name="NoteStatus")
    lives_on = core.copied()
    core.write("a", {"n": "lost"})
    beyond = [problem(409, 2003, "resync", "another history"), httpx.Response(503)]
    async with Client("http://scripted", "key", transport=core) as client:

        async def sync() -> None:
            async with Replica(path, client, ["NoteStatus"], follow=False) as replica:
                await replica.sync()
                held = await replica.get("Note", "a")
                assert held is not None
                assert held.body == core.streams["Note"]["a"].body

        await sync()
        core.restore(lives_on)
        core.before = lambda core, path, body: beyond.pop(0) if beyond and path == "is-data-available" else None
        with pytest.raises(RetryLater):
            await sync()
        await sync()


async def test_a_hash_that_was_held_over_a_change_of_history_proves_nothing() -> None:
    async with kept() as k:
        held = anyio.Event()
        proved_wrongly: list[str] = []

        def restored_meanwhile(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
            if path == "is-data-available" and body["waitSeconds"] and not held.is_set():
                held.set()
                del core.streams["Note"]["n003"]
                core.restore(core.streams)
                return core.respond(
                    answered({"types": [answering.look(core, {**body["types"][0], "versionHash": core_hash(core)})]})
                )
            return None

        def look(progress: Progress) -> None:
            if not progress.state.in_doubt and dict(k.storage.live("Note")) != k.core.live("Note"):
                proved_wrongly.append(progress.what)

        k.core.before = restored_meanwhile
        with anyio.fail_after(10):
            async with (
                Client("http://scripted", "key", transport=k.core) as client,
                Replica(k.storage, client, ["Note"], wait_seconds=1, progress=look) as replica,
            ):
                await held.wait()
                while dict(k.storage.live("Note")) != k.core.live("Note"):
                    await anyio.lowlevel.checkpoint()
                await replica.in_step()
        assert proved_wrongly == []


def core_hash(core: ScriptedCore) -> str:
    return version_hash(core.live("Note").values())


async def test_what_a_page_brought_before_a_stop_is_kept() -> None:
    async with kept() as k:
        first, second, third = (k.core.write(f"n00{n}", {"n": "new"}) for n in (1, 2, 3))
        cursors: list[int] = []

        def moves(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
            if path == "is-data-available":
                cursors.append(body["types"][0]["maxCoreVersion"])
            if path == "get/Note" and len(body["records"]) == 3:
                core.write("n002", {"n": "newest"})
            return None

        k.core.before = moves
        await k.sync()
        k.check()
        assert first in cursors, "the question after the stop goes on from the last record before it"
        assert [change[:2] for change in await k.changes()] == [("n001", first), ("n003", third), ("n002", third + 1)]
        assert second not in {version for _, version, _ in await k.changes()}


async def test_a_first_load_of_another_history_begins_anew() -> None:
    core, storage = ScriptedCore(), MemoryStorage()
    for number in range(9):
        core.write(f"n{number}", {"n": number})
    whole = answering.snapshot(core, "Note", 0, None)
    cut = b"".join(line + b"\n" for line in whole.content.splitlines()[:5])

    def cuts(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
        if path == "snapshot/Note" and "until" not in body and core.epoch == "one":
            return httpx.Response(200, content=cut)
        return None

    core.before = cuts
    async with (
        Client("http://scripted", "key", transport=core) as client,
        Replica(storage, client, ["Note"], follow=False) as replica,
    ):
        with pytest.raises(RetryLater):
            await replica.sync()
        assert (storage.state("Note").phase, storage.state("Note").cursor) == (Phase.LOADING, 4)
        core.streams["Note"].pop("n1")
        core.restore(core.streams)
        await replica.sync()
        assert dict(storage.live("Note")) == core.live("Note")


async def test_a_core_that_always_answers_at_once_is_not_hammered() -> None:
    core = ScriptedCore()
    core.write("a", {})

    def spins(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
        if path != "is-data-available":
            return None
        (asked,) = body["types"]
        entry = {"notificationType": "Note", "reason": "newer", "complete": True, "records": []}
        return core.respond(answered({"types": [entry | {"maxCoreVersion": asked["maxCoreVersion"]}]}))

    core.before = spins
    async with Client("http://scripted", "key", transport=core) as client:
        async with Replica(MemoryStorage(), client, ["Note"]) as replica:
            with anyio.fail_after(10):
                while "again and again" not in replica.trouble:
                    await anyio.sleep(0.01)
            await anyio.sleep(1)
        assert len(core.calls) < 30


async def test_a_proxy_that_gives_up_teaches_how_long_to_wait_and_costs_no_change() -> None:
    core, waits = ScriptedCore(), []
    core.write("a", {})

    class Proxy(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with anyio.move_on_after(2.2) as patience:
                answer = await core.handle_async_request(request)
                if request.url.path.endswith("available") and core.calls[-1][1]["waitSeconds"]:
                    waits.append(core.calls[-1][1]["waitSeconds"])
            if patience.cancelled_caught:
                waits.append(core.calls[-1][1]["waitSeconds"])
                return httpx.Response(504, content=b"<html>gateway time-out</html>")
            return answer

    async with (
        Client("http://scripted", "key", transport=Proxy()) as client,
        Replica(MemoryStorage(), client, ["Note"]) as replica,
    ):
        await replica.in_step()
        with anyio.fail_after(15):
            while len(waits) < 3:
                await anyio.sleep(0.1)
        version = core.write("b", {})
        with anyio.fail_after(5):
            async for change in replica.changes():
                if change.version == version:
                    break
    assert waits[0] == 50
    assert set(waits[1:]) == {1}


async def test_retry_after_is_obeyed_and_no_longer_than_needed() -> None:
    core, times = ScriptedCore(), []

    def busy(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
        times.append(anyio.current_time())
        return problem(503, 2001, "retry", "draining", retry_after=1) if len(times) < 3 else None

    core.before = busy
    async with Client("http://scripted", "key", transport=core, retry_seconds=10) as client:
        await client.hello()
    assert all(0.99 <= later - before <= 3 for before, later in pairwise(times))
    core.before = lambda core, path, body: problem(503, 2001, "retry", "draining", retry_after=60)
    async with Client("http://scripted", "key", transport=core, retry_seconds=1) as client:
        with anyio.fail_after(1), pytest.raises(RetryLater, match="draining"):
            await client.hello()


async def test_a_key_that_is_refused_ends_the_loop_and_says_so() -> None:
    core = ScriptedCore(before=lambda core, path, body: problem(401, 1001, "stop", "no such key"))
    async with (
        Client("http://scripted", "key", transport=core) as client,
        Replica(MemoryStorage(), client, ["Note"]) as replica,
    ):
        with anyio.fail_after(5), pytest.raises(StopCalling):
            await replica.in_step()
        with anyio.fail_after(5), pytest.raises(StopCalling):
            async for _ in replica.changes():
                pass


async def test_types_that_are_not_in_the_catalogue_are_all_named() -> None:
    async with (
        Client("http://scripted", "key", transport=ScriptedCore()) as client,
        Replica(MemoryStorage(), client, ["Nope", "Note.2027", "no type!"], follow=False) as replica,
    ):
        with pytest.raises(FixRequest) as failure:
            await replica.sync()
    assert all(name in failure.value.detail for name in ("Nope", "Note.2027", "no type!"))


async def test_a_type_that_is_refused_does_not_stop_the_others() -> None:
    def refuses(core: ScriptedCore, path: str, body: Json) -> httpx.Response | None:
        if path == "is-data-available":
            places = [n for n, entry in enumerate(body["types"]) if entry["notificationType"] == "NoteStatus"]
            faults = [{"pointer": f"/types/{n}/notificationType", "detail": "gone"} for n in places]
            return problem(400, 3005, "fix", "unknown", faults) if places else None
        return None

    async with kept("Note", "NoteStatus") as k:
        k.core.before = refuses
        k.core.write("n001", {"n": "new"})
        with pytest.raises(FixRequest, match="NoteStatus"):
            await k.sync()
        k.check("Note")


async def test_a_type_whose_records_cannot_be_fetched_does_not_keep_others_waiting() -> None:
    async with kept("Note", "NoteStatus") as k:
        k.core.before = lambda core, path, body: httpx.Response(503) if path == "get/Note" else None
        k.core.write("n001", {"n": "new"})
        version = k.core.write("n001", {"alerts": [1]}, name="NoteStatus")
        with pytest.raises(RetryLater):
            await k.sync()
        assert k.storage.versions("NoteStatus", ["n001"]) == {"n001": version}


async def test_a_file_stays_with_its_organization(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    storage = SqliteStorage(path)
    storage.setting("organization", "S.0990")
    storage.close()
    async with (
        Client("http://scripted", "key", transport=ScriptedCore()) as client,
        Replica(path, client, ["Note"], follow=False) as replica,
    ):
        with pytest.raises(StorageError, match=r"S\.0990"):
            await replica.sync()


async def test_without_a_core_a_replica_opens_with_what_it_has(tmp_path: Path) -> None:
    core, path = ScriptedCore(), tmp_path / "r.db"
    core.write("a", {"n": 1})
    async with Client("http://scripted", "key", transport=core) as client:
        async with Replica(path, client, ["Note"], follow=False) as replica:
            await replica.sync()
        core.before = lambda core, path, body: httpx.Response(502)
        async with Replica(path, client, ["note"]) as replica:
            held = await replica.get("Note", "a")
            assert held is not None
            with anyio.fail_after(10):
                while not replica.trouble:
                    await anyio.sleep(0.02)
            core.before = lambda core, path, body: None
            core.write("b", {"n": 2})
            with anyio.fail_after(30):
                while await replica.get("Note", "b") is None:
                    await anyio.sleep(0.02)


SCRIPTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("revoke"), st.integers(0, 9)),
        st.tuples(st.just("backup"), st.just(0)),
        st.tuples(st.just("restore"), st.just(0)),
        st.tuples(st.just("fail"), st.integers(1, 6)),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("cap"), st.integers(1, 5)),
        st.tuples(st.just("horizon"), st.just(0)),
    ),
    max_size=30,
)


@given(SCRIPTS)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_a_sync_that_succeeds_leaves_what_the_core_has(script: list[tuple[str, int]]) -> None:
    anyio.run(_play, script)


def fails_at(call: int) -> Callable[[ScriptedCore, str, Json], httpx.Response | None]:
    """One call, counted from now, fails."""
    left = count(-call + 1)
    return lambda core, path, body: httpx.Response(503) if next(left) == 0 else None


async def _play(script: list[tuple[str, int]]) -> None:  # noqa: C901 - one case a word of the script
    async with kept("Note", "NoteStatus", records=5) as k:
        backup = k.core.copied()
        for what, number in script:
            record_id = f"n{number:03}"
            match what:
                case "write":
                    k.core.write(record_id, {"n": k.core.counter})
                    k.core.write(record_id, {"alerts": [k.core.counter]}, name="NoteStatus")
                case "delete" | "revoke":
                    if record_id in k.core.live("Note"):
                        state = "deleted" if what == "delete" else "revoked"
                        k.core.write(record_id, state=state)
                        k.core.write(record_id, state=state, name="NoteStatus")
                case "backup":
                    backup = k.core.copied()
                case "restore":
                    k.core.restore(backup)
                case "cap":
                    k.core.listed_max = number
                case "horizon":
                    for rows in k.core.streams.values():
                        for gone in [i for i, row in rows.items() if row.state != "live"]:
                            del rows[gone]
                    k.core.horizon = k.core.counter
                case "fail":
                    k.core.before = fails_at(number)
                    with anyio.move_on_after(5), suppress(RetryLater):
                        await k.sync()
                    k.core.before = lambda core, path, body: None
                case "sync":
                    await k.sync()
                    k.check("Note")
                    k.check("NoteStatus")
        await k.sync()
        for name in ("Note", "NoteStatus"):
            k.check(name)
            assert k.storage.version_hash(name) == version_hash(k.core.live(name).values())
