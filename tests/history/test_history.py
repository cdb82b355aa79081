"""The short run: every promise of protocol 9 through a fixed list of mishaps, in every `make test`."""

from pathlib import Path

import pytest

from tests.history.events import Acted, Epochs, Looked, Submitted
from tests.history.run import run

SEED = 21
STEPS = 5


@pytest.mark.timeout(300)
async def test_every_promise_is_kept_through_a_short_run_of_mishaps(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    outcome = await run(SEED, path, go_on=lambda step: step.number < STEPS)
    assert outcome.broken == [], f"the history is in {path}"
    assert len({event.action for event in outcome.events if isinstance(event, Acted)}) >= STEPS
    written = [event for event in outcome.events if isinstance(event, Submitted) and not event.error]
    listed = [event for event in outcome.events if isinstance(event, Looked) and event.listed]
    assert len(written) > 50 < len(listed), "there was something to judge"
    assert any(isinstance(event, Epochs) for event in outcome.events)
