"""Whether records may take part in a merge, by their entity's JSON Schema, their formatter's faults and their keys.

A record that fails is reported and left out, and never counts as deleted. Messages never repeat a value: records are
children's data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from homeroom_merge.erased import NOBODY, Erased
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.records import Fault
from homeroom_merge.shape import Shape
from homeroom_merge.values import Json

OTHERS_NAMED_MAX = 3
_CURES = {
    "required": "fill it in where the record comes from",
    "enum": "use a word of the list, or map the source's word to one",
    "format": "give it in the form that the schema names",
    "pattern": "give it in the form that the schema names",
    "type": "give it as the type that the schema names",
    "propertyNames": "rename the member: letters and digits, a small letter first, and no passwords",
}


class SchemaError(Exception):
    """What was given as an entity's schema is no JSON Schema that can be used."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One record of one side, where it stands, and what is wrong with it: nothing, if it is valid.

    `refused`: it is an erased student's, and nothing of it may be kept.
    """

    reading: Reading
    place: str
    faults: tuple[Fault, ...] = ()
    refused: bool = False

    @property
    def valid(self) -> bool:
        return not self.faults and not self.refused


class Verifier:
    """An entity's schema, ready for use. `carried`: the members that the side carries at all (None: all).

    A required member that a feed has no column for is no fault of its records: it is not covered.
    """

    def __init__(self, schema: Mapping[str, Any], carried: frozenset[str] | None = None) -> None:
        """Raises SchemaError."""
        required = [name for name in schema.get("required", ()) if carried is None or name in carried]
        judged = {**schema, "required": required}
        try:
            self._validator = jsonschema_rs.validator_for(judged, validate_formats=True, mask="the value")
            self._shape = Shape.of(schema)
        except (ValueError, jsonschema_rs.ReferencingError) as fault:
            raise SchemaError(str(fault)) from fault

    def faults(self, body: Json) -> list[Fault]:
        """Every place where a body does not match the schema, or has a list item without a key of its own."""
        try:
            if self._validator.is_valid(body):
                return self._shape.faults(body)
            found = [
                Fault(_pointer(fault.instance_path), fault.message, _cure(fault.schema_path))
                for fault in self._validator.iter_errors(body)
            ]
        except ValueError:
            return [Fault("", "it cannot be judged: it is nested too deeply, or holds what is no JSON")]
        return [*found, *self._shape.faults(body)]


@dataclass(frozen=True, slots=True)
class Screen:
    """What the records of one side of an entity are held against: who was erased, then the schema."""

    verifier: Verifier
    erased: Erased


def verify(records: Iterable[tuple[Reading, str]], verifier: Verifier, erased: Erased = NOBODY) -> list[Verified]:
    """Each record of the SIS with its place, judged by itself; those of one key are `twin_faults`."""
    return [
        Verified(reading, place, refused=True)
        if erased.in_sis(reading)
        else Verified(reading, place, (*reading.faults, *_unrepeated(verifier.faults(reading.body), reading.faults)))
        for reading, place in records
    ]


def twin_faults(places: Sequence[str]) -> Iterator[Fault]:
    """The fault of each record of one key, in the order of their places, naming where the others stand."""
    named = [*places[: OTHERS_NAMED_MAX + 1]]
    for index in range(len(places)):
        others = [place for at, place in enumerate(named) if at != index][:OTHERS_NAMED_MAX]
        left = len(places) - 1 - len(others)
        more = f" and {left} more" if left else ""
        cure = "keep one of them, or give them keys of their own"
        yield Fault("", f"its key is also that of {', '.join(others)}{more}", cure)


def _unrepeated(found: Iterable[Fault], known: Sequence[Fault]) -> Iterator[Fault]:
    """Without the members said to be missing that are missing because the formatter could not read them."""
    unread = [fault.pointer.split("/")[1] for fault in known if fault.pointer]
    for fault in found:
        if not (fault.pointer == "" and any(fault.detail.startswith(f'"{name}" ') for name in unread)):
            yield fault


def _cure(schema_path: Sequence[str | int]) -> str:
    return next((_CURES[str(part)] for part in reversed(schema_path) if str(part) in _CURES), "")


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
