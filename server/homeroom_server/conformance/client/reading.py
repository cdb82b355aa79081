"""Cases of a client that reads: loading, following, what Get stops at, access, repair."""

from functools import partial

from homeroom_server.conformance.client.answering import Answer
from homeroom_server.conformance.client.case import Case, change, enrolment, loaded, order, record_id, stored, written
from homeroom_server.conformance.client.scripted_core import STATUS
from homeroom_server.conformance.client.stage import Call, Stage

_CUT = 3
"""Where the scripted Core cuts a list, in place of 150,000."""
_HOT_STOPS_MAX = 8
_HOT_MOVES_MAX = 12


async def first_load(stage: Stage) -> None:
    """The list, or the snapshot, is cut; before it goes on, one record is deleted and one changed."""
    pages = 0

    def meanwhile(call: Call) -> Answer | None:
        nonlocal pages
        pages += call.service in ("is-data-available", "snapshot")
        if pages == 2 and call.service in ("is-data-available", "snapshot"):
            stage.core.write(record_id(1), state="deleted")
            change(stage, 2)
        return None

    stage.core.listed_max = stage.core.snapshot_max = _CUT
    stage.interrupt = meanwhile
    for number in range(1, 8):
        change(stage, number, 5)
    stage.begin()
    await stage.in_step("it loads what comes in several pages, a deletion and a change meanwhile among it")


async def delta(stage: Stage) -> None:
    await loaded(stage, 4)
    stage.core.listed_max = _CUT
    for number in (1, 2, 2, 5, 6):
        change(stage, number, 6 + stage.core.counter)
    await stage.in_step(f"it brings two new and two changed records, listed {_CUT} at a time")


async def wait_ends(stage: Stage) -> None:
    await loaded(stage, 2)
    for _ in range(2):
        await stage.held()
        bookmark, calls = stage.core.pass_by(), len(stage.calls)
        stage.end_waits()
        await stage.until(
            partial(_asks_with, stage, bookmark, calls),
            f"when a wait ends with nothing new it asks again, with the maxCoreVersion {bookmark} that it was told",
        )


def _asks_with(stage: Stage, cursor: int, calls: int) -> bool:
    asked = [entry for call in stage.calls[calls:] for entry in call.body.get("types", ())]
    return any(entry["maxCoreVersion"] == cursor for entry in asked)


async def change_during_wait(stage: Stage) -> None:
    await loaded(stage, 2)
    for number in (1, 3):
        await stage.held()
        change(stage, number)
        await stage.in_step("woken in the midst of a wait by a change, it brings it")


async def many_changes(stage: Stage) -> None:
    await loaded(stage, 2)
    for number in range(3, 5_103):
        change(stage, number)
    await stage.in_step("it brings 5,100 records that one answer lists, 5,000 at most in a Get")


async def get_stops(stage: Stage) -> None:
    await loaded(stage, 3)
    moved = False

    def moving(call: Call) -> Answer | None:
        nonlocal moved
        if call.service == "get" and call.record(record_id(2)) and not moved:
            moved = True
            change(stage, 2, 9)
        return None

    stage.interrupt = moving
    for number in (1, 2, 3, 4):
        change(stage, number)
    await stage.in_step(
        "Get stopped at a record that had moved on: it keeps those before, and asks again for the others"
    )


async def hot_record(stage: Stage) -> None:
    await loaded(stage, 3)
    stops = moves = 0

    def moving(call: Call) -> Answer | None:
        nonlocal stops, moves
        item = call.record(record_id(2)) if call.service == "get" else None
        if item is None:
            return None
        if not item.get("expectedVersion", 0):
            stops = 0
        elif moves < _HOT_MOVES_MAX:
            stops, moves = stops + 1, moves + 1
            change(stage, 2, 10 + moves)
            if stops > _HOT_STOPS_MAX:
                stage.fail(f"it was stopped {stops} times at one record; after three it asks with expectedVersion 0")
        return None

    stage.interrupt = moving
    for number in (1, 2, 3):
        change(stage, number)
    await stage.in_step("stopped three times at a record that moves all the time, it asks for that one with 0")


async def unknown_in_batch(stage: Stage) -> None:
    """Between the list and Get one new record is erased, and one is no longer the school's."""
    await loaded(stage, 3)
    gone = False

    def going(call: Call) -> Answer | None:
        nonlocal gone
        if call.service == "get" and not gone:
            gone = True
            stage.core.forget(record_id(5))
            stage.core.write(record_id(2), state="revoked")
        return None

    stage.interrupt = going
    for number in (1, 5, 2, 3, 4):
        change(stage, number)
    await stage.in_step("of a Get it takes what is Normal, and drops what is Unknown or NoAccess")


async def status_with_parent(stage: Stage) -> None:
    for number in (1, 2):
        change(stage, number, 5)
        stage.core.write(record_id(number), name=STATUS)
    stage.begin()
    await stage.in_step("it loads two statuses, and their sources with them")
    change(stage, 1)
    stage.core.write(record_id(1), name=STATUS)
    await stage.in_step("it brings a status and, with it, its source")
    stage.core.write(record_id(1), {"alerts": []}, name=STATUS)
    await stage.in_step("it brings a status of which the source has not changed")
    if stage.writes:
        order(stage, written(1, 7))
        await stored(stage, 1, 7)
        await stage.in_step("it brings the status of what it has written")


async def delete_and_undelete(stage: Stage) -> None:
    await loaded(stage, 3)
    stage.core.write(record_id(2), state="deleted")
    await stage.in_step("a record is deleted: it is not held, nor hashed, any longer")
    change(stage, 2)
    await stage.in_step("the record is undeleted: it is held again")


async def repair(stage: Stage) -> None:
    await _repaired(stage, 5, "its hash differs: it compares the full list with what it holds, brings and drops")


async def repair_beyond_cap(stage: Stage) -> None:
    stage.core.snapshot_max = None
    wanted = (
        "its hash differs and the full list is cut: it goes on with listAfter, or reconciles, then brings and drops"
    )
    await _repaired(stage, 8, wanted, listed_max=_CUT)


async def _repaired(stage: Stage, count: int, wanted: str, listed_max: int | None = None) -> None:
    """Behind the client's back one record goes and another is there, as after a fault on either side."""
    await loaded(stage, count)
    stage.mismatch_expected = True
    stage.core.listed_max = listed_max or stage.core.listed_max
    stage.core.forget(record_id(1))
    stage.core.plant(record_id(20), 4, enrolment(20))
    await stage.in_step(wanted)
    stage.mismatch_expected = False
    change(stage, 2)
    await stage.in_step("after the repair it follows as before")


async def below_horizon(stage: Stage) -> None:
    """A record was deleted, and that is known no longer: only the full list tells it."""
    await loaded(stage, 4)
    stage.mismatch_expected = True
    stage.core.forget(record_id(2))
    stage.core.horizon = change(stage, 1)
    await stage.in_step(
        "its maxCoreVersion is too old for a list of changes: it compares the full list with what it holds"
    )
    stage.mismatch_expected = False
    change(stage, 3)
    await stage.in_step("it follows as before")


async def access_lost(stage: Stage) -> None:
    await loaded(stage, 3)
    stage.core.write(record_id(2), state="revoked")
    await stage.in_step("the school may no longer see a record: Get says NoAccess, and it is dropped")


async def access_gained(stage: Stage) -> None:
    await loaded(stage, 3)
    stage.core.write(record_id(2), state="revoked")
    await stage.in_step("the school may no longer see a record: Get says NoAccess, and it is dropped")
    stage.core.write(record_id(2))
    await stage.in_step("the school may see the record again, as it was: it comes as a change")


CASES = [
    Case("first-load", "A first load in several pages", "protocol 3, 7", first_load),
    Case("delta", "Changes in several pages", "protocol 3", delta),
    Case("wait-ends", "A wait that ends with nothing new", "protocol 3", wait_ends),
    Case("change-during-wait", "A change during the wait", "protocol 3", change_during_wait),
    Case("many-changes", "More changes than a Get takes", "protocol 5", many_changes),
    Case("get-stops", "Get stops at a record that has moved on", "protocol 5", get_stops),
    Case("hot-record", "A record that moves all the time", "protocol 5", hot_record),
    Case("unknown-in-batch", "Unknown and NoAccess among others", "protocol 5", unknown_in_batch),
    Case("status-with-parent", "A status and its source", "protocol 5", status_with_parent, (STATUS,)),
    Case("delete-and-undelete", "A record deleted and undeleted", "protocol 3, 5", delete_and_undelete),
    Case("repair", "A hash that differs", "protocol 3, 4", repair),
    Case("repair-in-pages", "A hash that differs, and a list in pages", "protocol 3, 7", repair_beyond_cap),
    Case("below-horizon", "A cursor too old for changes", "protocol 1, 3", below_horizon),
    Case("access-lost", "A record that may no longer be seen", "protocol 8", access_lost),
    Case("access-gained", "A record that may be seen again", "protocol 8", access_gained),
]
