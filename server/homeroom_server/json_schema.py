"""JSON Schema: compiled so that messages never repeat a value, which may be somebody's data."""

from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs

from homeroom.errors import Fault

Validator = jsonschema_rs.Validator


class SchemaError(Exception):
    """What was given is no JSON Schema that can be used."""


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """A validator for a schema (draft as it names; formats are checked); raises SchemaError."""
    try:
        return jsonschema_rs.validator_for(dict(schema), validate_formats=True, mask="the value")
    except (ValueError, jsonschema_rs.ReferencingError) as fault:
        raise SchemaError(str(fault)) from fault


def schema_faults(validator: Validator, document: object, at: str = "") -> list[Fault]:
    """Every place where a document, itself found at the pointer `at`, does not match."""
    try:
        if validator.is_valid(document):
            return []
        return [Fault(at + _pointer(fault.instance_path), fault.message) for fault in validator.iter_errors(document)]
    except ValueError as too_deep:
        return [Fault(at, f"cannot be judged: {too_deep}")]


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
