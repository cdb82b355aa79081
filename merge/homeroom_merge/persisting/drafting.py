"""What is sent to the SIS for one change, and whether the record there is still the one that was merged."""

from dataclasses import dataclass

from homeroom_merge.codec import canonical
from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.plan import Kind, Write
from homeroom_merge.records import Known, State
from homeroom_merge.standing import Standing
from homeroom_merge.values import Json


@dataclass(frozen=True, slots=True)
class Draft:
    """One write to the SIS. `expected`: the row that has to stand there; `reading`: what it will show, None: gone."""

    kind: Kind
    key: str
    row: Row | None
    expected: Row | None
    reading: Reading | None


def key_of(formatter: Formatter, known: Known, write: Write) -> str:
    """The key of a record in the SIS: for a new one that under which the SIS will show it, or its hub id."""
    if known.sis_key is not None:
        return known.sis_key
    assert known.hub_id is not None, "what the SIS does not have is on the hub"
    body: Json = write.body or {}
    return formatter.read(formatter.write(known.hub_id, body, None)).key or known.hub_id


def drafted(formatter: Formatter, known: Known, write: Write, standing: Standing | None) -> Draft | str:
    """The write, or why there can be none: what the SIS would show has to be readable."""
    key, expected = key_of(formatter, known, write), None if standing is None else standing.row
    if write.body is None:
        return Draft(write.kind, key, None, expected, None)
    row = formatter.write(key, write.body, expected)
    reading = formatter.read(row)
    if reading.faults:
        return f"the SIS could not show it: {reading.faults[0].pointer} {reading.faults[0].detail}"
    return Draft(write.kind, key, row, expected, reading)


def has_moved(known: Known, standing: Standing | None) -> bool:
    """Whether the SIS has something else by now than what was merged."""
    if known.sis.state is not State.LIVE:
        return standing is not None
    return standing is None or bool(standing.reading.faults) or not same(standing.reading, known.sis.body)


def says_nothing_new(draft: Draft, known: Known) -> bool:
    """Whether all that would change is what the SIS cannot express."""
    lives = known.sis.state is State.LIVE and known.awaiting is None  # what is awaited overtakes what was seen
    return lives and draft.reading is not None and same(draft.reading, known.sis.body)


def same(reading: Reading | None, body: Json | None) -> bool:
    """Whether the SIS shows just this; None: gone."""
    if reading is None or body is None:
        return reading is None and body is None
    return canonical(reading.body) == canonical(body)
