"""A replica on a real Core: what it holds is what the Core has, whatever happens on the way."""

from pathlib import Path

import anyio

from homeroom import Change, Replica
from tests.conftest import Core
from tests.records import accepted, note


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
