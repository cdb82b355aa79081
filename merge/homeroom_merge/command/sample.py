"""Some records of a run, as lines of a difference: what stands there, and what it becomes."""

from collections.abc import Iterator

from homeroom_merge.plan import FieldChange, Kind, Write
from homeroom_merge.report.model import RecordEntry, name_of, problems_of
from homeroom_merge.report.words import value_text
from homeroom_merge.values import ABSENT

RECORDS_MAX = 10
"""Records shown of a run."""
_FIELDS_MAX = 8
"""Fields shown of a record."""


def differences(entry: RecordEntry) -> Iterator[str]:
    """One record: a line of its own, then `-` and `+` for each field."""
    kinds = ", ".join(f"{each.write.kind} on the hub" if each.write.side == "hub" else f"{each.write.kind} in the SIS"
                      for each in entry.writes)  # fmt: skip
    yield f"{name_of(entry)}{f' ({entry.school})' if entry.school else ''}: {kinds or entry.note or entry.outcome}"
    fields = [*(field for field in entry.fields if field.to), *_made(entry)]
    for field in fields[:_FIELDS_MAX]:
        before = field.hub if "hub" in field.to else field.sis
        if before is not ABSENT:
            yield f"  - {field.pointer or 'the record'}: {value_text(before)}"
        if field.outcome is not ABSENT:
            yield f"  + {field.pointer or 'the record'}: {value_text(field.outcome)}"
    if len(fields) > _FIELDS_MAX:
        yield f"    and {len(fields) - _FIELDS_MAX} fields more"
    for problem in problems_of(entry)[:_FIELDS_MAX]:
        yield f"  x {problem.pointer}{': ' if problem.pointer else ''}{value_text(problem.message)}"
    for conflict in entry.conflicts[:_FIELDS_MAX]:
        yield f"  ! {conflict.pointer or 'the record'}: SIS {value_text(conflict.sis)}, hub {value_text(conflict.hub)}"
    for entity, key in entry.waits_for[:_FIELDS_MAX]:
        yield f"  ? waits for {entity} {key}"


def _made(entry: RecordEntry) -> Iterator[FieldChange]:
    """The fields of a new record, which has no differences."""
    if entry.fields:
        return
    made: Write | None = next((each.write for each in entry.writes if each.write.kind is Kind.CREATE), None)
    for name, value in ({} if made is None or made.body is None else made.body).items():
        yield FieldChange(f"/{name}", ABSENT, ABSENT, ABSENT, value, "", ())
