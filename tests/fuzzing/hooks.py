"""What the tests of the interface must know beyond /openapi.json: how long to wait, and which refusals are right."""

import re
from collections.abc import Mapping
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import IgnoredAuth, RejectedPositiveData

from homeroom.errors import Code
from homeroom.protocol import WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX

_OF_THE_CATALOGUE = {Code.UNKNOWN_TYPE, Code.UNEXPECTED_YEAR, Code.YEAR_MISSING}
_BEYOND_SCHEMAS = re.compile("the same as |ranges ascend|is not a UUID|this Idempotency-Key came before")
"""Faults between two entries of a list or two calls, and forms of ids that only some types have."""


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: Any) -> None:
    """The longest wait takes a second, all others none."""
    body = case.body
    if isinstance(body, dict) and "types" in body:
        wait = body.get("waitSeconds", WAIT_SECONDS_DEFAULT)
        if type(wait) is int and 0 <= wait <= WAIT_SECONDS_MAX:
            case.body = {**body, "waitSeconds": int(wait == WAIT_SECONDS_MAX)}


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Drop what is no failure: refusals that are right, though a check expects another or none."""
    problem = _problem(response)
    code = problem.get("code")
    if isinstance(failure, ServerError):
        return code != Code.NODE_BEHIND  # of a version that another type has
    if isinstance(failure, IgnoredAuth):
        return "got `429 " not in failure.message  # an address that has sent unknown keys again and again
    if isinstance(failure, AcceptedNegativeData):
        return code != Code.TOO_LARGE  # a list may be too long by its schema and by its limit
    if isinstance(failure, RejectedPositiveData):
        return code not in _OF_THE_CATALOGUE and not _says_what_no_schema_can(problem)
    return True


def _says_what_no_schema_can(problem: Mapping[str, Any]) -> bool:
    details = [fault["detail"] for fault in problem.get("errors", [])] or [problem.get("detail", "")]
    return all(_BEYOND_SCHEMAS.match(detail) for detail in details)


def _problem(response: Response) -> Mapping[str, Any]:
    """What an answer says of a refusal; empty where it is none."""
    if response.headers.get("content-type") != ["application/problem+json"]:
        return {}
    problem: Mapping[str, Any] = response.json()
    return problem
