"""The program that holds a connector and a formatter: it answers the run that started it, and knows nothing else."""

import asyncio
import os
import socket
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import orjson

from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.plan import Kind
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.model import Connector, Feed, Hub, Settings
from homeroom_merge.sis import wire
from homeroom_merge.sis.confinement import Confinement, ConfinementError, confine
from homeroom_merge.sis.library import hold_library
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.sis.side import Draft, Shown, Standing
from homeroom_merge.sources.choosing import source_of
from homeroom_merge.sources.source import Source
from homeroom_merge.values import Json

_BLOCK_RECORDS_MAX = 500
_BLOCK_BYTES_MAX = 2**20
_BLOCK_SECONDS_MAX = 1.0
_ROWS_MAX = 10_000
"""Rows that are held under handles; the oldest are given up for newer ones."""
_TEXT_MAX = 500
_FILES = ("folder", "mapping", "codes", "drop_folder")
_NOBODY = Reading("", {}, frozenset())


class Pipe:
    """Frames from and to the run; nothing else of this process waits for them, so they may block."""

    def __init__(self, come: BinaryIO, go: BinaryIO) -> None:
        self._come, self._go = come, go

    def heard(self) -> Json | None:
        """What is asked next; None once nobody will ask."""
        head = self._come.read(wire.LENGTH_BYTES)
        return wire.said_in(self._come.read(wire.length_of(head))) if len(head) == wire.LENGTH_BYTES else None

    def say(self, said: Mapping[str, object]) -> None:
        self._go.write(wire.frame(said))
        self._go.flush()


class Rows:
    """Rows of the SIS, which merging names by number."""

    def __init__(self) -> None:
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._last = 0

    def keep(self, row: object) -> int:
        assert isinstance(row, Mapping), "it comes from a connector or formatter"
        self._last += 1
        self._rows[self._last] = row
        if len(self._rows) > _ROWS_MAX:
            self._rows.popitem(last=False)
        return self._last

    def find(self, handle: int | None) -> Row | None:
        return None if handle is None else self._rows[handle]


class Program:
    """Answers for every entity of one source."""

    def __init__(self, source: Source, pipe: Pipe) -> None:
        self._source, self._pipe = source, pipe
        self._rows = Rows()

    async def serve(self) -> None:
        """Until nobody asks any more."""
        while (asked := self._pipe.heard()) is not None:
            try:
                said = await self._answer(asked["do"], asked)
            except Exception as fault:  # the run is told, whatever it is
                said = raised(fault)
            self._pipe.say(said)
        if self._source.close is not None:
            await self._source.close()

    async def _answer(self, what: str, asked: Json) -> Json:
        entity = asked["entity"]
        sis = LocalSis(self._source.connector, self._source.formatters[entity])
        match what:
            case "fetch":
                return await self._fetch(await sis.fetch(asked["cursor"]))
            case "look":
                found = await sis.look(asked["keys"])
                told = [[wire.reading_json(each.reading), each.place, self._rows.keep(each.row)] for each in found]
                return {"found": told}
            case "anticipate":
                return {"reading": wire.reading_json(await sis.anticipated(asked["hubId"], asked["body"]))}
            case "draft":
                row = self._rows.find(asked["row"])
                standing = None if row is None else Standing(_NOBODY, "", row)
                return self._drafted(await sis.draft(Kind(asked["kind"]), asked["key"], asked["body"], standing))
            case "write":
                rows = self._rows.find(asked["row"]), self._rows.find(asked["expected"])
                return wire.outcome_json(await sis.write(Draft(Kind(asked["kind"]), asked["key"], *rows, None)))
        raise AssertionError(f"nobody asks for {what}")

    async def _fetch(self, shown: Shown) -> Json:
        """Records in blocks, as they come; what else is known of them is the answer."""
        block, held, since = list[orjson.Fragment](), 0, time.monotonic()
        async for reading, place in shown.records:
            data = orjson.dumps([wire.reading_json(reading), place])
            if len(data) > wire.RECORD_BYTES_MAX:
                raise wire.IllFormedError(f"{place}: a record of {len(data):,} bytes")
            block.append(orjson.Fragment(data))
            held += len(data)
            is_full = len(block) == _BLOCK_RECORDS_MAX or held > _BLOCK_BYTES_MAX
            if is_full or time.monotonic() - since > _BLOCK_SECONDS_MAX:
                self._pipe.say({"records": block})
                block, held, since = [], 0, time.monotonic()
        self._pipe.say({"records": block})
        return wire.end_json(shown)

    def _drafted(self, draft: Draft | str) -> Json:
        if isinstance(draft, str):
            return {"impossible": draft}
        row = None if draft.row is None else self._rows.keep(draft.row)
        return {"row": row, "reading": None if draft.reading is None else wire.reading_json(draft.reading)}


def raised(fault: Exception) -> Json:
    """What went wrong, for the run. MemoryError ends the process: there is nothing left to say it with."""
    if isinstance(fault, MemoryError):
        os._exit(wire.OUT_OF_MEMORY)
    frames = traceback.extract_tb(fault.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    names = [each.__name__ for each in type(fault).__mro__]
    return {"raised": names, "text": str(fault)[:_TEXT_MAX], "place": place}


def opened(asked: Json, told: Confinement) -> Source:
    """The source that the settings name. As `source_of`; PermissionError for files closed to the child's own user."""
    options: Mapping[str, str] = asked["options"]
    for path in (options[name] for name in _FILES if options.get(name)):
        if told.user is not None and _is_closed(path):
            raise PermissionError(
                f"{path} is closed to the run's own user {told.user}: open it, and the folders above it, to everybody "
                f"or to the group {told.group}, or set HOMEROOM_MERGE_SANDBOX_USERS=none"
            )
    feed, connector = Feed("", asked["formatter"], "", ()), Connector(asked["kind"], options)
    return source_of(Settings(feed, Hub(""), connector, {}, {}), asked["secrets"])


def _is_closed(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as fault:
        return isinstance(fault, PermissionError)
    return not os.access(path, os.R_OK)


def main(descriptor: int, parent: int, told: Confinement) -> None:
    """The whole life of the process."""
    with socket.socket(fileno=descriptor) as ours, ours.makefile("rb") as come, ours.makefile("wb") as go:
        pipe = Pipe(come, go)
        try:
            if told.user is not None:
                hold_library()
            confine(told, parent)
            asked = pipe.heard()
            if asked is None:
                return
            source = opened(asked, told)
            fields = {entity: sorted(each.fields) for entity, each in source.formatters.items()}
            pipe.say({"abilities": asdict(source.connector.abilities), "fields": fields})
        except (RefusedError, ConfinementError) as fault:
            pipe.say({"refused": str(fault)})
        except Exception as fault:  # the run is told, whatever it is
            pipe.say(raised(fault))
        else:
            asyncio.run(Program(source, pipe).serve())
