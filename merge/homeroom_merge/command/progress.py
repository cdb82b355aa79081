"""What somebody who waits is shown on stderr: bars on a terminal, else a line a step."""

from types import TracebackType

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from homeroom_merge.command.invocation import err
from homeroom_merge.progress import Progress as Watching
from homeroom_merge.report.model import StepName

DOING = {
    StepName.FETCH_HUB: "fetching from the hub",
    StepName.FETCH_SIS: "fetching from the SIS",
    StepName.VERIFY: "verifying",
    StepName.MERGE: "merging",
    StepName.PLAN: "planning",
    StepName.GUARD: "guards",
    StepName.BACKUP: "backing up",
    StepName.PERSIST_HUB: "writing to the hub",
    StepName.PERSIST_SIS: "writing to the SIS",
}


class Shown(Watching):
    """Shows each step with its entity and how many records are done; nothing on stdout."""

    def __init__(self) -> None:
        count = TextColumn("{task.fields[count]}")
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), count, TimeElapsedColumn()
        self._bars = Progress(*columns, console=err, transient=True) if err.is_terminal else None
        self._task: TaskID | None = None
        self._doing = ""
        self._done = 0
        self._planned: int | None = None

    def __enter__(self) -> "Shown":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def begin(self, entity: str, step: StepName, planned: int | None = None) -> None:
        self.end()
        self._doing, self._done, self._planned = f"{entity}: {DOING[step]}", 0, planned
        if self._bars is not None:
            self._task = self._bars.add_task(self._doing, total=planned, count=self._count())

    def advance(self, count: int) -> None:
        self._done += count
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._done, count=self._count())

    def end(self) -> None:
        if self._doing and (self._done or self._planned):
            said = f"{self._doing}, {self._count()}"
            err.print(said, markup=False, highlight=False, soft_wrap=True)
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
        self._task, self._doing = None, ""

    def _count(self) -> str:
        return f"{self._done:,} records" if self._planned is None else f"{self._done:,} of {self._planned:,}"
