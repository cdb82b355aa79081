"""`python -m tests.history.torture --minutes 30 --seed 7`: torture a Core, and judge what it did.

Exit codes: 0 every promise was kept, 1 some were not (they are named, and where the history is). A seed plans the same
mishaps in the same order with the same chances; what the machine makes of their moments differs from run to run.
`--judge FILE` judges a history that was recorded before.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import median

import anyio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.history.chaos import Step, plan
from tests.history.checker import Broken, check
from tests.history.events import Acted, Event, Got, Looked, Submitted, read_events
from tests.history.facts import Facts
from tests.history.run import Outcome, run
from tests.history.world import World

_SHOWN_MAX = 20
out = Console()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.history.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--history", type=Path, help="where the history is written")
    parser.add_argument("--judge", type=Path, help="judge this history instead")
    arguments = parser.parse_args()
    if arguments.judge is not None:
        events = read_events(arguments.judge)
        broken = check(events)
        sys.exit(_report(Outcome(events, (), broken), arguments.judge))
    path = arguments.history or Path(tempfile.gettempdir()) / f"homeroom-history-{arguments.seed}.jsonl"
    out.print(f"seed {arguments.seed}, {arguments.minutes:g} minutes")
    outcome = anyio.run(_torture, arguments.seed, path, arguments.minutes * 60)
    sys.exit(_report(outcome, path))


async def _torture(seed: int, path: Path, seconds: float) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("starting", total=seconds)
        began = time.monotonic()

        def told(step: Step, world: World) -> None:
            said = f"{step.number + 1}: {' and '.join(step.names)}, {len(world.recorder.events)} events"
            progress.update(task, description=said, completed=time.monotonic() - began)

        steps = takewhile(lambda _: time.monotonic() - began < seconds, plan(seed))
        return await run(seed, path, steps, told=told)


def _report(outcome: Outcome, path: Path) -> int:
    for title, rows in _tables(outcome).items():
        table = Table(title, "", title_justify="left")
        for name, value in rows:
            table.add_row(name, str(value))
        out.print(table)
    if not outcome.broken:
        out.print(f"every promise was kept; the history is in {path}", soft_wrap=True)
        return 0
    for promise, count in Counter(broken.promise for broken in outcome.broken).items():
        out.print(f"[bold]{promise}[/bold] was broken {count} times", highlight=False)
    for broken in outcome.broken[:_SHOWN_MAX]:
        _show(broken)
    out.print(f"the history is in {path}", soft_wrap=True)
    return 1


def _tables(outcome: Outcome) -> dict[str, Sequence[tuple[str, object]]]:
    events = outcome.events
    errors = Counter(e.error for e in events if isinstance(e, Submitted | Looked | Got) and e.error)
    codes = Counter(code for e in events if isinstance(e, Submitted) for r in e.results for code in r.codes)
    answers = Counter(
        f"{e.reason}{'' if e.complete else ', cut'}{', old cursor' if e.resumed else ''}"
        for e in events
        if isinstance(e, Looked) and not e.error
    )
    facts = Facts(events)
    lost = [change for change in facts.changes if _lost(facts, change.version, change.call.type)]
    return {
        "operations": sorted(Counter(type(e).__name__ for e in events).items()),
        "mishaps": sorted(Counter(e.action for e in events if isinstance(e, Acted)).items()),
        "answers": sorted(answers.items()),
        "errors and rejections": [(str(code), n) for code, n in sorted((errors + codes).items())],
        "the database": [
            ("epochs", len(facts.pasts) or 1),
            ("changes acknowledged", len(facts.changes)),
            ("of them in declared tails", len(lost)),
            *_quiet(outcome.settled_seconds),
        ],
    }


def _quiet(settled_seconds: Sequence[float]) -> list[tuple[str, object]]:
    """How long it took until all agreed; a history that is read back does not say."""
    if not settled_seconds:
        return []
    said = f"{max(settled_seconds):.1f} at most, {median(settled_seconds):.1f} usually"
    return [("quiet points", len(settled_seconds)), ("seconds until all agreed", said)]


def _lost(facts: Facts, version: int, notification_type: str) -> bool:
    return bool(facts.pasts) and not facts.lives(notification_type, version, facts.pasts[-1].epoch)


def _show(broken: Broken) -> None:
    out.print(f"{broken.promise}: {broken.explanation}", highlight=False, markup=False, soft_wrap=True)
    for event in broken.events:
        out.print(f"    {_short(event)}", highlight=False, markup=False, soft_wrap=True)


def _short(event: Event) -> str:
    text = repr(event)
    return text if len(text) < 600 else f"{text[:600]} …"


if __name__ == "__main__":
    main()
