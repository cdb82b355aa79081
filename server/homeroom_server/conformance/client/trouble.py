"""Cases of trouble: a Core that is busy or away, a key that is disabled, histories that end."""

from homeroom.errors import Code
from homeroom_server.conformance.client.answering import Answer, refused
from homeroom_server.conformance.client.case import Case, change, loaded, record_id
from homeroom_server.conformance.client.stage import Call, Stage

_RETRY_AFTER_SECONDS = 2
_EARLY_SECONDS = 0.1
"""Clocks of both sides may differ by so much in two seconds; nobody retries at once for that."""
_OUTAGE_SECONDS = 2.0
_OUTAGE_CALLS_MAX = 10
_AT_ONCE_SECONDS = 0.3
_AT_ONCE_MAX = 3
"""Calls that a client may have had on the way when its key was refused."""
_QUIET_SECONDS = 2.0
_SAME_CURSOR_MAX = 2


async def retry_after(stage: Stage) -> None:
    await loaded(stage, 2)
    refused_at: float | None = None

    def busy(call: Call) -> Answer | None:
        nonlocal refused_at
        if call.service != "is-data-available":
            return None
        if refused_at is None:
            refused_at = stage.seconds
            return refused(Code.CLIENT_LIMIT, "requests held at once", retry_after=_RETRY_AFTER_SECONDS)
        pause = call.at - refused_at
        if pause < _RETRY_AFTER_SECONDS - _EARLY_SECONDS:
            stage.fail(f"it asked again after {pause:.2f} s")
        stage.interrupt = lambda call: None
        return None

    await stage.held()
    stage.interrupt = busy
    stage.end_waits()
    await stage.until(lambda: refused_at is not None, "it asks again when its wait has ended")
    change(stage, 1)
    wanted = f"refused with 429 and Retry-After: {_RETRY_AFTER_SECONDS}, it waits as long, then brings the change"
    await stage.in_step(wanted)


async def back_off(stage: Stage) -> None:
    """A bare 503, as proxies send it: without a problem document, and without Retry-After."""
    await loaded(stage, 2)
    since: float | None = None
    calls = 0

    def away(call: Call) -> Answer | None:
        nonlocal since, calls
        since, calls = call.at if since is None else since, calls + 1
        if call.at - since > _OUTAGE_SECONDS:
            stage.interrupt = lambda call: None
            return None
        if calls > _OUTAGE_CALLS_MAX:
            stage.fail(f"it called {calls} times within {call.at - since:.2f} s")
        return Answer(503, b"nobody is there", "text/plain")

    await stage.held()
    stage.interrupt = away
    change(stage, 1)
    await stage.in_step(
        f"answered 503 for {_OUTAGE_SECONDS:.0f} s it calls {_OUTAGE_CALLS_MAX} times at most, then brings the change"
    )


async def key_disabled(stage: Stage) -> None:
    await loaded(stage, 2)
    since: float | None = None
    calls = 0

    def disabled(call: Call) -> Answer:
        nonlocal since, calls
        since, calls = call.at if since is None else since, calls + 1
        if calls > _AT_ONCE_MAX or call.at - since > _AT_ONCE_SECONDS:
            stage.fail(f"it called again {call.at - since:.2f} s after it had been told so")
        return refused(Code.KEY_DISABLED, "the key is disabled")

    stage.interrupt = disabled
    stage.may_end = True
    stage.end_waits()
    wanted = "told 401 and 1002, its key is disabled, it does not call again: a person must act"
    await stage.until(lambda: since is not None, "it calls again when its wait has ended")
    await stage.nothing_more(_QUIET_SECONDS, wanted)


async def restore(stage: Stage) -> None:
    """The database goes back: what came last is lost, the epoch and the counter are others."""
    await loaded(stage, 4)
    before = stage.core.copied()
    change(stage, 2)
    change(stage, 5)
    stage.core.write(record_id(3), state="deleted")
    await stage.in_step("it brings three changes")
    stage.mismatch_expected = True
    stage.core.restore(before)
    await stage.in_step("the Core was restored to an earlier state: it verifies by its hash, and brings and drops")
    stage.mismatch_expected = False
    change(stage, 1)
    await stage.in_step("it goes on in the new history, from the maxCoreVersion that it was told there")


async def other_history(stage: Stage) -> None:
    """The Core never gave out the client's cursor: 2003."""
    await loaded(stage, 3)
    before, counter = stage.core.copied(), stage.core.counter
    change(stage, 2)
    change(stage, 5)
    await stage.in_step("it brings two changes")
    lost, asked = stage.core.counter, 0

    def asking(call: Call) -> Answer | None:
        nonlocal asked
        asked += any(entry["maxCoreVersion"] == lost for entry in call.body.get("types", ()))
        if asked > _SAME_CURSOR_MAX:
            stage.fail(f"it asked {asked} times with maxCoreVersion {lost}, which is of another history")
        return None

    stage.mismatch_expected = True
    stage.core.restore(before, counter)
    stage.interrupt = asking
    await stage.in_step("told 2003 it starts again from 0 or reconciles, verifies by its hash, and brings and drops")
    stage.mismatch_expected = False
    change(stage, 1)
    await stage.in_step("it goes on from there")


CASES = [
    Case("retry-after", "429 with Retry-After", "protocol 2", retry_after),
    Case("back-off", "503 for a while", "protocol 2", back_off),
    Case("key-disabled", "A key that is disabled", "protocol 2", key_disabled),
    Case("restore", "A Core restored to an earlier state", "protocol 1, 3", restore),
    Case("other-history", "A cursor that the Core never gave out", "protocol 2, 3", other_history),
]
