"""Cases: what is too much is refused, and said by which limit."""

from collections import Counter

import orjson

from homeroom.errors import Code
from homeroom.protocol import JSON_DEPTH_MAX, RECORDS_PER_CALL_MAX, TYPES_PER_CALL_MAX
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect
from homeroom_server.conformance.core.world import World


@case("protocol 6")
async def too_many_records_are_refused(world: World) -> None:
    """Submit and Get take up to 5,000 records and refuse more with 413 and 3003."""
    kind = world.kind()
    ids = [kind.new_id() for _ in range(RECORDS_PER_CALL_MAX + 1)]
    answer = await world.one.post(f"/v1/get/{kind.name}", {"records": [{"id": record_id} for record_id in ids]})
    answer.refused(Code.TOO_LARGE)
    records = [kind.record(record_id, "a") for record_id in ids]
    (await world.one.post(f"/v1/submit/{kind.name}", {"records": records})).refused(Code.TOO_LARGE)


@case("protocol 5")
async def as_many_records_as_allowed_are_taken(world: World) -> None:
    """Get takes 5,000 items in one call and answers each."""
    kind = world.kind()
    answer = await world.one.get(kind.name, *[{"id": kind.new_id()} for _ in range(RECORDS_PER_CALL_MAX)])
    said = Counter(found["availability"] for found in answer["records"])
    expect("what Get says of 5,000 ids that nobody has", said, {"Unknown": RECORDS_PER_CALL_MAX})


@case("protocol 3")
async def too_many_types_are_refused(world: World) -> None:
    """Is Data Available takes up to 64 types and refuses more with 413 and 3003."""
    entries = [{"notificationType": f"Type{place}", "maxCoreVersion": 0} for place in range(TYPES_PER_CALL_MAX + 1)]
    answer = await world.one.post("/v1/is-data-available", {"waitSeconds": 0, "types": entries})
    answer.refused(Code.TOO_LARGE)


@case("protocol 2")
async def empty_lists_are_refused(world: World) -> None:
    """A call that asks for nothing is refused with 400 and 3001."""
    name = world.kind().name
    (await world.one.post(f"/v1/submit/{name}", {"records": []})).refused(Code.NOT_OF_SCHEMA)
    (await world.one.post(f"/v1/get/{name}", {"records": []})).refused(Code.NOT_OF_SCHEMA)
    (await world.one.post("/v1/is-data-available", {"types": []})).refused(Code.NOT_OF_SCHEMA)


@case("protocol 2")
async def too_large_a_body_is_refused(world: World) -> None:
    """A body over the server's limit (--body-bytes-max) is refused with 413 and 3003."""
    body = b'{"records": [' + b" " * world.body_bytes_max + b"]}"
    (await world.one.send("POST", f"/v1/submit/{world.kind().name}", body)).refused(Code.TOO_LARGE)


@case("protocol 2")
async def too_deep_a_body_is_refused(world: World) -> None:
    """A record's body that is nested more than 64 deep is refused with 400 and 3002."""
    kind = world.kind()
    deep = b'{"a":' * (JSON_DEPTH_MAX + 1) + b"1" + b"}" * (JSON_DEPTH_MAX + 1)
    record_id = orjson.dumps(kind.new_id())
    body = b'{"records": [{"id": ' + record_id + b', "expectedVersion": 0, "body": ' + deep + b"}]}"
    (await world.one.send("POST", f"/v1/submit/{kind.name}", body)).refused(Code.NOT_STRUCTURED)
