"""What a hook is told of, and how it may fail."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from homeroom_merge.report.lines import head_line
from homeroom_merge.report.model import Report
from homeroom_merge.settings.hooks import Occasion


class HookError(Exception):
    """Somebody could not be told; the message says why."""


@dataclass(frozen=True, slots=True)
class News:
    """How some runs of a feed ended, or, in `said`, what is no run's."""

    feed: str
    reports: tuple[Report, ...]
    said: str = ""

    @property
    def occasions(self) -> Sequence[Occasion]:
        """Each once."""
        return list(dict.fromkeys(occasion_of(each) for each in self.reports)) or [Occasion.OVERDUE]

    def as_json(self) -> bytes:
        """For machines: the reports without their records."""
        reports = [orjson.Fragment(head_line(each)) for each in self.reports]
        return orjson.dumps({"feed": self.feed, "on": self.occasions, "said": self.said, "reports": reports})


def occasion_of(report: Report) -> Occasion:
    return Occasion(report.status.value)
