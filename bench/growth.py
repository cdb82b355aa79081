"""Does anything get slower or larger as the province grows (records), or as more are held (waiters)?

Everything is measured at 1, 4 and 16 times the size, and repeated, the sizes in turns, so that a slow minute of the
machine meets them all. A ratio is the largest size's median by the smallest's; a slope is that of the line through the
logarithms: 0 is flat, 1 as steep as the size itself.
"""

import argparse
from collections.abc import Sequence
from math import log
from statistics import linear_regression, median

from bench import growth_of_data, growth_of_waiters
from bench.rig import report, spread

_FLAT_RATIO_MAX = 1.2
_OF = ("data", "waiters")

Rounds = dict[int, list[dict[str, float]]]
"""By size, the figures of each round."""


def show(name: str, unit: str, rounds: Rounds) -> None:
    """The table, and what is not flat."""
    sizes = sorted(rounds)
    rows, figures, steep = [], {}, []
    for what in rounds[sizes[0]][0]:
        values = {size: [found[what] for found in rounds[size]] for size in sizes}
        medians = [median(values[size]) for size in sizes]
        ratio, slope = medians[-1] / medians[0], _slope(sizes, medians)
        rows.append([what, *(spread(values[size], 2) for size in sizes), f"{ratio:.2f}", f"{slope:+.2f}"])
        figures[what] = {"values": values, "ratio": ratio, "slope": slope}
        if ratio > _FLAT_RATIO_MAX:
            overlap = min(values[sizes[-1]]) <= max(values[sizes[0]])
            steep.append(f"{what} (the ranges overlap)" if overlap else what)
    columns = ["median (lowest-highest)", *(f"{size:,} {unit}" for size in sizes), "ratio", "slope"]
    report(name, columns, rows, {"sizes": sizes, "figures": figures, "steep": steep})
    print(f"up by more than a fifth: {'; '.join(steep) or 'nothing'}")


def _slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    return linear_regression([log(size) for size in sizes], [log(value) for value in values]).slope


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--of", nargs="+", choices=_OF, default=_OF)
    arguments.add_argument("--records", type=int, nargs="+", default=[100_000, 400_000, 1_600_000])
    arguments.add_argument("--held-beside", type=int, default=2_000, help="how many are held at each size of the data")
    arguments.add_argument("--held", type=int, nargs="+", default=[1_125, 4_500, 18_000])
    arguments.add_argument("--changes", type=int, default=60, help="of each round, for those who are held")
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    given = arguments.parse_args()
    if min(len(set(given.records)), len(set(given.held))) < 2:
        arguments.error("growth wants two sizes at least")
    if min(given.held) < growth_of_waiters.HELD_MIN or min(given.records) < growth_of_data.RECORDS_MIN:
        arguments.error(f"at least {growth_of_waiters.HELD_MIN} held and {growth_of_data.RECORDS_MIN} records")
    if "data" in given.of:
        show("growth_of_data", "records", growth_of_data.measure(given.records, given.held_beside, given.times))
    if "waiters" in given.of:
        show("growth_of_waiters", "held", growth_of_waiters.measure(given.held, given.changes, given.times))


if __name__ == "__main__":
    main()
