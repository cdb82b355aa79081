"""One run: a world, mishaps one after the other, quiet points between them, and what the checker says of it all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import anyio

from homeroom import pacing
from tests.history import chaos
from tests.history.chaos import Step
from tests.history.checker import Broken, check
from tests.history.events import Event, Recorder
from tests.history.world import World, running_world

STEPS_BETWEEN_QUIET = 6
_PAUSE_SECONDS_MAX = 2.0
"""A replica would otherwise back off for up to a minute after the last mishap."""

_EVENTS_FIRST = 100
_FIRST_SECONDS_MAX = 60.0
"""Nothing goes wrong before there is something to lose."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run recorded, how long each quiet point took to come, and the promises that were not kept."""

    events: Sequence[Event]
    settled_seconds: Sequence[float]
    broken: Sequence[Broken]


async def run(
    seed: int,
    path: Path,
    steps: Iterable[Step],
    *,
    told: Callable[[Step, World], None] = lambda step, world: None,
) -> Outcome:
    """Take the steps, settle, and judge. The history is in `path`, whatever happens."""
    with patch.object(pacing, "_PAUSE_SECONDS_MAX", _PAUSE_SECONDS_MAX), Recorder(path) as recorder:
        async with running_world(seed, recorder) as world:
            with anyio.fail_after(_FIRST_SECONDS_MAX):
                while len(recorder.events) < _EVENTS_FIRST:
                    await anyio.sleep(0.02)
            for step in steps:
                told(step, world)
                await chaos.take(world, seed, step)
                if step.number % STEPS_BETWEEN_QUIET == STEPS_BETWEEN_QUIET - 1:
                    await world.settle()
            await world.settle()
    return Outcome(recorder.events, world.settled_seconds, check(recorder.events))
