"""Whether records may take part in a merge, by their entity's JSON Schema, their formatter's faults and their keys.

A record that fails is reported and left out, and never counts as deleted. Messages never repeat a value: records are
children's data.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

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
    """One record of one side, where it stands, and what is wrong with it: nothing, if it is valid."""

    reading: Reading
    place: str
    faults: tuple[Fault, ...]

    @property
    def valid(self) -> bool:
        return not self.faults


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


def verify(records: Iterable[tuple[Reading, str]], verifier: Verifier) -> list[Verified]:
    """Each record of one side with its place, judged; records of one key are all at fault."""
    read = list(records)
    places = _places_by_key(read)
    return [
        Verified(
            reading,
            place,
            (
                *reading.faults,
                *_unrepeated(verifier.faults(reading.body), reading.faults),
                *_twin_faults(index, places[reading.key]),
            ),
        )
        for index, (reading, place) in enumerate(read)
    ]


def _places_by_key(read: Sequence[tuple[Reading, str]]) -> Mapping[str, Sequence[tuple[int, str]]]:
    places: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for index, (reading, place) in enumerate(read):
        places[reading.key].extend([(index, place)] if reading.key else [])
    return places


def _twin_faults(index: int, places: Sequence[tuple[int, str]]) -> Iterator[Fault]:
    """The fault of a key that other records of the feed have too, naming where these stand."""
    others = [place for at, place in places if at != index] if len(places) > 1 else []
    if others:
        more = f" and {len(others) - OTHERS_NAMED_MAX} more" if len(others) > OTHERS_NAMED_MAX else ""
        named = ", ".join(others[:OTHERS_NAMED_MAX]) + more
        yield Fault("", f"its key is also that of {named}", "keep one of them, or give them keys of their own")


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
