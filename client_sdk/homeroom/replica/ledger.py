"""Where every type of a replica stands while its loop runs, and who is told when that changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from homeroom.replica.machine import Happening, Phase, TypeState, What, advance
from homeroom.replica.storage import Storage, StorageError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """What just happened to a type: for a progress bar or a log line. `applied`: versions stored by it."""

    type: str
    what: What
    state: TypeState
    applied: int


class InThread:
    """Calls that may block, one at a time, off the event loop."""

    def __init__(self) -> None:
        self._one = anyio.CapacityLimiter(1)

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await anyio.to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._one)


class Ledger:
    """The states of all types that are followed. Every change goes through the state machine and into the storage."""

    def __init__(self, storage: Storage, in_thread: InThread, told: Callable[[Progress], None]) -> None:
        self.storage = storage
        self.in_thread = in_thread
        self.states: dict[str, TypeState] = {}
        self.sources: dict[str, str | None] = {}
        self._told = told
        self._changed = anyio.Event()

    async def open(self, sources: dict[str, str | None]) -> None:
        """Read where the types stand that are followed; each is given with what comes with it."""
        states = {name: await self.in_thread(self.storage.state, name) for name in sources}
        self.sources, self.states = sources, states
        self.wake()

    async def belong_to(self, organization: str) -> None:
        """A replica is of one organization for good; StorageError if it is another's."""
        whose = await self.in_thread(self.storage.setting, "organization")
        if not whose:
            await self.in_thread(self.storage.setting, "organization", organization)
        elif whose != organization:
            raise StorageError(
                f"this replica holds what {whose} may see, not {organization}; give it a file of its own"
            )

    async def reopen(self, name: str) -> None:
        """Go on with a type from where the storage has it."""
        self.states[name] = await self.in_thread(self.storage.state, name)
        self.wake()

    def in_phase(self, names: Iterable[str], *phases: Phase) -> list[str]:
        return [name for name in names if self.states[name].phase in phases]

    async def note(self, name: str, happening: Happening, applied: int = 0) -> TypeState:
        """Something happened: the state after it, stored. A storage that fails does not undo what is known."""
        before, after = self.states[name], advance(self.states[name], happening)
        self.states[name] = after
        proved = happening.what is What.NOTHING and bool(happening.epoch)
        if replace(before, phase=after.phase) != after or happening.what is What.NOTHING:
            try:
                await self.in_thread(self.storage.remember, name, after, in_step=proved)
            except StorageError as failure:
                self.states[name] = replace(after, trouble=str(failure))
        self.noted(name, happening.what, applied)
        return self.states[name]

    def noted(self, name: str, what: What, applied: int) -> None:
        """Tell those who watch; `applied` versions have been stored."""
        self._told(Progress(name, what, self.states[name], applied))
        self.wake()

    def watch(self) -> anyio.Event:
        """Set when something has happened to any type from now on."""
        return self._changed

    def is_loaded(self, name: str) -> bool:
        """Whether a type can be read. One that comes with its status can, as soon as something can."""
        return name not in self.states or self.states[name].phase not in (Phase.EMPTY, Phase.LOADING, Phase.HALTED)

    def wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
