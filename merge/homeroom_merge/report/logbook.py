"""How a run goes, step by step: kept with the run as it goes, so that its report outlives whoever ran it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import orjson

from homeroom_merge.report.lines import step_from, step_json
from homeroom_merge.report.model import Step, StepName, StepStatus
from homeroom_merge.scrubbing import NOTHING_SECRET, Scrubber

_WORST_LAST = (StepStatus.NOT_RUN, StepStatus.OK, StepStatus.ISSUES, StepStatus.FAILED)


@dataclass(slots=True)
class Going:
    """A step that goes on. What is said of it is what the report says."""

    counts: Mapping[str, int] = field(default_factory=dict)
    status: StepStatus = StepStatus.OK
    message: str = ""

    def issue(self, message: str) -> None:
        """It goes on, and somebody has to know this."""
        self._say(StepStatus.ISSUES, message)

    def fail(self, message: str) -> None:
        """It came to nothing."""
        self._say(StepStatus.FAILED, message)

    def _say(self, status: StepStatus, message: str) -> None:
        self.status = max(self.status, status, key=_WORST_LAST.index)
        self.message = "; ".join(filter(None, (self.message, message)))


@dataclass(slots=True)
class Logbook:
    """The steps that a run has taken, what was noticed on the way, and why the guards hold it."""

    taken: dict[StepName, Step] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    guard_reasons: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, in their order: what was not reached or is left out by settings is not run."""
        return tuple(self.taken.get(name, Step(name)) for name in StepName)

    @contextmanager
    def step(self, name: StepName) -> Iterator[Going]:
        """Take a step; one that is taken again goes on where it stood, and is no better than it was."""
        earlier, begun_at, going = self.taken.get(name, Step(name)), datetime.now(UTC), Going()
        try:
            yield going
        finally:
            status = max(earlier.status, going.status, key=_WORST_LAST.index)
            message = going.message or earlier.message
            times = earlier.begun_at or begun_at, datetime.now(UTC)
            self.taken[name] = Step(name, status, *times, {**earlier.counts, **going.counts}, message)

    def text(self, scrub: Scrubber = NOTHING_SECRET) -> str:
        """As it is kept: without secrets."""
        steps = [step_json(replace(step, message=scrub(step.message))) for step in self.taken.values()]
        notes, reasons = list(map(scrub, self.notes)), list(map(scrub, self.guard_reasons))
        return orjson.dumps({"steps": steps, "notes": notes, "guardReasons": reasons}).decode()


def logbook_of(text: str) -> Logbook:
    """The one that was kept so."""
    said = orjson.loads(text)
    taken = {step.name: step for step in map(step_from, said["steps"])}
    return Logbook(taken, said["notes"], tuple(said["guardReasons"]))
