"""Cases of a client that writes: its own writes, stale ones, calls of which only a part is accepted."""

from homeroom.errors import Code
from homeroom_server.conformance.client import playing
from homeroom_server.conformance.client.answering import Answer
from homeroom_server.conformance.client.case import (
    Case,
    change,
    loaded,
    order,
    record_id,
    stored,
    told_to_submit,
    written,
)
from homeroom_server.conformance.client.scripted_core import CLOSED, ENROLMENT
from homeroom_server.conformance.client.stage import Call, Stage

_QUIET_SECONDS = 1.0
"""So long a client is watched for what it must not do."""


async def own_writes(stage: Stage) -> None:
    """Just before the client's write another's is stored, and the node that is asked shows neither for a while.

    A cursor that was taken from Submit's answer would pass over the other's.
    """
    await loaded(stage, 2)

    def another(call: Call) -> Answer | None:
        if call.service == "submit":
            stage.interrupt = lambda call: None
            stage.fall_behind()
            change(stage, 1)
        return None

    stage.interrupt = another
    order(stage, written(3, 7))
    await stored(stage, 3, 7)
    await stage.nothing_more(_QUIET_SECONDS, "it takes the answer to its Submit")
    calls = len(stage.called("is-data-available"))
    stage.end_waits()
    await stage.until(
        lambda: len(stage.called("is-data-available")) > calls, "it asks again, with the cursor that it was told"
    )
    stage.catch_up()
    await stage.in_step("it holds its own write once, and another's that was stored just before")
    order(stage, written(3, 8))
    await stored(stage, 3, 8)
    await stage.in_step("it holds its own second write")


async def stale_write(stage: Stage) -> None:
    """Another is faster, and the node shows it late: who repeats the write by then would overwrite it unseen."""
    await loaded(stage, 2)
    theirs = brought = 0

    def faster(call: Call) -> Answer | None:
        nonlocal theirs, brought
        record = call.record(record_id(1)) if call.service in ("get", "submit") else None
        if record is None:
            return None
        if call.service == "get":
            brought = stage.core.streams[ENROLMENT][record_id(1)].version
        elif not theirs:
            stage.fall_behind()
            theirs = change(stage, 1, 9)
        elif brought < theirs or record.get("expectedVersion", 0) < theirs:
            stage.fail(
                f"it submitted {record_id(1)} again, with expectedVersion {record.get('expectedVersion', 0)}, "
                f"without having seen version {theirs}, which somebody else has made of it"
            )
        return None

    stage.interrupt = faster
    order(stage, written(1, 7))
    await stage.until(lambda: theirs > 0, told_to_submit(1))
    wanted = "rejected with 3004, it brings the other's version, and sends nothing again that has not seen it"
    await stage.nothing_more(_QUIET_SECONDS, wanted)
    stage.catch_up()
    await stage.in_step(wanted)
    order(stage, written(2, 7))
    await stored(stage, 2, 7)
    await stage.in_step("a rejected write does not keep the next one from being sent")


async def partial_success(stage: Stage) -> None:
    await loaded(stage, 3)
    stage.core.refusing[record_id(2)] = Code.NOT_AUTHORIZED_FOR_RECORD
    stage.interrupt = lambda call: _fail_if_sent_again(stage, call, 1, 2, 3)
    order(stage, written(1, 7), written(2, 7), written(3, 7))
    await stored(stage, 1, 7)
    await stored(stage, 3, 7)
    await stage.until(lambda: bool(stage.submitted(record_id(2))), told_to_submit(2))
    wanted = "of three writes one is rejected: it holds two as accepted and one as it was, and sends none again"
    await stage.in_step(wanted)
    await stage.nothing_more(_QUIET_SECONDS, wanted)
    stage.core.refusing.clear()
    stage.interrupt = lambda call: None
    order(stage, written(1, 8), written(2, 8))
    await stored(stage, 1, 8)
    await stored(stage, 2, 8)
    await stage.in_step("it holds all of the second call")


async def wrong_year(stage: Stage) -> None:
    await loaded(stage, 1)
    stage.interrupt = lambda call: _fail_if_sent_again(stage, call, 5)
    order(stage, written(5, 7), name=CLOSED)
    order(stage, written(6, 7))
    await stored(stage, 6, 7)
    wanted = (
        f"a write of {CLOSED} is rejected with 9030: it is not sent again, nor in another year; the next one is sent"
    )
    await stage.in_step(wanted)
    await stage.nothing_more(_QUIET_SECONDS, wanted)


async def answer_lost(stage: Stage) -> None:
    """The first Submit is stored, but somebody on the way gives up before the answer has come."""
    await loaded(stage, 1)
    lost = False

    def losing(call: Call) -> Answer | None:
        nonlocal lost
        if call.service != "submit" or lost:
            return None
        lost = True
        playing.submit(stage, call, ENROLMENT)
        return Answer(504, b"the proxy gave up", "text/plain")

    stage.interrupt = losing
    order(stage, written(3, 7))
    await stage.until(lambda: lost, told_to_submit(3))
    await stage.in_step(
        "the answer to its Submit is lost: it sends it again under the same Idempotency-Key, or finds it"
    )
    order(stage, written(3, 8))
    await stored(stage, 3, 8)
    await stage.in_step("it holds its own second write")


def _fail_if_sent_again(stage: Stage, call: Call, *numbers: int) -> None:
    """A write that was answered must not come again, unless as the very same call."""
    if call.service != "submit":
        return
    for number in numbers:
        sent = [each for each, _ in stage.submitted(record_id(number)) if each.answer is not None]
        again = call.record(record_id(number)) is not None
        if again and sent and (call.idempotency_key is None or call.idempotency_key != sent[-1].idempotency_key):
            stage.fail(f"it submitted {record_id(number)} again, which had been answered with {sent[-1].told}")


CASES = [
    Case("own-writes", "Its own writes, and another's in between", "protocol 3, 6", own_writes, writes=True),
    Case("stale-write", "A write of an old version", "protocol 6", stale_write, writes=True),
    Case("partial-success", "A call of which a part is accepted", "protocol 6", partial_success, writes=True),
    Case("wrong-year", "A school year that is not open", "protocol 2, 6", wrong_year, writes=True),
    Case("answer-lost", "A Submit whose answer is lost", "protocol 6", answer_lost, writes=True),
]
