"""One task a feed: by its settings as they were pushed, again when it fails, none once the feed is gone."""

from collections.abc import Mapping
from datetime import UTC, datetime

import anyio
import pytest
import structlog

from homeroom_merge.refusal import RefusedError
from homeroom_merge.runners.keeping import InForce, Keeper
from homeroom_merge.sealing import Sealed
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.store.settings import Pushed

WHEN = datetime(2026, 11, 22, tzinfo=UTC)


def pushed(name: str, version: int = 1, key: bytes = b"sealed") -> InForce:
    text = as_toml("edfi", name, "A.9", ["S.91"], ["Student"])
    return InForce(read_settings(text), Pushed("default", version, text, "", WHEN, "me"), {"k": Sealed("1", key)})


class Work:
    """What is done for each feed: noted, until it is cancelled."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.going: set[str] = set()
        self.failures: list[Exception] = []

    async def __call__(self, settings: object) -> None:
        name = settings.feed.name  # type: ignore[attr-defined]  # of any settings
        self.begun.append(name)
        if self.failures:
            raise self.failures.pop()
        self.going.add(name)
        try:
            await anyio.sleep_forever()
        finally:
            self.going.discard(name)

    async def until(self, begun: int) -> None:
        with anyio.fail_after(10):
            while len(self.begun) < begun:
                await anyio.sleep(0.01)


async def test_each_feed_has_its_task_and_only_those_whose_settings_change_get_another() -> None:
    work = Work()
    keeper = Keeper(work)
    feeds: Mapping[str, InForce] = {"elk": pushed("elk"), "raven": pushed("raven")}
    keeper.keep(feeds)
    await work.until(2)
    keeper.keep(feeds)
    keeper.keep({**feeds, "raven": pushed("raven", 2)})
    await work.until(3)
    assert sorted(work.begun) == ["elk", "raven", "raven"]
    keeper.keep({"elk": pushed("elk", key=b"rotated")})
    await work.until(4)
    assert work.begun[-1] == "elk", "with its new secret"
    keeper.keep({"elk": pushed("elk", key=b"rotated")})
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    assert work.going == {"elk"}
    await keeper.close()
    assert work.going == set()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RefusedError("no key"), "no key"),
        (
            ExceptionGroup("two", [RefusedError("no key"), ExceptionGroup("one", [OSError("no file")])]),
            "no key; no file",
        ),
        (KeyError("ours"), "'ours'"),
    ],
)
async def test_one_that_fails_says_why_and_is_tried_again(failure: Exception, said: str) -> None:
    work = Work()
    work.failures.append(failure)
    keeper = Keeper(work, again_seconds=0.01)
    with structlog.testing.capture_logs() as logged:
        keeper.keep({"elk": pushed("elk")})
        await work.until(2)
    assert work.going == {"elk"}
    (entry,) = logged
    assert (entry["event"], entry["feed"], entry["because"]) == ("nobody_listens", "elk", said)
    assert entry["exc_info"] == isinstance(failure, KeyError), "a traceback for our own mistakes alone"
    await keeper.close()
