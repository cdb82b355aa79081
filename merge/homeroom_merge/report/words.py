"""Runs, steps and values in the words of reports."""

from collections.abc import Mapping

import orjson

from homeroom_merge.report.model import Status, Step, StepName
from homeroom_merge.values import ABSENT, Value

VALUE_MAX = 200
"""Characters shown of a value."""

VERDICTS: Mapping[Status, str] = {
    Status.SUCCESS: "All went well",
    Status.FINISHED_WITH_ISSUES: "Done, but some records need you",
    Status.NO_DATA: "The feed was empty: nothing was done",
    Status.HELD: "Held: nothing was written, and a person has to look",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
}
STEPS: Mapping[StepName, str] = {
    StepName.FETCH_HUB: "Fetch from the hub",
    StepName.FETCH_SIS: "Fetch from the SIS",
    StepName.VERIFY: "Verify the records",
    StepName.MERGE: "Merge",
    StepName.PLAN: "Plan",
    StepName.GUARD: "Guard against too much at once",
    StepName.BACKUP: "Back up",
    StepName.PERSIST_HUB: "Write to the hub",
    StepName.PERSIST_SIS: "Write to the SIS",
}


def value_text(value: Value, longest: int = VALUE_MAX) -> str:
    """A value as people read it, cut where it is long."""
    match value:
        case _ if value is ABSENT:
            return "(absent)"
        case None:
            return "(null)"
        case "":
            return "(empty)"
        case str():
            return cut(value, longest)
        case _:
            return cut(orjson.dumps(value).decode(), longest)


def took(step: Step) -> str:
    """How long a step lasted, from its first beginning to its last end."""
    if step.begun_at is None or step.ended_at is None:
        return ""
    return f"{(step.ended_at - step.begun_at).total_seconds():,.1f} s"


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
