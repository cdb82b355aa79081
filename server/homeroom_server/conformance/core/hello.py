"""Cases: who calls, what there is, and the history that every answer names."""

from homeroom_server.conformance.core.case import case
from homeroom_server.conformance.core.exchange import EPOCH_HEADER
from homeroom_server.conformance.core.expectation import expect, must
from homeroom_server.conformance.core.world import World

_EMPTY_RANGE = {"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}


@case("protocol 7")
async def hello_says_who_calls(world: World) -> None:
    """Hello names the client, the organisations it represents, the epoch and the server's time."""
    said = (await world.one.ask("/v1/hello")).document()
    for member in ("client", "organizations", "epoch", "serverTime"):
        must(said.get(member), f"hello has no {member}")
    codes = [each["code"] for each in said["organizations"]]
    must(world.one.organization in codes, f"hello does not list {world.one.organization} among {codes}")


@case("protocol 7")
async def the_catalogue_lists_the_types(world: World) -> None:
    """The catalogue gives each type a name, its rule for school years and the format of its ids."""
    listed = (await world.one.ask("/v1/notification-types")).document()["notificationTypes"]
    must(listed, "the catalogue is empty")
    for definition in listed:
        for member in ("name", "schoolYear", "idFormat", "audience"):
            must(definition.get(member), f"the type {definition.get('name')} has no {member}")
        must(
            definition["schoolYear"] in ("required", "none", "optional"),
            f"{definition['name']}: schoolYear is {definition['schoolYear']}, not required, none or optional",
        )


@case("protocol 2")
async def every_answer_names_the_epoch(world: World) -> None:
    """Every answer of a service carries Homeroom-Epoch, and it is the one that hello names."""
    name = world.kind().name
    cursor = await world.cursor(world.one, name)
    hello = await world.one.ask("/v1/hello")
    asked = {"notificationType": name, "maxCoreVersion": 0}
    answers = [
        hello,
        await world.one.ask("/v1/notification-types"),
        await world.one.post("/v1/is-data-available", {"waitSeconds": 0, "types": [asked]}),
        await world.one.post(f"/v1/get/{name}", {"records": [{"id": world.kind().new_id()}]}),
        await world.one.post(f"/v1/reconcile/{name}", {"maxCoreVersion": 0, "ranges": [_EMPTY_RANGE]}),
        await world.one.ask(f"/v1/snapshot/{name}?after={cursor}"),
    ]
    for answer in answers:
        expect(f"Homeroom-Epoch of {answer.request}", answer.headers.get(EPOCH_HEADER), hello.document()["epoch"])
