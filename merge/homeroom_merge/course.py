"""How one run goes: what it is told, which steps it has taken, what came of them."""

import re
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import anyio

from homeroom_merge.backup import BackedUp
from homeroom_merge.backup_file import BackupError
from homeroom_merge.connectors.hub import HubError
from homeroom_merge.fetching import Fetched
from homeroom_merge.guards import Pass
from homeroom_merge.planning import LookedAt, Planned
from homeroom_merge.progress import UNWATCHED, Progress
from homeroom_merge.report.logbook import Going, Logbook
from homeroom_merge.report.model import Report, StepName
from homeroom_merge.scrubbing import NOTHING_SECRET, Scrubber
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import SandboxError
from homeroom_merge.store import runs
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

_CAUSE_MAX = 500
"""Characters of what is told of a failure."""
_WORDS = re.compile("(?<=[a-z])(?=[A-Z])")


@dataclass(slots=True)
class Course:
    """How a run goes. `report`: once it has ended or is held."""

    run: UUID
    subject: int
    terms: Terms
    sides: Sides
    status: str = "running"
    dry: bool = False
    hub: Fetched | None = None
    sis: Fetched | None = None
    planned: Planned | None = None
    backup: BackedUp | None = None
    log: Logbook = field(default_factory=Logbook)
    progress: Progress = UNWATCHED
    report: Report | None = None
    looked_at: LookedAt | None = None
    """The records that it is about; None: all."""

    @property
    def may(self) -> Pass:
        return Pass.NOTHING if self.planned is None else self.planned.verdict.may


@asynccontextmanager
async def stepping(
    connection: Conn, course: Course, name: StepName, planned: int | None = None
) -> AsyncIterator[Going]:
    """Take a step: timed, shown to those who look on, and written down with the run."""
    course.progress.begin(course.terms.entity, name, planned)
    try:
        with course.log.step(name) as going:
            try:
                yield going
            except Exception as fault:
                going.fail(cause_of(fault, course.terms.scrub))
                raise
            except anyio.get_cancelled_exc_class():
                going.fail("cancelled")
                raise
    finally:
        course.progress.end()
    await runs.note_log(connection, course.run, course.log.text(course.terms.scrub))


def cause_of(fault: BaseException, scrub: Scrubber = NOTHING_SECRET) -> str:
    """Why something failed, in a line for people; secrets are taken out before it is cut, which would leave a part."""
    said = scrub(str(fault))
    if isinstance(fault, (HubError, OSError, BackupError, SandboxError)):
        return (said or _WORDS.sub(" ", type(fault).__name__))[:_CAUSE_MAX]
    frames = traceback.extract_tb(fault.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"a mistake of the program's own: {type(fault).__name__}: {said}"[:_CAUSE_MAX] + place
