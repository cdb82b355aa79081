"""A disk that is full: said clearly, nothing broken, carried on when there is room."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from homeroom import Client, Replica, StorageFull
from homeroom.replica import SqliteStorage
from tests.scripted_core import ScriptedCore


@dataclass
class Disk:
    """A place with little room; `grow` makes some."""

    path: Path
    limit: Callable[[SqliteStorage], object]
    grow: Callable[[SqliteStorage], object]


def _mountable() -> bool:
    """Whether a file system of its own can be had here."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and _mount(Path("/mnt"), "size=1m")


def _mount(path: Path, options: str, *, unmount: bool = True) -> bool:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False)
    if done.returncode == 0 and unmount:
        subprocess.run(["umount", str(path)], check=True)
    return done.returncode == 0


def _pages(storage: SqliteStorage, pages: int) -> None:
    storage._file.db.execute(f"pragma max_page_count = {pages}")


@pytest.fixture(params=["pages", "tmpfs"] if _mountable() else ["pages"])
def disk(request: pytest.FixtureRequest, folder: Path) -> Iterator[Disk]:
    """SQLite says the same whether a file may not grow or its file system is full; both are tried where both can be."""
    path = folder / "r.db"
    if request.param == "pages":
        yield Disk(path, lambda storage: _pages(storage, 100), lambda storage: _pages(storage, 1_000_000))
        return
    _mount(folder, "size=1500k", unmount=False)
    remount = ["mount", "-o", "remount,size=64m", str(folder)]
    try:
        yield Disk(path, lambda storage: None, lambda storage: subprocess.run(remount, check=True))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as file:
        return bool(file.execute("pragma integrity_check").fetchone() == ("ok",))


def core_with(records: int) -> ScriptedCore:
    core = ScriptedCore()
    for number in range(records):
        core.write(f"n{number}", {"text": "x" * 500})
    return core


async def test_a_first_load_that_does_not_fit_goes_on_when_there_is_room(disk: Disk) -> None:
    core = core_with(6_000)
    storage = SqliteStorage(disk.path)
    disk.limit(storage)
    async with (
        Client("http://scripted", "key", transport=core) as client,
        Replica(storage, client, ["Note"], follow=False) as replica,
    ):
        for _ in range(2):
            with pytest.raises(StorageFull, match="the disk is full"):
                await replica.sync()
            assert whole(disk.path)
        disk.grow(storage)
        await replica.sync()
        assert dict(storage.live("Note")) == core.live("Note")
        assert not storage.damage("Note")


async def test_a_delta_that_does_not_fit_waits_and_says_why(disk: Disk) -> None:
    core = core_with(200)
    storage = SqliteStorage(disk.path)
    async with (
        Client("http://scripted", "key", transport=core) as client,
        Replica(storage, client, ["Note"]) as replica,
    ):
        with anyio.fail_after(10):
            await replica.in_step()
        disk.limit(storage)
        before = dict(storage.live("Note"))
        for number in range(4_000):
            core.write(f"n{number}", {"text": "y" * 500})
        with anyio.fail_after(20):
            while "the disk is full" not in replica.trouble:
                await anyio.sleep(0.02)
        assert whole(disk.path)
        held = await replica.get("Note", "n1")
        assert held is not None
        shown = dict(storage.live("Note"))
        assert before.keys() <= shown.keys(), "what was there is there"
        disk.grow(storage)
        with anyio.fail_after(40):
            while dict(storage.live("Note")) != core.live("Note") or replica.trouble:
                await anyio.sleep(0.05)
        assert not storage.damage("Note")
