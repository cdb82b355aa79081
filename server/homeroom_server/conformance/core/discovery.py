"""Who calls and what they may write: as it was given, and for the rest as the server's own catalogue says."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from homeroom_server.conformance.core.caller import Caller, Json
from homeroom_server.conformance.core.expectation import BrokenPromiseError
from homeroom_server.conformance.core.kind import Kind
from homeroom_server.conformance.core.world import World
from homeroom_server.refusal import RefusedError

_DEFAULT_BODY = {"text": "@text"}


class NotUsableError(RefusedError):
    """The suite cannot begin with what it was given."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command was told; what is None is found out, or does without."""

    key: str
    organization: str | None = None
    other_key: str | None = None
    other_organization: str | None = None
    reader_key: str | None = None
    types: Mapping[str, str | None] = field(default_factory=dict)
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    patience: float = 1.0
    body_bytes_max: int = 8 * 1024 * 1024


async def discover(http: httpx.AsyncClient, given: Given) -> World:
    """The world in which the cases run; raises NotUsableError if no case could."""
    try:
        return await _discover(http, given)
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        raise NotUsableError(f"{http.base_url} does not answer: {type(failure).__name__} {failure}") from failure
    except (BrokenPromiseError, KeyError, TypeError, ValueError, AttributeError) as failure:
        words = f"hello or the catalogue of {http.base_url} have not the form of the protocol"
        raise NotUsableError(f"{words}: {type(failure).__name__} {failure}") from failure


async def _discover(http: httpx.AsyncClient, given: Given) -> World:
    one = await _caller(http, given.key, given.organization)
    others = None if given.other_key is None else await _caller(http, given.other_key, given.other_organization)
    readers = None if given.reader_key is None else await _caller(http, given.reader_key, one.organization)
    answer = await one.ask("/v1/notification-types")
    if answer.status != 200:
        raise NotUsableError(f"the catalogue cannot be read: {answer}")
    types: dict[str, Json] = {each["name"]: each for each in answer.json()["notificationTypes"]}
    kinds: dict[str, Kind] = {}
    missing: dict[str, str] = {}
    for role in _ROLES:
        found = _find(role, given, types, {kind.type_name for kind in kinds.values()})
        if isinstance(found, Kind):
            kinds[role] = found
        else:
            missing[role] = found
    return World(one, others, readers, types, kinds, missing, given.patience, given.body_bytes_max)


async def _caller(http: httpx.AsyncClient, key: str, organization: str | None) -> Caller:
    answer = await Caller(http, key, organization).ask("/v1/hello")
    if answer.status != 200:
        raise NotUsableError(f"the key of {organization or 'the client'} does not open {http.base_url}: {answer}")
    represented = [each["code"] for each in answer.json()["organizations"]]
    if organization is None and len(represented) != 1:
        raise NotUsableError(f"a key opens several organisations, say for which it acts: {', '.join(represented)}")
    return Caller(http, key, organization or represented[0])


def _find(role: str, given: Given, types: Mapping[str, Json], taken: Collection[str]) -> Kind | str:
    """The type for a role, none that is taken, or in words what has to be given for there to be one."""
    asked = given.types.get(role)
    option = "--" + role.replace("_", "-")
    if asked is not None:
        definition = types.get(asked.partition(".")[0])
        if definition is None:
            raise NotUsableError(f"{option}: the server has no type {asked} (it has {', '.join(types)})")
        if not _has_body(definition, given):
            return f"{definition['name']} has a schema: give --bodies a body for it"
        return _kind(asked, definition, given)
    free = [each for each in types.values() if "source" not in each and each["name"] not in taken]
    fits = [each for each in free if _ROLES[role](each, given)]
    usable = [each for each in fits if _has_body(each, given)]
    if usable:
        with_status = {each.get("source") for each in types.values()}
        return _kind(None, max(usable, key=lambda each: each["name"] in with_status), given)
    if fits:
        names = ", ".join(each["name"] for each in fits)
        return f"every type that could be tried has a schema: give --bodies a body for one of {names}"
    if role == "enrolment_type":
        return f"give {option}, and --bodies a body for it that names @student and @school"
    return f"give {option}: no type of the catalogue could be taken for it"


def _kind(asked: str | None, definition: Json, given: Given) -> Kind:
    name = definition["name"]
    year = (asked or "").partition(".")[2]
    if not year and definition["schoolYear"] == "required":
        year = str(datetime.now(UTC).year)
    template = given.bodies.get(name, _DEFAULT_BODY)
    return Kind(f"{name}.{year}" if year else name, definition["idFormat"], template)


def _has_body(definition: Json, given: Given) -> bool:
    return definition["name"] in given.bodies or "schema" not in definition


def _is_usual(definition: Json, given: Given) -> bool:
    return (definition["audience"], definition["schoolYear"]) == ("owner", "none")


def _is_yearly(definition: Json, given: Given) -> bool:
    return (definition["audience"], definition["schoolYear"]) == ("owner", "required")


def _is_student(definition: Json, given: Given) -> bool:
    return (definition["audience"], definition.get("student")) == ("student", "@id")


def _is_enrolment(definition: Json, given: Given) -> bool:
    """Nothing in the catalogue says so: it is the type whose body was given with a student and a school to put in."""
    text = str(given.bodies.get(definition["name"], ""))
    return "@student" in text and ("@school" in text or "@organization" in text)


_ROLES = {
    "type": _is_usual,
    "student_type": _is_student,
    "enrolment_type": _is_enrolment,
    "year_type": _is_yearly,
}
