"""Cases: statuses that the server calculates, and alerts that people answer."""

from homeroom.errors import Code
from homeroom_server.conformance.core.caller import Json, rejection
from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.exchange import Answer
from homeroom_server.conformance.core.expectation import NotTriedError, expect, must
from homeroom_server.conformance.core.world import World


async def _with_status(world: World) -> tuple[str, str, int, Json]:
    """A new record with its status: the status type, the id, the source's version, what Get says of the status."""
    _, status = world.status()
    since = await world.cursor(world.one, status)
    _, record_id, version = await world.new()
    await world.until_listed(world.one, status, since, record_id)
    return status, record_id, version, await world.one.record(status, record_id)


@case("protocol 5")
async def a_status_follows_its_source(world: World) -> None:
    """A record gets a status, with a later version of its own, that names the source version it was made from."""
    _, _, version, found = await _with_status(world)
    must(found["coreVersion"] > version, f"the status has {found['coreVersion']}, its source {version}: not later")
    expect("sourceVersion of the status", found.get("sourceVersion"), version)


@case("protocol 5")
async def a_status_brings_its_source(world: World) -> None:
    """Get embeds the source where knownSourceVersion is older or was not sent, and leaves it out where it is known."""
    status, record_id, version, _ = await _with_status(world)
    for known, brings in ((None, True), (version - 1, True), (version, False)):
        item = {"id": record_id} | ({} if known is None else {"knownSourceVersion": known})
        (found,) = (await world.one.get(status, item))["records"]
        words = f"whether the source {version} is embedded for knownSourceVersion {known}"
        expect(words, found.get("source") is not None, brings)
        if brings:
            expect("the version of the embedded source", found["source"]["coreVersion"], version)
            expect("the id of the embedded source", found["source"]["id"], record_id)


@case("protocol 5")
async def a_status_goes_and_comes_with_its_source(world: World) -> None:
    """Deleting a source deletes its status; undeleting brings it back."""
    status, record_id, version, found = await _with_status(world)
    kind = world.kind()
    at = found["coreVersion"]
    (gone,) = await world.one.write(kind.name, {"id": record_id, "expectedVersion": version, "deleted": True})
    at = await world.until_listed(world.one, status, at, record_id, above=at)
    expect("deleted, of the status of a deleted record", (await world.one.record(status, record_id))["deleted"], True)
    await world.one.write(kind.name, kind.record(record_id, "b", gone))
    await world.until_listed(world.one, status, at, record_id, above=at)
    found = await world.one.record(status, record_id)
    expect("deleted, of the status of a record that came back", found["deleted"], False)


@case("protocol 6")
async def an_alert_is_acknowledged(world: World) -> None:
    """An alert of a status is put into another state by its code and arguments, and the status takes a new version."""
    status, record_id, _, found = await _with_status(world)
    alert = _first_alert(world, found)
    answer = await world.one.post(f"/v1/acknowledge/{status}", _word_on(record_id, alert))
    result = answer.document()
    expect("the rejections of an acknowledgement", result["rejections"], [])
    must(result["coreVersion"] > found["coreVersion"], f"the status took no new version: {result}")
    (now,) = [each for each in (await world.one.record(status, record_id))["body"]["alerts"] if _same(each, alert)]
    expect("the state of the alert afterwards", now["acknowledgement"]["state"], "InProgress")


@case("protocol 6")
async def an_alert_is_found_by_its_arguments(world: World) -> None:
    """An acknowledgement with other arguments than the alert's is rejected with 12002."""
    status, record_id, _, found = await _with_status(world)
    word = _word_on(record_id, _first_alert(world, found)) | {"arguments": {"Conformance": "other"}}
    answer = await world.one.post(f"/v1/acknowledge/{status}", word)
    rejection(answer.document(), Code.ARGUMENTS_DIFFER)


@case("protocol 6")
async def no_alert_cannot_be_acknowledged(world: World) -> None:
    """An alert that the status does not carry is rejected with 12001; a type that is no status is refused with 3005."""
    status, record_id, _, _ = await _with_status(world)
    word = {"id": record_id, "alertCode": 1, "arguments": {}, "state": "InProgress"}
    answer: Answer = await world.one.post(f"/v1/acknowledge/{status}", word)
    rejection(answer.document(), Code.NO_SUCH_ALERT)
    (await world.one.post(f"/v1/acknowledge/{world.kind().name}", word)).refused(Code.UNKNOWN_TYPE)


@case("protocol 6")
async def a_foreign_status_cannot_be_acknowledged(world: World) -> None:
    """Who may not see a status is rejected with 9020, in place of what is wrong with the alert."""
    status, record_id, _, _ = await _with_status(world)
    word = {"id": record_id, "alertCode": 1, "arguments": {}, "state": "InProgress"}
    result = (await world.other.post(f"/v1/acknowledge/{status}", word)).document()
    expect("the codes for a foreign status", [each["code"] for each in result["rejections"]], [9020])


def _first_alert(world: World, status: Json) -> Json:
    alerts: list[Json] = status["body"]["alerts"]
    if not alerts:
        raise NotTriedError(f"give --bodies a body of {world.kind().type_name} whose status carries an alert")
    return alerts[0]


def _word_on(record_id: str, alert: Json) -> Json:
    return {"id": record_id, "alertCode": alert["alertCode"], "arguments": alert["arguments"], "state": "InProgress"}


def _same(one: Json, other: Json) -> bool:
    return bool(one["alertCode"] == other["alertCode"] and one["arguments"] == other["arguments"])
