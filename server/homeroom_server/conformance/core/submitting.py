"""Cases: what Submit accepts, and what becomes of it."""

import uuid

from homeroom.errors import Code
from homeroom.protocol import CORE_VERSION_MAX
from homeroom_server.conformance.core.caller import rejection
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.expectation import expect, expect_rising, must
from homeroom_server.conformance.core.world import World


@case("protocol 6")
async def a_new_record_is_accepted(world: World) -> None:
    """A new record takes expected version 0 and gets a version; Get then shows it, body and all."""
    kind, record_id, version = await world.new("a")
    must(0 < version <= CORE_VERSION_MAX, f"the version {version} is not between 1 and 2^53 - 1")
    found = await world.one.record(kind.name, record_id)
    expect("what Get says of a new record", found["availability"], "Normal")
    expect("the version that Get shows", found["coreVersion"], version)
    expect("the body that Get shows", found["body"], kind.record(record_id, "a")["body"])


@case("protocol 6")
async def an_update_takes_the_expected_version(world: World) -> None:
    """An update with the record's version is accepted with a higher one, and Get shows its body."""
    kind, record_id, version = await world.new("a")
    (updated,) = await world.one.write(kind.name, kind.record(record_id, "b", version))
    expect_rising("a record and its update", [version, updated])
    found = await world.one.record(kind.name, record_id)
    expect("the version after an update", found["coreVersion"], updated)
    expect("the body after an update", found["body"], kind.record(record_id, "b")["body"])


@case("protocol 6")
async def a_stale_version_is_rejected(world: World) -> None:
    """An update with an old version is rejected with 3004, which tells the version sent and the record's."""
    kind, record_id, first = await world.new("a")
    (second,) = await world.one.write(kind.name, kind.record(record_id, "b", first))
    said = await world.one.rejected(kind.name, kind.record(record_id, "c", first), Code.VERSION_MISMATCH)
    told = {member: said.get(member) for member in ("expectedVersion", "coreVersion")}
    expect("the versions told by rejection 3004", told, {"expectedVersion": first, "coreVersion": second})
    found = await world.one.record(kind.name, record_id)
    expect("the version after a rejected update", found["coreVersion"], second)
    expect("the body after a rejected update", found["body"], kind.record(record_id, "b")["body"])


@case("protocol 6")
async def a_new_record_with_a_version_is_rejected(world: World) -> None:
    """A version is expected of a record that does not exist: rejected with 3004, and nothing is written."""
    kind = world.kind()
    record_id = kind.new_id()
    await world.one.rejected(kind.name, kind.record(record_id, "a", version=1), Code.VERSION_MISMATCH)
    expect("what Get says of it", (await world.one.record(kind.name, record_id))["availability"], "Unknown")


@case("protocol 6")
async def each_record_stands_alone(world: World) -> None:
    """Of the records of one call those that are right are stored, those that are wrong are rejected."""
    kind = world.kind()
    right, wrong = kind.new_id(), kind.new_id()
    results = await world.one.submit(kind.name, kind.record(wrong, "a", version=1), kind.record(right, "a"))
    rejection(results[0], Code.VERSION_MISMATCH)
    expect("the rejections of the record that is right", results[1]["rejections"], [])
    expect("what Get says of the right one", (await world.one.record(kind.name, right))["availability"], "Normal")
    expect("what Get says of the wrong one", (await world.one.record(kind.name, wrong))["availability"], "Unknown")


@case("protocol 6")
async def results_come_in_the_order_sent(world: World) -> None:
    """The results of Submit come in the order of its records."""
    kind = world.kind()
    ids = sorted((kind.new_id() for _ in range(8)), reverse=True)
    results = await world.one.submit(kind.name, *[kind.record(record_id, "a") for record_id in ids])
    expect("the ids of the results", [result["id"] for result in results], ids)


@case("protocol 6")
async def an_update_that_changes_nothing_is_rejected(world: World) -> None:
    """An update that leaves the record as it is is rejected with 9023, and the version stays."""
    kind, record_id, version = await world.new("a")
    await world.one.rejected(kind.name, kind.record(record_id, "a", version), Code.CHANGES_NOTHING)
    expect("the version afterwards", (await world.one.record(kind.name, record_id))["coreVersion"], version)


@case("protocol 6")
async def a_deleted_record_keeps_its_body(world: World) -> None:
    """A delete without a body is accepted; Get answers Normal, with deleted true and the last body."""
    kind, record_id, version = await world.new("a")
    (gone,) = await world.one.write(kind.name, {"id": record_id, "expectedVersion": version, "deleted": True})
    expect_rising("a record and its delete", [version, gone])
    found = await world.one.record(kind.name, record_id)
    said = {member: found.get(member) for member in ("availability", "deleted", "coreVersion", "body")}
    last = kind.record(record_id, "a")["body"]
    wanted = {"availability": "Normal", "deleted": True, "coreVersion": gone, "body": last}
    expect("what Get says of a deleted record", said, wanted)


@case("protocol 6")
async def a_deleted_record_comes_back(world: World) -> None:
    """A deleted record is undeleted with its version, or with 0."""
    kind, record_id, version = await world.new("a")
    for expected in (None, 0):
        delete = {"id": record_id, "expectedVersion": version, "deleted": True}
        (gone,) = await world.one.write(kind.name, delete)
        back = kind.record(record_id, "a", gone if expected is None else expected)
        (version,) = await world.one.write(kind.name, back)
        found = await world.one.record(kind.name, record_id)
        expect("deleted, of a record that was undeleted", found["deleted"], False)


@case("protocol 6")
async def a_foreign_record_cannot_be_written(world: World) -> None:
    """Who may not see a record is rejected with 9020 and nothing else, whatever version it names."""
    kind, record_id, version = await world.new("a")
    for expected in (0, version):
        (result,) = await world.other.submit(kind.name, kind.record(record_id, "b", expected))
        expect("the codes for a foreign record", [each["code"] for each in result["rejections"]], [9020])
        expect("the version told for a foreign record", result["coreVersion"], 0)
    expect("its version afterwards", (await world.one.record(kind.name, record_id))["coreVersion"], version)


@case("protocol 6")
async def a_record_cannot_be_given_to_others(world: World) -> None:
    """A new record whose owner is an organisation of others is rejected with 9020."""
    kind = world.kind()
    record = kind.record(kind.new_id(), "a") | {"organization": world.other.organization}
    await world.one.rejected(kind.name, record, Code.NOT_AUTHORIZED_FOR_RECORD)


@case("protocol 6")
async def a_closed_school_year_is_rejected(world: World) -> None:
    """A record of a school year that is not open for writing is rejected with 9030."""
    kind = world.kind("year_type").in_year(1900)
    await world.one.rejected(kind.name, kind.record(kind.new_id(), "a"), Code.YEAR_NOT_OPEN)


@case("protocol 6")
async def an_id_keeps_its_school_year(world: World) -> None:
    """An id that exists under one school year is rejected with 3006 under another."""
    kind, record_id, _ = await world.new("a", "year_type")
    before = kind.in_year(int(kind.name.rpartition(".")[2]) - 1)
    await world.one.rejected(before.name, kind.record(record_id, "a"), Code.UNEXPECTED_YEAR)


@case("protocol 6")
async def a_body_that_fails_its_schema_is_rejected(world: World) -> None:
    """A body that fails the JSON Schema of its type is rejected with 9040 and pointers, and nothing is written."""
    kind = world.schema_kind()
    record_id = kind.new_id()
    said = await world.one.rejected(kind.name, {"id": record_id, "expectedVersion": 0, "body": {}}, 9040)
    must(said.get("errors"), "the rejection 9040 does not point at what is wrong")
    must("pointer" in said["errors"][0], f"the first error of rejection 9040 has no pointer: {said['errors'][0]}")
    expect("what Get says of it", (await world.one.record(kind.name, record_id))["availability"], "Unknown")


@case("protocol 6")
async def a_status_cannot_be_submitted(world: World) -> None:
    """Submit to a status type is refused with 400 and 3005."""
    kind, status = world.status()
    answer = await world.one.post(f"/v1/submit/{status}", {"records": [kind.record(kind.new_id(), "a")]})
    answer.refused(Code.UNKNOWN_TYPE)


@case("protocol 6")
async def a_repeated_call_gets_the_first_answer(world: World) -> None:
    """The same call with the same Idempotency-Key is answered as the first time, and writes nothing more."""
    kind = world.kind()
    record = kind.record(kind.new_id(), "a")
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = await world.one.submit(kind.name, record, headers=headers)
    again = await world.one.submit(kind.name, record, headers=headers)
    expect("the answer to the repeated call", again, first)
    found = await world.one.record(kind.name, record["id"])
    expect("the version after the repeated call", found["coreVersion"], first[0]["coreVersion"])


@case("protocol 6")
async def an_idempotency_key_is_for_one_body(world: World) -> None:
    """Another body under the same Idempotency-Key is refused with 400 and 3002."""
    kind = world.kind()
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    await world.one.submit(kind.name, kind.record(kind.new_id(), "a"), headers=headers)
    other = {"records": [kind.record(kind.new_id(), "b")]}
    (await world.one.post(f"/v1/submit/{kind.name}", other, headers)).refused(Code.NOT_STRUCTURED)
