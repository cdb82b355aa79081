"""What a fetch asks the hub for: what is not known yet, and nothing that was written by the run before."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from homeroom_merge.connectors.hub import Hub, HubSeen
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.merge.pupils import TABLE, File, School, opened_school, pupil


@dataclass
class Night:
    """A school, its file, and the ids that were asked for."""

    school: School
    file: File
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def night(
    database_of_test: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Night]:
    """Two pupils that were brought to the hub."""
    file = File(tmp_path / "sis.sqlite")
    sis = SqlDatabase(file.url, {"Student": TABLE})
    async with opened_school(database_of_test, settings, sis) as school:
        night = Night(school, file)
        look = Hub.look

        async def looked(
            hub: Hub, notification_type: str, ids: Sequence[str], *known: Mapping[str, int]
        ) -> list[HubSeen]:
            night.asked += ids
            return await look(hub, notification_type, ids, *known)

        monkeypatch.setattr(Hub, "look", looked)
        for key in ("r1", "r2"):
            file.put(key, first="Ada", last="Bear")
        await school.merge()
        night.asked.clear()
        yield night


async def test_what_was_written_is_not_asked_for_again(night: Night) -> None:
    night.file.put("r1", first="Eve")
    assert (await night.school.merge()).status == "success"
    await night.school.merge()
    assert night.asked == []
    await night.school.say("r2", pupil("Una"))
    await night.school.merge()
    assert night.asked == ["r2"]
    assert night.file.bodies()["r2"] == pupil("Una")


async def test_versions_of_a_history_that_was_lost_do_not_count(night: Night) -> None:
    """A Core that was restored from a backup numbers on from lower versions."""
    connection = await night.school.core.connect()
    await night.school.own.execute("update record set hub_version = hub_version + 1000")
    await operations.begin_history(connection, "restored")
    night.file.put("r1", first="Eve")
    assert (await night.school.merge()).status == "success"
    assert (await night.school.hub())["r1"] == pupil("Eve")


async def test_what_was_written_to_an_empty_hub_is_not_asked_for_either(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fetch before it ended at version 0, which is a place to go on from as any other."""
    monkeypatch.delattr(Hub, "_snapshot")
    assert (await night.school.merge()).status == "success"
    assert night.asked == []
