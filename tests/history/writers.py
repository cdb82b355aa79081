"""Writers: several on the same few records, each change expecting what its writer believes, retried under one key."""

import itertools
import time
from dataclasses import dataclass, field
from uuid import UUID

import anyio

from tests.history.caller import Answer, Caller
from tests.history.events import Recorder, Result, Sent, Submitted, digest_of

IDS = 8
"""Records of each school and type: few, so that writers meet."""
_SELDOM_IDS = range(IDS, IDS + 12)
"""Others, so seldom changed that a tombstone may stay until it is collected."""
TYPES = ("Note", "Note", "Bulletin")
_PAUSE_SECONDS = 0.3
_RETRY_SECONDS = 20.0
_STALE, _FOREIGN, _REPEATED, _DELETED, _SELDOM = 0.1, 0.03, 0.05, 0.3, 0.1


@dataclass
class Beliefs:
    """What writers think stands: by type and id, the version and whether it is deleted. Shared, often out of date."""

    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Gate:
    """Halts writers at a quiet point, and knows when the last has come to rest."""

    opened: anyio.Event = field(default_factory=anyio.Event)
    writing: int = 0

    def open(self) -> None:
        self.opened.set()

    def close(self) -> None:
        self.opened = anyio.Event()


class Writer:
    """Changes records of some schools until cancelled."""

    def __init__(
        self, caller: Caller, schools: tuple[str, ...], beliefs: Beliefs, gate: Gate, recorder: Recorder
    ) -> None:
        self._caller = caller
        self._schools = schools
        self._beliefs = beliefs
        self._gate = gate
        self._recorder = recorder
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        async with self._caller.http:
            while True:
                while not self._gate.opened.is_set():  # it may close in the moment in which a wait ends
                    await self._gate.opened.wait()
                self._gate.writing += 1
                try:
                    await self._step()
                finally:
                    self._gate.writing -= 1
                await anyio.sleep(self._caller.chance.random() * _PAUSE_SECONDS)

    async def _step(self) -> None:
        chance = self._caller.chance
        name, school = chance.choice(TYPES), chance.choice(self._schools)
        if chance.random() < _FOREIGN and self._caller.organization != "O.1":
            other = "S.0990" if school != "S.0990" else "S.0982"
            sent = [Sent(f"{other}.{chance.randrange(IDS)}", 1, False, "")]
        else:
            among = _SELDOM_IDS if chance.random() < _SELDOM else range(IDS)
            ids = [f"{school}.{n}" for n in chance.sample(among, chance.choice((1, 1, 2, 3)))]
            sent = [self._change(name, record_id) for record_id in ids]
        await self._submit(name, school, sent)

    def _change(self, name: str, record_id: str) -> Sent:
        chance, record = self._caller.chance, (name, record_id)
        believed = self._beliefs.versions.get(record, 0)
        if believed and chance.random() < _STALE:
            believed -= 1
        deletes = believed > 0 and record not in self._beliefs.deleted and chance.random() < _DELETED
        return Sent(record_id, believed, deletes, "")

    async def _submit(self, name: str, school: str, sent: list[Sent]) -> None:
        chance = self._caller.chance
        key = str(UUID(int=chance.getrandbits(128), version=4))
        mark = f"{self._caller.name} {next(self._numbers)}"
        records = []
        for place, each in enumerate(sent):
            record = {"id": each.id, "expectedVersion": each.expected_version, "deleted": each.deleted}
            if not each.deleted:
                record["body"] = {"text": f"{mark} {each.id}"}
                sent[place] = each._replace(digest=digest_of(record["body"]))
                if each.id.startswith(school):
                    record["organization"] = school
            records.append(record)
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            answer = await self._attempt(name, key, records, tuple(sent))
            if not answer.error and chance.random() >= _REPEATED:
                return
            if time.monotonic() > deadline:
                return  # nobody knows what became of it
            await anyio.sleep(chance.random() * _PAUSE_SECONDS)

    async def _attempt(self, name: str, key: str, records: list[dict[str, object]], sent: tuple[Sent, ...]) -> Answer:
        answer = await self._caller.post(f"/v1/submit/{name}", {"records": records}, idempotency_key=key)
        found = answer.body.get("results", ())
        results = tuple(Result(r["id"], r["coreVersion"], tuple(x["code"] for x in r["rejections"])) for r in found)
        self._recorder.add(
            Submitted(
                began=answer.began,
                ended=answer.ended,
                client=self._caller.name,
                organization=self._caller.organization,
                type=name,
                key=key,
                sent=sent,
                epoch=answer.epoch,
                results=results,
                error=answer.error,
            )
        )
        for each, result in zip(sent, found, strict=False):
            self._believe((name, each.id), each, result)
        return answer

    def _believe(self, record: tuple[str, str], sent: Sent, result: dict[str, object]) -> None:
        version = result["coreVersion"]
        assert isinstance(version, int)
        if version:
            self._beliefs.versions[record] = version
            (self._beliefs.deleted.add if sent.deleted else self._beliefs.deleted.discard)(record)
            return
        rejections = result["rejections"]
        assert isinstance(rejections, list)
        for rejection in rejections:
            if rejection["code"] == 3004:
                self._beliefs.versions[record] = rejection["coreVersion"]
                self._beliefs.deleted.discard(record)
