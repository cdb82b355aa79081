"""What all records of a run come to, in one pass and little memory: counts, and failures that say the same."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from homeroom_merge.report.advice import advise, known_problems
from homeroom_merge.report.model import FailureGroup, Problem, RecordEntry, Step, Summary, coded, name_of, problems_of
from homeroom_merge.values import SideName

EXAMPLES_MAX = 10
"""Records named per group of failures."""
MESSAGE_MAX = 500
"""Characters of a message by which failures are grouped: a server may answer with a whole page."""
NOTES_MAX = 20
"""Notes told apart."""
GROUPS_MAX = 200
"""Groups of failures; what fails in yet another way is counted as one."""


def summarize(entries: Iterable[RecordEntry]) -> Summary:
    """One pass over the records, in little memory."""
    summing = Summing()
    for entry in entries:
        summing.add(entry)
    return summing.summary()


class Summing:
    """The same, record by record as they come."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()
        self._fields: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._groups = _Groups()

    def add(self, entry: RecordEntry) -> None:
        self._outcomes[entry.outcome.value] += 1
        self._writes.update(f"{each.write.side} {each.write.kind} {each.result}" for each in entry.writes)
        self._fields.update(pattern_at(conflict.pointer) for conflict in entry.conflicts)
        if note := alike(entry.note):
            self._notes[note if note in self._notes or len(self._notes) < NOTES_MAX else "other notes"] += 1
        for problem in problems_of(entry):
            at = f"{pattern_at(problem.pointer)} " if problem.pointer else ""
            self._groups.add(replace(problem, message=at + problem.message), name_of(entry))

    def add_step(self, step: Step) -> None:
        """A step that failed is a failure of the run itself."""
        code, message = coded(step.message)
        self._groups.add(Problem(message, code=code), "the run itself")

    def summary(self) -> Summary:
        """What all of them come to."""
        outcomes, writes = dict(sorted(self._outcomes.items())), dict(sorted(self._writes.items()))
        fields, notes = (dict(each.most_common()) for each in (self._fields, self._notes))
        return Summary(outcomes, writes, fields, self._groups.all(), notes)


def pattern_at(pointer: str) -> str:
    """A pointer with `$` for items of lists."""
    return _ITEM.sub("/$", pointer)


def alike(message: str) -> str:
    """A message without what differs from record to record: ids, numbers, and values in quotes.

    A small word in quotes stays: it is the name of a field.
    """
    return _SPACE.sub(" ", _DIFFERS.sub("…", message[:MESSAGE_MAX])).strip()


_ITEM = re.compile(r"/\[[^/]*\]")
_SPACE = re.compile(r"\s+")
_DIFFERS = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # an id
    r"""|"(?![a-z][A-Za-z]*")[^"]*"|(?<!\w)'[^']*'(?!\w)|“[^”]*”|`[^`]*`"""
    r"|(?<!\w)[A-Za-z]*[-.:/]?\d[\w.:-]*",  # a number, a date, a code
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Groups:
    counts: Counter[tuple[str, int | None, SideName | None]] = field(default_factory=Counter)
    examples: dict[tuple[str, int | None, SideName | None], list[str]] = field(default_factory=dict)

    def add(self, problem: Problem, name: str) -> None:
        key: tuple[str, int | None, SideName | None] = (alike(problem.message), problem.code, problem.side)
        if key not in self.counts and len(self.counts) >= GROUPS_MAX:
            key = ("other failures", None, None)
        self.counts[key] += 1
        named = self.examples.setdefault(key, [])
        if len(named) < EXAMPLES_MAX and name not in named:
            named.append(name)

    def all(self) -> tuple[FailureGroup, ...]:
        known = known_problems()
        return tuple(
            FailureGroup(
                message, count, tuple(self.examples[message, code, side]), code, side, advise(known, message, code)
            )
            for (message, code, side), count in self.counts.most_common()
        )
