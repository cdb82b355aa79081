"""The short run: every promise of protocol 9 through a fixed list of mishaps, in every `make test`."""

from pathlib import Path

import pytest

from tests.history.chaos import Step
from tests.history.events import Acted, Epochs, Looked, Submitted
from tests.history.run import run

SEED = 21
STEPS = tuple(
    Step(number, names, hold_seconds, 0.3)
    for number, (names, hold_seconds) in enumerate(
        (
            (("kill_node", "cut_listen"), 0.5),
            (("freeze_backend", "cut_connections"), 1.5),
            (("lossy_fail_over",), 1.5),
            (("delay_replication", "rolling_restart"), 0.2),
            (("kill_postgres",), 1.0),
        )
    )
)


@pytest.mark.timeout(300)
async def test_every_promise_is_kept_through_a_short_run_of_mishaps(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    outcome = await run(SEED, path, STEPS)
    assert outcome.broken == [], f"the history is in {path}"
    assert {event.action for event in outcome.events if isinstance(event, Acted)} == {n for s in STEPS for n in s.names}
    written = [event for event in outcome.events if isinstance(event, Submitted) and not event.error]
    listed = [event for event in outcome.events if isinstance(event, Looked) and event.listed]
    assert len(written) > 50 < len(listed), "there was something to judge"
    assert max(len(event.pasts) for event in outcome.events if isinstance(event, Epochs)) == 2
