"""Bad feeds, night after night: nothing is deleted that nobody asked for, and the report says where and what to do."""

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from homeroom_server.settings import Settings
from tests.merge.exports import COUNT, EXPORTS, Export, Teacher, teachers
from tests.merge.nights import Feed, opened_feed

NIGHTS = 3
"""Absence counts after two."""
GOOD = teachers()
ALL = "HOMEROOM_EVERYTHING" in os.environ


@dataclass(frozen=True)
class Mishap:
    """What a feed looks like then, the status of each night, and what the report says."""

    content: Callable[[Export], bytes]
    status: str
    said: str
    there: list[Teacher] | None = None
    school: str = "91"
    xml: bool = True
    """Whether it can befall a file of XML as well."""


def spoilt(change: Callable[[str], str]) -> Callable[[Export], bytes]:
    """The good file, changed as text."""
    return lambda export: change(export.text(GOOD).replace("#school#", "91")).encode()


def renamed(name: Callable[[Export], str], to: str) -> Callable[[Export], bytes]:
    return lambda export: spoilt(lambda text: text.replace(name(export), to))(export)


def without(of: Callable[[Teacher], Teacher]) -> Callable[[Export], bytes]:
    """One teacher is otherwise, and another has moved on as people do."""
    moved = [replace(one, last="Wolf") if one.id == "t7" else of(one) if one.id == "t4" else one for one in GOOD]
    return lambda export: export.text(moved).replace("#school#", "91").encode()


MISHAPS = {
    "empty": Mishap(lambda export: (export.head + export.tail).encode(), "noData", ""),
    "nothing at all": Mishap(lambda export: b"", "failed", "it is empty|the export was cut"),
    "cut in a row": Mishap(spoilt(lambda text: re.split("(?<=t)-?5", text)[0]), "failed", "the export was cut"),
    "cut in the last cell": Mishap(
        lambda export: export.text(GOOD).replace("#school#", "91").encode()[:-2],
        "finishedWithIssues",
        "may have been cut",
        xml=False,
    ),
    "cut in a quoted cell": Mishap(
        spoilt(lambda text: text[: text.index("t5") + 2] + ',"Ada'), "failed", "within a quoted cell", xml=False
    ),
    "a NUL": Mishap(without(lambda one: replace(one, user="a\0a")), "finishedWithIssues", "NUL", xml=False),
    "a bad row": Mishap(without(lambda one: replace(one, first="")), "finishedWithIssues", "firstName"),
    "a row without a key": Mishap(
        without(lambda one: replace(one, id="", number="")), "finishedWithIssues", "which record|its key"
    ),
    "a wrong encoding": Mishap(
        lambda export: spoilt(lambda text: text.replace("Ada", "Zoë", 2))(export).replace("Zoë".encode(), b"Zo\xeb", 1),
        "failed",
        "as UTF-8",
    ),
    "two bytes a character": Mishap(
        lambda export: export.text(GOOD).replace("#school#", "91").replace("UTF-8", "UTF-16").encode("utf-16"),
        "success",
        "read as UTF-16",
    ),
    "an older encoding": Mishap(
        lambda export: (
            export.text([replace(one, user="Zoë-Renée Müller") for one in GOOD[:1]] + GOOD[1:])
            .replace("#school#", "91")
            .replace("UTF-8", "windows-1252")
            .encode("cp1252")
        ),
        "success",
        "read as ",
    ),
    "a renamed column": Mishap(renamed(lambda export: export.user, "Login"), "held", "is missing"),
    "a renamed needed column": Mishap(renamed(lambda export: export.name, "First"), "held", "is missing"),
    "doubled ids": Mishap(
        lambda export: export.text([*GOOD, replace(GOOD[3], last="Fox")]).replace("#school#", "91").encode(),
        "finishedWithIssues",
        "its key is also that of",
    ),
    "all-new ids": Mishap(
        lambda export: export.text(teachers("x")).replace("#school#", "91").encode(),
        "held",
        "creates, which a change of ids looks like",
        teachers("x"),
    ),
    "another school": Mishap(
        lambda export: export.text(teachers("y")).replace("#school#", "92").encode(),
        "held",
        "creates",
        teachers("y"),
        "92",
    ),
}


def _tried() -> Iterator[tuple[str, str]]:
    """Each mishap in one of the formats, which take turns; in all of them where HOMEROOM_EVERYTHING is set."""
    for place, (name, mishap) in enumerate(MISHAPS.items()):
        formats = [each for each, export in EXPORTS.items() if mishap.xml or not export.is_xml]
        yield from ((each, name) for each in (formats if ALL else [formats[place % len(formats)]]))


@pytest.fixture(params=EXPORTS)
async def feed(
    request: pytest.FixtureRequest, database_of_test: str, settings: Settings, tmp_path: Path
) -> AsyncIterator[Feed]:
    """A feed of this format whose first export was merged and approved."""
    export = EXPORTS[request.param]
    async with opened_feed(database_of_test, settings, tmp_path, export) as feed:
        export.put(tmp_path, GOOD)
        assert (await feed.night())["status"] == "held"
        approved = await feed.report("approve", "--by", "me")
        assert (approved["status"], approved["summary"]["writes"]) == ("success", {"hub create done": COUNT})
        yield feed


@pytest.mark.parametrize(("feed", "name"), list(_tried()), indirect=["feed"])
@pytest.mark.timeout(120)
async def test_a_bad_feed_deletes_nothing_and_says_what_to_do(feed: Feed, name: str) -> None:
    mishap, before = MISHAPS[name], await feed.hub()
    for _ in range(NIGHTS):
        feed.export.put(feed.folder, mishap.there or GOOD, mishap.content(feed.export), mishap.school)
        report = await feed.night()
        told = await feed.told(report)
        assert report["status"] == mishap.status, told
        assert any(each in told for each in mishap.said.split("|")), told
        assert set(await feed.hub()) == set(before), "nobody is gone, nobody has come"
        assert all(body["firstName"] == "Ada" for body in (await feed.hub()).values())
    feed.export.put(feed.folder, GOOD)
    healed = await feed.night()
    assert healed["status"] == "success", healed
    assert await feed.hub() == before, "as if nothing had been"
    assert (await feed.night())["summary"]["writes"] == {}


@pytest.mark.timeout(120)
async def test_an_empty_feed_that_is_allowed_is_believed_and_its_deletes_are_held(feed: Feed) -> None:
    allowed, before = ("--set", "entity.Staff.allow_empty=true"), await feed.hub()
    feed.export.put(feed.folder, GOOD, MISHAPS["empty"].content(feed.export))
    assert [(await feed.night(*allowed))["status"] for _ in range(NIGHTS)] == ["success", "held", "held"]
    feed.export.put(feed.folder, GOOD, MISHAPS["cut in a row"].content(feed.export))
    assert (await feed.night(*allowed))["status"] == "failed", "a feed that was cut is not an empty one"
    assert await feed.hub() == before
    feed.export.put(feed.folder, GOOD)
    assert (await feed.night())["status"] == "success"
    assert await feed.hub() == before


@pytest.mark.parametrize("feed", ["oneroster"], indirect=True)
async def test_a_file_that_the_manifest_promises_and_is_not_there_fails_the_feed(feed: Feed) -> None:
    before = await feed.hub()
    (feed.folder / "roles.csv").unlink()
    for _ in range(NIGHTS):
        report = await feed.night()
        assert report["status"] == "failed"
        assert "manifest.csv promises roles.csv and it is not there; export all files again" in repr(report["steps"])
    assert await feed.hub() == before


@pytest.mark.parametrize("feed", ["oneroster", "sds"], indirect=True)
async def test_a_role_of_nobody_deletes_nobody(feed: Feed) -> None:
    before, path = await feed.hub(), feed.folder / "roles.csv"
    path.write_text(path.read_text().replace("t4,", ",").replace("r-,", "r-t4,"))
    for _ in range(NIGHTS):
        report = await feed.night()
        assert any("roles row 6: its userSourcedId is empty" in note for note in report["notes"]), report["notes"]
        assert await feed.hub() == before
