"""A replica on a real Core: what it holds is what the Core has, whatever happens on the way."""

import os
import re
import sys
from pathlib import Path

import anyio
import pytest

from homeroom import Change, Client, Replica, StorageInUse
from tests.conftest import PROVINCE, Core
from tests.processes import prepare_node, running_node
from tests.records import accepted, note, record


async def take(replica: Replica, count: int, consumer: str = "default") -> list[Change]:
    """The next changes, all acknowledged but the last."""
    found: list[Change] = []
    with anyio.fail_after(20):
        async for change in replica.changes(consumer):
            found.append(change)
            if len(found) == count:
                break
    return found


async def test_a_replica_loads_and_follows(plain_core: Core, tmp_path: Path) -> None:
    school = await plain_core.client("S.0982")
    await accepted(school, "Note", *(note(f"n{i}", "old") for i in range(100)))
    async with Replica(tmp_path / "r.db", school, ["note", "Bulletin"]) as replica:
        with anyio.fail_after(10):
            await replica.in_step()
        assert len(await take(replica, 100)) == 100
        held = await replica.get("Note", "n7")
        assert held is not None
        (version,) = await accepted(school, "Note", note("n7", "new", held.version))
        *_, change = await take(replica, 2)
        assert (change.id, change.version, change.old, change.new) == ("n7", version, {"text": "old"}, {"text": "new"})


async def test_two_loops_on_one_file_are_refused(plain_core: Core, tmp_path: Path) -> None:
    school = await plain_core.client("S.0982")
    async with Replica(tmp_path / "r.db", school, ["Note"], follow=False):
        with pytest.raises(StorageInUse):
            async with Replica(tmp_path / "r.db", school, ["Note"], follow=False):
                pass
    async with Replica(tmp_path / "r.db", school, ["Note"], follow=False) as replica:
        await replica.sync()


async def test_each_organization_keeps_just_what_it_may_see(plain_core: Core, tmp_path: Path) -> None:
    for code in ("S.0982", "S.0983", "S.0990"):
        await accepted(await plain_core.client(code), "Note", note(f"of.{code}"))
    for code, expected in [("S.0982", 1), ("A.3020", 2), ("O.1", 3)]:
        async with Replica(tmp_path / f"{code}.db", await plain_core.client(code), ["Note"], follow=False) as replica:
            await replica.sync()
            assert (await replica.status())[0].live == expected


async def test_a_status_alone_keeps_what_it_speaks_of(plain_core: Core, tmp_path: Path) -> None:
    school = await plain_core.client("S.0982")
    async with Replica(tmp_path / "r.db", school, ["notestatus"]) as replica:
        (version,) = await accepted(school, "Note", note("a", "first"))
        found = {change.type: change for change in await take(replica, 2)}
        assert found["Note"].version == version
        assert found["NoteStatus"].new == {"alerts": []}
        await accepted(school, "Note", record("a", None, version, deleted=True))
        kinds = {(change.type, change.kind) for change in (await take(replica, 3))[1:]}
        assert kinds == {("Note", "deleted"), ("NoteStatus", "deleted")}
        assert await replica.get("Note", "a") is None


async def test_writes_made_without_a_core_are_sent_when_it_is_back(plain_core: Core, tmp_path: Path) -> None:
    school, path = await plain_core.client("S.0982"), tmp_path / "r.db"
    (version,) = await accepted(school, "Note", note("a", "first"))
    async with Replica(path, school, ["Note"], follow=False) as replica:
        await replica.sync()
    async with (
        Client("http://127.0.0.1:1", "key") as nowhere,
        Replica(path, nowhere, ["Note"], follow=False) as replica,
    ):
        for text in ("second", "third"):
            await replica.submit("note", "a", {"text": text})
        await replica.submit("Note", "b", {"text": "new"})
        assert await replica.waiting() == 3
    (elsewhere,) = await accepted(school, "Note", note("b", "somebody was faster"))
    async with Replica(path, school, ["Note"]) as replica:
        with anyio.fail_after(10):
            while await replica.waiting() or not await replica.get("Note", "b"):
                await anyio.sleep(0.01)
        (lost,) = await replica.rejected()
        assert (lost.rejections[0]["code"], lost.write.body) == (3004, {"text": "new"})
        assert lost.held is not None
        assert (lost.held.version, lost.held.body) == (elsewhere, {"text": "somebody was faster"})
        await replica.resubmit(lost.write.number, {"text": "merged"})
        with anyio.fail_after(10):
            while (held := await replica.get("Note", "b")) is None or held.body != {"text": "merged"}:
                await anyio.sleep(0.01)
        assert await replica.rejected() == []
        kept = await replica.get("Note", "a")
        assert kept is not None
        assert kept.body == {"text": "third"}
        assert kept.version > version


async def test_one_write_that_cannot_be_read_does_not_take_others_along(plain_core: Core, tmp_path: Path) -> None:
    school = await plain_core.client("S.0982")
    async with Replica(tmp_path / "r.db", school, ["Note"], follow=False) as replica:
        for record_id in ("good", "not an id!", "fine"):
            await replica.submit("Note", record_id, {"text": ""})
        await replica.submit("Nothing", "x", {})
        await replica.sync()
        assert {i for i in ("good", "fine") if await replica.get("Note", i)} == {"good", "fine"}
        assert [(r.write.id, r.rejections[0]["code"]) for r in await replica.rejected()] == [
            ("not an id!", 3001),
            ("x", 3005),
        ]
        with pytest.raises(ValueError, match="neither the form"):
            await replica.submit("no type!", "x", {})


async def test_the_quickstart_works_as_it_is_printed(folder: Path) -> None:
    text = (Path(__file__).parent.parent / "client_sdk" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    async with running_node(prepare_node(folder, PROVINCE, "--catalogue", "alberta")) as node:
        program = code[1].replace("http://127.0.0.1:8080", node.url).replace("hr_…", node.key).replace("S.0982", "O.1")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", program]
        async with await anyio.open_process(command, cwd=folder, env=environment, stderr=None) as process:
            async with node.client() as client:
                school = record("0982", {"names": [{"name": "Maple Ridge"}]}, organization="S.0982")
                await accepted(client, "School", school)
            assert process.stdout is not None
            line = b""
            with anyio.fail_after(20):
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive()
            process.kill()
        assert line.decode().startswith("School 0982 changed {'names': [{'name': 'Maple Ridge'}]")
