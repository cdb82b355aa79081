"""Cases: how what is wrong with a request is said."""

from homeroom.errors import Code
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.exchange import Answer
from homeroom_server.conformance.core.expectation import expect, must
from homeroom_server.conformance.core.kind import NO_ID
from homeroom_server.conformance.core.world import World

_NO_TYPE = "NoSuchTypeOfConformance"
_AVAILABLE = "/v1/is-data-available"


async def _refused_calls(world: World) -> list[Answer]:
    """One refusal of each kind that a client can bring about."""
    name = world.kind().name
    return [
        await world.one.send("GET", "/v1/hello", headers={"Authorization": ""}),
        await world.one.post(f"/v1/get/{_NO_TYPE}", {"records": [{"id": "a"}]}),
        await world.one.send("POST", f"/v1/get/{name}", b"{"),
        await world.one.post(f"/v1/get/{name}", {}),
        await world.one.post(_AVAILABLE, {"types": [{"notificationType": name, "maxCoreVersion": 2**53 - 1}]}),
    ]


@case("protocol 2")
async def refusals_are_problem_documents(world: World) -> None:
    """Errors are application/problem+json with code, title, detail, action and errors."""
    for answer in await _refused_calls(world):
        content_type = answer.headers.get("content-type", "").partition(";")[0]
        expect(f"the content type of the refused {answer.request}", content_type, "application/problem+json")
        problem = answer.json()
        for member, kind in (("code", int), ("title", str), ("detail", str), ("errors", list)):
            must(isinstance(problem.get(member), kind), f"the problem of {answer.request} has no {member}: {problem}")


@case("protocol 2")
async def refusals_say_what_to_do(world: World) -> None:
    """The problem's action is stop for a key, fix for a request, resync for a version of another history."""
    actions = [answer.json().get("action") for answer in await _refused_calls(world)]
    expect("the actions of five refusals", actions, ["stop", "fix", "fix", "fix", "resync"])


@case("protocol 2")
async def every_fault_is_told(world: World) -> None:
    """All that is wrong with a request is told at once, each with a pointer."""
    name = world.kind().name
    wrong = [{"id": 5, "expectedVersion": 0, "body": {}}, {"id": world.kind().new_id(), "expectedVersion": -1}]
    answer = await world.one.post(f"/v1/submit/{name}", {"records": wrong})
    pointers = {fault["pointer"] for fault in answer.refused(Code.NOT_OF_SCHEMA)["errors"]}
    for wanted in ("/records/0/id", "/records/1/expectedVersion"):
        must(wanted in pointers, f"errors do not point at {wanted}, but at {sorted(pointers)}")


@case("protocol 2")
async def what_is_no_json_is_refused(world: World) -> None:
    """A body that is no JSON is refused with 400 and 3002."""
    for path in (f"/v1/submit/{world.kind().name}", f"/v1/get/{world.kind().name}", _AVAILABLE):
        (await world.one.send("POST", path, b'{"records": [')).refused(Code.NOT_STRUCTURED)


@case("protocol 2")
async def unknown_members_are_refused(world: World) -> None:
    """A member that the protocol does not know is refused with 400 and 3001, at the top and inside."""
    kind = world.kind()
    item = {"id": kind.new_id()}
    answer = await world.one.post(f"/v1/get/{kind.name}", {"records": [item], "surprise": 1})
    answer.refused(Code.NOT_OF_SCHEMA)
    answer = await world.one.post(f"/v1/get/{kind.name}", {"records": [item | {"surprise": 1}]})
    answer.refused(Code.NOT_OF_SCHEMA)


@case("protocol 2")
async def unknown_types_are_refused(world: World) -> None:
    """A notification type that does not exist is refused with 400 and 3005, by every service."""
    records = {"records": [world.kind().record("a", "a")]}
    (await world.one.post(f"/v1/submit/{_NO_TYPE}", records)).refused(Code.UNKNOWN_TYPE)
    (await world.one.post(f"/v1/get/{_NO_TYPE}", {"records": [{"id": "a"}]})).refused(Code.UNKNOWN_TYPE)
    (await world.one.ask(f"/v1/snapshot/{_NO_TYPE}")).refused(Code.UNKNOWN_TYPE)
    asked = {"waitSeconds": 0, "types": [{"notificationType": _NO_TYPE, "maxCoreVersion": 0}]}
    (await world.one.post(_AVAILABLE, asked)).refused(Code.UNKNOWN_TYPE)


@case("protocol 2")
async def a_missing_school_year_is_refused(world: World) -> None:
    """A type that takes a school year is refused without one, with 400 and 3008."""
    kind = world.kind("year_type")
    answer = await world.one.post(f"/v1/get/{kind.type_name}", {"records": [{"id": kind.new_id()}]})
    answer.refused(Code.YEAR_MISSING)


@case("protocol 2")
async def an_unexpected_school_year_is_refused(world: World) -> None:
    """A type that takes no school year is refused with one, with 400 and 3006."""
    kind = next((each for each in world.types.values() if each["schoolYear"] == "none"), None)
    name = world.kind().type_name if kind is None else kind["name"]
    (await world.one.post(f"/v1/get/{name}.2027", {"records": [{"id": "a"}]})).refused(Code.UNEXPECTED_YEAR)


@case("protocol 2")
async def ids_of_the_wrong_form_are_refused(world: World) -> None:
    """An id that is not of the type's format is refused with 400 and 3001, with a pointer to it."""
    kind = world.kind()
    answer = await world.one.post(f"/v1/get/{kind.name}", {"records": [{"id": kind.new_id()}, {"id": NO_ID}]})
    pointers = [fault["pointer"] for fault in answer.refused(Code.NOT_OF_SCHEMA)["errors"]]
    expect("the pointers to ids of the wrong form", pointers, ["/records/1/id"])


@case("protocol 2")
async def an_id_named_twice_is_refused(world: World) -> None:
    """The same id twice in one call is refused with 400 and 3002, with a pointer, and nothing is written."""
    kind = world.kind()
    record_id = kind.new_id()
    twice = [kind.record(record_id, "a"), kind.record(record_id, "b")]
    answer = await world.one.post(f"/v1/submit/{kind.name}", {"records": twice})
    pointers = [fault["pointer"] for fault in answer.refused(Code.NOT_STRUCTURED)["errors"]]
    expect("the pointers to what is named twice", pointers, ["/records/1/id"])
    expect("what Get says of it", (await world.one.record(kind.name, record_id))["availability"], "Unknown")


@case("protocol 3")
async def a_type_named_twice_is_refused(world: World) -> None:
    """The same type twice in one call of Is Data Available is refused with 400 and 3002."""
    entry = {"notificationType": world.kind().name, "maxCoreVersion": 0}
    answer = await world.one.post(_AVAILABLE, {"waitSeconds": 0, "types": [entry, entry]})
    answer.refused(Code.NOT_STRUCTURED)


@case("protocol 3")
async def a_wrong_wait_is_refused(world: World) -> None:
    """A wait below 0 or above 300 seconds is refused with 400 and 3007."""
    entry = {"notificationType": world.kind().name, "maxCoreVersion": 0}
    for seconds in (-1, 301):
        answer = await world.one.post(_AVAILABLE, {"waitSeconds": seconds, "types": [entry]})
        answer.refused(Code.INVALID_WAIT)
