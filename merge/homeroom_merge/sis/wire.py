"""What goes over the pipe between a run and its child: frames of JSON. What a child says is looked at first."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import get_args

import orjson

from homeroom_merge.connectors.connector import Abilities, Coverage, Result
from homeroom_merge.formatters.formatter import Fault, Reading
from homeroom_merge.sis.side import Outcome, Placed, Shown, Standing
from homeroom_merge.values import Json

FRAME_BYTES_MAX = 16 * 2**20
LENGTH_BYTES = 4
RECORD_BYTES_MAX = 4 * 2**20
OUT_OF_MEMORY = 77
"""The exit code of a child that could not go on."""
_TEXTS_MAX = 100_000
_ABILITIES = [each.name for each in fields(Abilities)]


class IllFormedError(Exception):
    """What no frame of this protocol says."""


def frame(said: Mapping[str, object]) -> bytes:
    """Its length, and the JSON. IllFormedError where it is too long or no JSON."""
    try:
        data = orjson.dumps(said)
    except TypeError as fault:
        raise IllFormedError(f"what is no JSON: {fault}") from fault
    if len(data) > FRAME_BYTES_MAX:
        raise IllFormedError(f"{len(data):,} bytes at once; {FRAME_BYTES_MAX:,} may be")
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def length_of(head: bytes) -> int:
    """Of the JSON that follows. IllFormedError."""
    length = int.from_bytes(head, "big")
    if length > FRAME_BYTES_MAX:
        raise IllFormedError(f"a frame of {length:,} bytes; {FRAME_BYTES_MAX:,} may be")
    return length


def said_in(data: bytes) -> Json:
    """The object that a frame holds. IllFormedError."""
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError as fault:
        raise IllFormedError("a frame that is no JSON") from fault
    if not isinstance(said, dict):
        raise IllFormedError("a frame that is no object")
    return said


def reading_json(reading: Reading) -> list[object]:
    return [
        reading.key,
        reading.body,
        sorted(reading.covered),
        reading.school,
        reading.school_year,
        reading.number,
        reading.deleted,
        [[fault.pointer, fault.detail, fault.cure] for fault in reading.faults],
        None if reading.changed_at is None else reading.changed_at.isoformat(),
    ]


def reading_of(said: object) -> Reading:
    """IllFormedError."""
    match said:
        case [
            str(key),
            dict(body),
            list(covered),
            (str() | None) as school,
            (int() | None) as year,
            (str() | None) as number,
            bool(deleted),
            list(faults),
            (str() | None) as changed,
        ] if not isinstance(year, bool):
            named = tuple(map(_fault_of, faults))
            return Reading(key, body, _texts(covered), school, year, number, deleted, named, _time_of(changed))
    raise IllFormedError("a record that is none")


def placed_of(said: object) -> Placed:
    match said:
        case [reading, str(place)]:
            return reading_of(reading), place
    raise IllFormedError("a record without a place")


def end_json(shown: Shown) -> Json:
    """What is known of a fetch once its records have ended."""
    pairs, columns = shown.coverage.pairs, shown.coverage.columns
    return {
        "complete": shown.complete,
        "failure": shown.failure,
        "pairs": None if pairs is None else sorted(pairs, key=str),
        "columns": None if columns is None else sorted(columns),
        "cursor": shown.cursor,
        "notes": shown.notes,
    }


def end_of(said: Mapping[str, object], shown: Shown) -> None:
    """Say of a fetch what is known of it now. IllFormedError."""
    match said:
        case {
            "complete": bool(complete),
            "failure": str(failure),
            "pairs": (list() | None) as pairs,
            "columns": (list() | None) as columns,
            "cursor": (str() | None) as cursor,
            "notes": list(notes),
        }:
            _texts(notes)
            covered = None if pairs is None else frozenset(map(_pair_of, pairs))
            shown.coverage = Coverage(covered, None if columns is None else _texts(columns))
            shown.complete, shown.failure, shown.cursor, shown.notes[:] = complete, failure, cursor, notes
        case _:
            raise IllFormedError("an end of a fetch that is none")


def standing_of(said: object) -> Standing:
    match said:
        case [reading, str(place), int(row)]:
            return Standing(reading_of(reading), place, row)
    raise IllFormedError("a record that stands nowhere")


def outcome_json(outcome: Outcome) -> Json:
    shown = None if outcome.shown is None else reading_json(outcome.shown)
    return {**asdict(outcome), "shown": shown}


def outcome_of(said: Mapping[str, object]) -> Outcome:
    match said:
        case {
            "result": str(result),
            "detail": str(detail),
            "shown": shown,
            "retry_after_seconds": (int() | float() | None) as seconds,
        } if result in get_args(Result):
            told: Result = result  # type: ignore[assignment]  # it is one of them
            return Outcome(told, detail, None if shown is None else reading_of(shown), seconds)
    raise IllFormedError("an outcome of a write that is none")


def abilities_of(said: object) -> Abilities:
    if not isinstance(said, dict) or sorted(said) != sorted(_ABILITIES):
        raise IllFormedError("abilities that are none")
    if not all(isinstance(each, bool) for each in said.values()):
        raise IllFormedError("abilities that are neither true nor false")
    return Abilities(**said)


def fields_of(said: object) -> Mapping[str, frozenset[str]]:
    """The members that each entity carries."""
    if not isinstance(said, dict):
        raise IllFormedError("entities that are none")
    return {entity: _texts(members) for entity, members in said.items()}


def listed(said: object) -> list[object]:
    if not isinstance(said, list):
        raise IllFormedError("a list that is none")
    return said


def _fault_of(said: object) -> Fault:
    match said:
        case [str(pointer), str(detail), str(cure)]:
            return Fault(pointer, detail, cure)
    raise IllFormedError("a fault that is none")


def _pair_of(said: object) -> tuple[str, int | None]:
    match said:
        case [str(school), (int() | None) as year] if not isinstance(year, bool):
            return school, year
    raise IllFormedError("a school and year that are none")


def _texts(said: object) -> frozenset[str]:
    if not isinstance(said, list) or len(said) > _TEXTS_MAX or not all(isinstance(each, str) for each in said):
        raise IllFormedError("texts that are none")
    return frozenset(said)


def _time_of(said: str | None) -> datetime | None:
    try:
        return None if said is None else datetime.fromisoformat(said)
    except ValueError as fault:
        raise IllFormedError("a time that is none") from fault
