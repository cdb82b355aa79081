"""Who looks on while runs go: told of each step and of how far it is."""

from homeroom_merge.report.model import StepName


class Progress:
    """Looks on and says nothing; somebody at a terminal is shown bars."""

    def begin(self, entity: str, step: StepName, planned: int | None = None) -> None:
        """A step begins; of so many records, if that is known."""

    def advance(self, count: int) -> None:
        """So many more records of the step are done."""

    def end(self) -> None:
        """The step has ended."""


UNWATCHED = Progress()
"""Nobody looks on."""
