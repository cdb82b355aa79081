"""What do more nodes bring: on one machine and one primary, and with a hot standby to read on?

Nodes behind one port hold requests, each with a key of its own and four types with their hashes. Every figure is
measured with all reads on the primary and with the same reads on the standby. All of it shares the machine.
"""

import argparse
from collections.abc import Mapping
from itertools import product
from statistics import median

import uvloop
from rich.progress import track

from bench.crowd import gathered, schools_csv
from bench.holder import holding_process
from bench.pair import Pair, prepared_pair
from bench.phases import IDLE, PHASES, READS, Figures, Plan, differences, round_of
from bench.rig import report, serving, spread
from bench.wake import AFFECTED

Rounds = Mapping[int, Mapping[str, list[Figures]]]
"""By number of processes and where they read."""


async def measure(pair: Pair, plan: Plan, processes: list[int], times: int) -> Rounds:
    """So many rounds of each; they take turns, so that a slow minute of the machine meets them all."""
    found: Rounds = {number: {reads: [] for reads in READS} for number in processes}
    with serving(pair.bed) as rig:
        crowd = await gathered(rig, plan.held, plan.held // AFFECTED)
    turns = list(product(range(times), processes, READS))
    async with holding_process() as holder:
        for _, number, reads in track(turns, "holding"):
            found[number][reads].append(await round_of(pair, crowd, holder, plan, number, reads))
    return found


def show(rounds: Rounds, plan: Plan) -> None:
    """The table, and what reading on the standby takes from the primary."""
    processes = list(rounds)
    rows = []
    for reads, what in product(READS, rounds[processes[0]]["primary"][0]):
        values = ([found[what] for found in rounds[number][reads]] for number in processes)
        rows.append([reads, what, *(spread(each, 2) for each in values)])
    columns = ["reads on the", "median (lowest-highest)", *(f"{_counted(number)}" for number in processes)]
    figures = {"held": plan.held, "changes": plan.changes, "idleSeconds": plan.idle_seconds, "rounds": rounds}
    report("nodes", columns, rows, figures)
    for number, phase in product(processes, PHASES):
        print(_fall(number, phase, *differences(rounds[number], phase)))


def _fall(processes: int, phase: str, at_primary: list[float], on_standby: list[float]) -> str:
    """The line that says whether it falls; ranges that overlap are named."""
    verdict = "falls" if median(on_standby) < median(at_primary) else "does not fall"
    if max(on_standby) >= min(at_primary) and len(at_primary) > 1:
        verdict += " (the ranges overlap)"
    unit = "ms a minute" if phase == IDLE else "ms"
    return (
        f"{_counted(processes)}, {phase}: with reads on the standby, the primary's CPU per held client {verdict}: "
        f"{median(at_primary):.3f} -> {median(on_standby):.3f} {unit}"
    )


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", type=int, default=18_000)
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    arguments.add_argument("--changes", type=int, default=60, help="of each round, for 10 of all")
    arguments.add_argument("--idle-seconds", type=float, default=20)
    given = arguments.parse_args()
    if given.held < 2 * AFFECTED:
        arguments.error(f"two schools at least hold {AFFECTED} requests each")
    plan = Plan(given.held // AFFECTED * AFFECTED, given.changes, given.idle_seconds)
    with prepared_pair(schools_csv(plan.held // AFFECTED)) as pair:
        show(uvloop.run(measure(pair, plan, given.processes, given.times)), plan)


if __name__ == "__main__":
    main()
