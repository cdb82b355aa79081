"""A suite played: one case after the other, each with a Core, a key and a client of its own."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from homeroom_server.conformance.client.case import Case
from homeroom_server.conformance.client.door import Door, opened
from homeroom_server.conformance.client.hands import Hand
from homeroom_server.conformance.client.stage import CaseFailedError, Stage
from homeroom_server.conformance.report import Outcome, Verdict

_CANNOT_WRITE = "the client does not write (--read-only)"


@dataclass(frozen=True, slots=True)
class Watching:
    """Who watches a suite: told what begins, and what became of it."""

    begun: Callable[[Case], None] = lambda case: None
    ended: Callable[[Verdict], None] = lambda verdict: None


async def play(
    cases: Sequence[Case],
    hand: Hand,
    *,
    port: int = 0,
    seconds_per_case: float = 30,
    at_once: int = 1,
    read_only: bool = False,
    watching: Watching = Watching(),
) -> Sequence[Verdict]:
    """A verdict for every case: whatever a client does, it fails its case and nothing else.

    Raises OSError if the port is taken.
    """
    verdicts: dict[str, Verdict] = {}
    limit = anyio.CapacityLimiter(at_once)

    async def one(door: Door, case: Case) -> None:
        async with limit:
            watching.begun(case)
            played = (
                _skipped(case)
                if read_only and case.writes
                else await _played(case, door, hand, seconds_per_case, writes=not read_only)
            )
            verdicts[case.name] = played
            watching.ended(played)

    async with opened(port) as door, anyio.create_task_group() as tasks:
        for case in cases:
            tasks.start_soon(one, door, case)
    return [verdicts[case.name] for case in cases]


def _skipped(case: Case) -> Verdict:
    return Verdict(case.name, case.title, case.section, Outcome.SKIPPED, _CANNOT_WRITE, 0)


async def _played(case: Case, door: Door, hand: Hand, seconds_max: float, *, writes: bool) -> Verdict:
    stage = Stage("hr_" + secrets.token_hex(16), case.types, writes=writes)
    with door.on_stage(stage):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hand, stage, door.url)
            tasks.start_soon(_limit, stage, seconds_max)
            said = await _failure(case, stage)
            seconds = stage.seconds
            stage.close()
            tasks.cancel_scope.cancel()
    outcome = Outcome.FAILED if said else Outcome.PASSED
    said += f"\nIt wrote last:\n{stage.last_words}" if said and stage.last_words else ""
    return Verdict(case.name, case.title, case.section, outcome, said, seconds)


async def _failure(case: Case, stage: Stage) -> str:
    """What went wrong; empty if nothing did."""
    try:
        await case.script(stage)
    except CaseFailedError as failure:
        return str(failure)
    return ""


async def _limit(stage: Stage, seconds_max: float) -> None:
    """The time of a case runs from when the client is there."""
    await stage.started.wait()
    await anyio.sleep(seconds_max)
    stage.fail(f"nothing of the kind within {seconds_max:g} s")
