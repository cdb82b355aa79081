"""A SIS whose connector and formatter run in a child process: it gets its settings and the SIS's secrets, no more."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.plan import Kind
from homeroom_merge.settings.model import Settings
from homeroom_merge.sis import wire
from homeroom_merge.sis.confinement import ConfinementError
from homeroom_merge.sis.forking import Forkserver
from homeroom_merge.sis.side import Draft, Outcome, Placed, SandboxError, Shown, Standing
from homeroom_merge.sis.spawned import Spawned
from homeroom_merge.sis.users import UsersError
from homeroom_merge.values import Json


class Sandbox:
    """The children of a group of runs: one at a time, one for each entity, started when it is first asked.

    A child that has ended or was given up in the middle of an answer is replaced when something is asked again.
    """

    def __init__(self, settings: Settings, secrets: Mapping[str, str], forkserver: Forkserver) -> None:
        self._forkserver = forkserver
        self._limits = settings.sandbox
        self._told = {
            "kind": settings.connector.kind,
            "options": dict(settings.connector.options),
            "formatter": settings.feed.formatter,
            "secrets": dict(secrets),
        }
        self._child: Spawned | None = None
        self._entity: str | None = None
        self._printed: dict[str, str] = {}
        self.abilities = Abilities()
        self.fields: Mapping[str, frozenset[str]] = {}
        """The members that each entity carries."""

    async def child_of(self, entity: str) -> Spawned:
        """That in which this entity is read and written. SandboxError, OSError."""
        child = self._child
        if child is None or child.broken or child.has_ended or self._entity not in (None, entity):
            child = await self._start()
        self._entity = entity
        return child

    async def _start(self) -> Spawned:
        await self.close()
        try:
            self._child = child = await Spawned.start(self._forkserver, self._limits)
        except (UsersError, ConfinementError) as fault:
            raise SandboxError(str(fault)) from fault
        said = await child.answer(self._told)
        if "refused" in said:
            raise SandboxError(str(said["refused"]))
        async with child.judged():
            self.abilities, self.fields = wire.abilities_of(said.get("abilities")), wire.fields_of(said.get("fields"))
        return child

    async def open(self) -> None:
        """Find out what the SIS can do, and what its formatters carry. SandboxError, OSError."""
        await self._start()

    async def close(self) -> None:
        """Nothing of it runs any more."""
        child, entity, self._child, self._entity = self._child, self._entity, None, None
        if child is not None:
            await child.end()
            self._printed[entity or ""] = self._printed.get(entity or "", "") + child.printed()

    def printed(self, entity: str) -> str:
        """What was printed while this entity was read and written, since it was asked last."""
        said = self._printed.pop(entity, "")
        if self._child is not None and self._entity == entity:
            said += self._child.printed()
        return said[-self._limits.output_kib_max * 1024 :]


@asynccontextmanager
async def opened_sandbox(
    settings: Settings, secrets: Mapping[str, str], forkserver: Forkserver
) -> AsyncIterator[Sandbox]:
    """`secrets`: what the connector needs of them, by name. SandboxError, OSError."""
    sandbox = Sandbox(settings, secrets, forkserver)
    try:
        await sandbox.open()
        yield sandbox
    finally:
        await sandbox.close()


class SandboxedSis:
    """One entity of it: `Sis`, with SandboxError where connector or formatter fail or break a limit."""

    def __init__(self, sandbox: Sandbox, entity: str) -> None:
        self._sandbox, self._entity = sandbox, entity
        self.abilities, self.fields = sandbox.abilities, sandbox.fields[entity]

    async def fetch(self, cursor: str | None) -> Shown:
        """As `Sis.fetch`."""
        shown = Shown(_nothing())
        shown.records = self._records(cursor, shown)
        return shown

    async def _records(self, cursor: str | None, shown: Shown) -> AsyncIterator[Placed]:
        child = await self._sandbox.child_of(self._entity)
        async with (
            child.judged(),
            aclosing(child.asked({"do": "fetch", "entity": self._entity, "cursor": cursor})) as all_,
        ):
            async for said in all_:
                if "records" not in said:
                    wire.end_of(said, shown)
                    return
                for placed in wire.listed(said["records"]):
                    yield wire.placed_of(placed)

    async def look(self, keys: Sequence[str]) -> list[Standing]:
        """As `Sis.look`."""
        async with self._asked("look", keys=list(keys)) as said:
            return [wire.standing_of(each) for each in wire.listed(said.get("found"))]

    async def anticipated(self, hub_id: str, body: Json) -> Reading:
        """As `Sis.anticipated`."""
        async with self._asked("anticipate", hubId=hub_id, body=body) as said:
            return wire.reading_of(said.get("reading"))

    async def draft(self, kind: Kind, key: str, body: Json | None, standing: Standing | None) -> Draft | str:
        """As `Sis.draft`; rows are numbers here."""
        stands = None if standing is None else standing.row
        async with self._asked("draft", kind=kind.value, key=key, body=body, row=stands) as said:
            match said:
                case {"impossible": str(why)}:
                    return why
                case {"row": (int() | None) as row, "reading": reading}:
                    return Draft(kind, key, row, stands, None if reading is None else wire.reading_of(reading))
            raise wire.IllFormedError("a draft that is none")

    async def write(self, draft: Draft) -> Outcome:
        """As `Sis.write`. After a SandboxError nobody knows what became of it."""
        told = {"kind": draft.kind.value, "key": draft.key, "row": draft.row, "expected": draft.expected}
        async with self._asked("write", **told) as said:
            return wire.outcome_of(said)

    def printed(self) -> str:
        """As `Sis.printed`."""
        return self._sandbox.printed(self._entity)

    @asynccontextmanager
    async def _asked(self, what: str, **more: object) -> AsyncIterator[Json]:
        child = await self._sandbox.child_of(self._entity)
        async with child.judged():
            yield await child.answer({"do": what, "entity": self._entity, **more})


async def _nothing() -> AsyncIterator[Placed]:
    nothing: tuple[Placed, ...] = ()
    for each in nothing:
        yield each
