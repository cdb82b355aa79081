"""Many notices become one call: judged on a clock of the test's own, and tried with tasks."""

from collections.abc import Sequence

import anyio
from hypothesis import example, given
from hypothesis import strategies as st

from homeroom_merge.runners.debouncing import Bursts, Debounce, Debouncer

DEBOUNCE = Debounce(quiet_seconds=1.0, seconds_max=5.0)
ENTITIES = ("Student", "Staff")

pauses = st.floats(min_value=0, max_value=1.5).map(lambda seconds: round(seconds, 3))
STEADY = [(0.9, "Student")] * 12

notices = st.lists(st.tuples(pauses, st.sampled_from(ENTITIES)), max_size=60)


def happenings(notices: Sequence[tuple[float, str]]) -> list[tuple[str, float, str]]:
    """What was noticed and called for, in order, by a loop that sleeps until the next call is due."""
    bursts, now = Bursts(DEBOUNCE), 0.0
    told: list[tuple[str, float, str]] = []

    def go_on(until: float) -> None:
        while (at := bursts.next_at()) is not None and at <= until:
            told.extend(("call", at, entity) for entity in bursts.take_due(at))

    for pause, entity in notices:
        now += pause
        go_on(now)
        bursts.notice(entity, now)
        told.append(("notice", now, entity))
    go_on(float("inf"))
    return told


@given(notices)
@example(STEADY)
@example([(0.0, "Student"), (1.0, "Student")])
def test_a_call_comes_when_it_is_quiet_or_has_waited_long_enough(notices: Sequence[tuple[float, str]]) -> None:
    waiting: dict[str, list[float]] = {}
    for kind, at, entity in happenings(notices):
        if kind == "notice":
            waiting.setdefault(entity, []).append(at)
        else:
            assert entity in waiting, "a call that nobody asked for"
            burst = waiting.pop(entity)
            assert at == min(burst[-1] + DEBOUNCE.quiet_seconds, burst[0] + DEBOUNCE.seconds_max)
    assert not waiting, "every notice is followed by a call"


async def test_a_burst_is_one_call_and_one_that_fails_is_made_again() -> None:
    calls: list[tuple[str, str]] = []
    enough = anyio.Event()

    async def defer(feed: str, entity: str) -> None:
        calls.append((feed, entity))
        if len(calls) == 1:
            raise ConnectionError("the queue is away")
        enough.set()

    async with anyio.create_task_group() as tasks:
        debouncer = Debouncer("raven", defer, Debounce(0.05, 1))
        for _ in range(50):
            debouncer.notice("Student")
        tasks.start_soon(debouncer.run)
        with anyio.fail_after(10):
            await enough.wait()
        tasks.cancel_scope.cancel()
    assert calls == [("raven", "Student")] * 2
