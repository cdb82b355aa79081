"""Cases: who is let in."""

import secrets

from homeroom.errors import Code
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect
from homeroom_server.conformance.core.world import World

_NOBODYS = "S.NoSuchSchool0000"


@case("protocol 2")
async def a_call_without_a_key_is_refused(world: World) -> None:
    """A call without a key is refused with 401 and 1001."""
    answer = await world.one.send("GET", "/v1/hello", headers={"Authorization": ""})
    answer.refused(Code.NO_SUCH_KEY)


@case("protocol 2")
async def an_unknown_key_is_refused(world: World) -> None:
    """A key that does not exist is refused with 401 and 1001."""
    answer = await world.one.send("GET", "/v1/hello", headers={"Authorization": f"Bearer {secrets.token_urlsafe(32)}"})
    answer.refused(Code.NO_SUCH_KEY)


@case("protocol 2")
async def a_foreign_organization_is_refused(world: World) -> None:
    """A client that names an organisation which it does not represent is refused with 403 and 1008."""
    answer = await world.one.ask("/v1/hello", headers={"Organization": world.other.organization})
    answer.refused(Code.ORGANIZATION_NOT_REPRESENTED)


@case("protocol 2")
async def who_is_registered_is_not_told(world: World) -> None:
    """An organisation of others is refused in the words of one that does not exist."""
    theirs = await world.one.ask("/v1/hello", headers={"Organization": world.other.organization})
    nobodys = await world.one.ask("/v1/hello", headers={"Organization": _NOBODYS})
    told = theirs.refused(Code.ORGANIZATION_NOT_REPRESENTED)
    not_told = nobodys.refused(Code.ORGANIZATION_NOT_REPRESENTED)
    for member in ("title", "detail"):
        said = str(not_told.get(member)).replace(_NOBODYS, world.other.organization)
        expect(f"the {member} for an organisation that does not exist", said, str(told.get(member)))


@case("protocol 2")
async def a_reader_may_not_write(world: World) -> None:
    """A client whose role does not include Submit is refused there with 403 and 1007, and nothing is written."""
    kind = world.kind()
    record_id = kind.new_id()
    answer = await world.reader.post(f"/v1/submit/{kind.name}", {"records": [kind.record(record_id, "a")]})
    answer.refused(Code.SERVICE_NOT_OPEN)
    expect("what Get says of its record", (await world.one.record(kind.name, record_id))["availability"], "Unknown")
