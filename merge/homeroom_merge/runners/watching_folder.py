"""The folder into which a SIS drops its files: once they have come to rest and are all there, they are run.

A folder cannot be read by id, and a file says what there is, not what has changed. So a full run of the entities whose
files have other content than before is asked for, never a drain. What was asked for is kept in the state: files that
come while nobody watches are noticed afterwards.
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

import anyio
import asyncpg
import structlog
from anyio import to_thread
from watchfiles import awatch

from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_manifest import MANIFEST, read_manifest
from homeroom_merge.connectors.csv_sheet import SheetFault
from homeroom_merge.connectors.csv_tables import Source
from homeroom_merge.runners.settling import Settling, Stamps
from homeroom_merge.settings.model import Settings
from homeroom_merge.sources.choosing import folder_of
from homeroom_merge.store import watched_files
from homeroom_merge.store.watched_files import File

log = structlog.get_logger()

DeferRun = Callable[[str, Sequence[str]], Awaitable[None]]
"""Asks for a run of these entities of a feed, now."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Files are at rest once they have not changed for `quiet_seconds`.

    `poll_seconds`: how often a folder is looked at that tells of nothing, as network drives do not.
    """

    quiet_seconds: float = 10.0
    poll_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files count, and which entities are read from each. `csv`: None where files go by any name."""

    folder: Path
    entities: Sequence[str]
    csv: CsvFolder | None

    def stamps(self) -> Stamps:
        """Of the files that count, by name. Raises OSError."""
        stamps = {}
        for path in self.folder.iterdir():
            if self._counts(path.name.casefold()):
                status = path.stat()
                stamps[path.name] = f"{status.st_size} {status.st_mtime_ns}"
        return stamps

    def readable(self, names: Collection[str]) -> frozenset[str] | None:
        """Of the files that are there, those that may be read, in small letters; None while a promised one is missing.

        Raises OSError.
        """
        there = frozenset(name.casefold() for name in names)
        if self.csv is None or not self.csv.file_set.manifest:
            return there
        try:
            modes, _ = read_manifest(self.folder, self.csv.encoding)
        except SheetFault:  # not there, or not all of it
            return None
        promised = frozenset(_name(file) for file, mode in modes.items() if mode != "absent")
        return None if any(self._counts(file) for file in promised - there) else promised & there

    def concerned(self, changed: Collection[str], readable: Collection[str]) -> list[str]:
        """The entities that are read from files that changed, and can be read."""
        if self.csv is None:
            return list(self.entities) if changed else []
        new = {name.casefold() for name in changed}
        sources = {entity: self.csv.file_set.sources.get(entity) for entity in self.entities}
        return [
            entity
            for entity, source in sources.items()
            if source and self._files(source) & new and {_name(each) for each in _needed(source)} <= set(readable)
        ]

    def _files(self, source: Source) -> set[str]:
        assert self.csv is not None
        return {*map(_name, source.files), *((MANIFEST,) if self.csv.file_set.manifest else ())}

    def _counts(self, name: str) -> bool:
        if self.csv is None:
            return name.endswith(".xml")
        return any(name in self._files(source) for source in self.csv.file_set.sources.values())


@dataclass(slots=True)
class _Watcher:
    feed: str
    layout: Layout
    pool: asyncpg.Pool
    defer_run: DeferRun
    pace: Pace
    clock: Callable[[], float]
    woken: anyio.Event = field(default_factory=anyio.Event)

    async def keep_looking(self) -> Never:
        """Watch, look, wait, in that order. Whatever goes wrong is said, and looked at again."""
        settling, done = Settling(), None
        while True:
            self.woken = anyio.Event()
            wait_seconds = self.pace.poll_seconds
            try:
                stamps = await to_thread.run_sync(self.layout.stamps)
                now = self.clock()
                settling = settling.looked(stamps, now)
                if stamps != done and settling.is_quiet(now, self.pace.quiet_seconds):
                    done = stamps if await self._run(stamps) else done
                if stamps != done:
                    wait_seconds = self.pace.quiet_seconds
            except Exception as failure:  # a folder, a state or a queue that is away, whatever it fails by
                log.warning("the folder is not watched", feed=self.feed, error=str(failure) or repr(failure))
            with anyio.move_on_after(wait_seconds):
                await self.woken.wait()

    async def wake(self) -> Never:
        """At each change that the system tells of; without it the folder is polled."""
        while True:
            try:
                async for _ in awatch(self.layout.folder, watch_filter=None, recursive=False):
                    self.woken.set()
            except (OSError, RuntimeError) as failure:  # it is not there, or has no more watches to give
                log.warning("the folder is polled only", feed=self.feed, error=str(failure))
            await anyio.sleep(self.pace.poll_seconds)

    async def _run(self, stamps: Stamps) -> bool:
        """Ask for what these files are to be run for; whether they were whole, and stood still meanwhile."""
        readable = await to_thread.run_sync(self.layout.readable, stamps)
        if readable is None:
            return False
        async with self.pool.acquire() as connection:
            known = await watched_files.known(connection, self.feed)
        came = [name for name, stamp in stamps.items() if name not in known or known[name].stamp != stamp]
        files = await to_thread.run_sync(self._files, came, stamps)
        if stamps != await to_thread.run_sync(self.layout.stamps):
            return False
        changed = [name for name, file in files.items() if name not in known or known[name].digest != file.digest]
        if entities := self.layout.concerned(changed, readable):
            await self.defer_run(self.feed, entities)
        async with self.pool.acquire() as connection:  # after it: a run too many does no harm, one too few does
            await watched_files.came(connection, self.feed, files)
        return True

    def _files(self, names: Sequence[str], stamps: Stamps) -> Mapping[str, File]:
        return {name: File(stamps[name], _digest(self.layout.folder / name)) for name in names}


async def watch_folder(
    settings: Settings,
    pool: asyncpg.Pool,
    defer_run: DeferRun,
    pace: Pace = Pace(),
    clock: Callable[[], float] = anyio.current_time,
) -> None:
    """Watch the folder of a feed until cancelled; return at once if its connector has none.

    Raises SourceError, MappingFaults, OSError: settings that a person must mend.
    """
    connector = folder_of(settings)
    if connector is None:
        return
    entities = [name for name, entity in settings.entity.items() if entity.enabled]
    folder = Path(settings.connector.options["folder"])
    layout = Layout(folder, entities, connector if isinstance(connector, CsvFolder) else None)
    watcher = _Watcher(settings.feed.name, layout, pool, defer_run, pace, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.wake)
        tasks.start_soon(watcher.keep_looking)


def _needed(source: Source) -> Sequence[str]:
    """Without these its rows are not read at all."""
    return (source.file, *source.needs)


def _name(file: str) -> str:
    """As a folder has it, in small letters."""
    return (file if "." in file else f"{file}.csv").casefold()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
