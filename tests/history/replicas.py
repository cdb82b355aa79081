"""Replicas as schools keep them: `homeroom.Replica` in a SQLite file, closed and opened again at times."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import orjson

from homeroom import Client, HomeroomError, Replica
from homeroom.replica import StorageError
from tests.history.events import Ended, Recorder, Row, digest_of

_OPEN_SECONDS = (4.0, 20.0)


class KeptReplica:
    """One organisation's copy of some types."""

    def __init__(
        self, name: str, organization: str, key: str, url: str, path: Path, chance: random.Random, recorder: Recorder
    ) -> None:
        self.name = name
        self.organization = organization
        self.settling = False
        """Stay open: what is not in step yet must come to be."""
        self._key = key
        self._url = url
        self._path = path
        self._chance = chance
        self._recorder = recorder

    async def run(self, types: tuple[str, ...]) -> None:
        while True:
            try:
                async with Client(self._url, self._key) as client, Replica(self._path, client, types) as replica:
                    with anyio.move_on_after(self._chance.uniform(*_OPEN_SECONDS)):
                        await replica.ended()
                    while self.settling:
                        with anyio.move_on_after(1.0):
                            await replica.ended()
            except (HomeroomError, StorageError) as failure:
                self._recorder.add(Ended(at=time.monotonic(), client=self.name, explanation=repr(failure)))
                return

    def rows(self, notification_type: str) -> tuple[Row, ...]:
        """What any tool would read out of the file."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as file:
            try:
                found = file.execute(f"select id, version, body from {notification_type}").fetchall()
            except sqlite3.OperationalError:
                return ()  # not loaded yet
        return tuple(Row(i, version, digest_of(orjson.loads(body))) for i, version, body in found)
