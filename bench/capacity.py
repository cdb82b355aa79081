"""What do 1, 3 and 10 nodes on one primary carry? Computed from what `bench.nodes` has measured, in Markdown.

A figure that depends on the number of nodes lies on the line through those measured; beyond the largest it is marked.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from bench.phases import ASKING, IDLE, PHASES, READS, WAKING, cpu_name
from homeroom_server.database import PoolSizes
from homeroom_server.settings import Settings

_RESULTS = Path(__file__).parent / "results" / "nodes.json"
_PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
_BEGIN, _END = "<!-- bench.capacity -->", "<!-- /bench.capacity -->"
_CHANGE = "10 of all: CPU ms a change, primary"
_OF_THE_FEED = 3
"""Connections of a node: two that read and announce, one that listens."""

Figure = Callable[[int], float]
"""By number of nodes."""


class Measured:
    """The medians of `bench.nodes`, and what they say of numbers of nodes that were not measured."""

    def __init__(self, figures: dict[str, Any]) -> None:
        self.held = int(figures["held"])
        self._rounds = {int(number): by_reads for number, by_reads in figures["rounds"].items()}
        self.nodes = sorted(self._rounds)

    def line(self, reads: str, what: str) -> Figure:
        """Of all nodes together."""
        values = [self.of(number, reads, what) for number in self.nodes]
        slope, start = linear_regression(self.nodes, values)
        return lambda nodes: max(start + slope * nodes, min(values))  # noise apart, more nodes never cost less

    def of_one(self, reads: str, what: str) -> float:
        """On the fewest nodes that were measured."""
        return self.of(self.nodes[0], reads, what)

    def of(self, nodes: int, reads: str, what: str) -> float:
        return float(median(found[what] for found in self._rounds[nodes][reads]))


@dataclass(frozen=True, slots=True)
class Row:
    """`on_line`: no number of nodes other than those measured is certain."""

    what: str
    figure: Figure
    form: str = ",.0f"
    on_line: bool = False


def rows_of(measured: Measured) -> list[Row]:
    """Each node holds as many as were measured in all."""
    one, held = measured.of_one, measured.held
    kilobytes, answer = one("primary", "KB per held, all processes"), one("primary", "all: bytes of an answer")
    empty = measured.line("primary", "MB of all processes, nobody held")
    come_back = one("standby", "log bytes of a wake of all, per held")
    return [
        Row("held clients", lambda nodes: held * nodes),
        Row("memory of the nodes, MB", lambda nodes: empty(nodes) + nodes * held * kilobytes / 1_000, on_line=True),
        Row("held clients in a further GB", lambda nodes: 1e6 / kilobytes),
        Row("to clients when all are woken, MB", lambda nodes: nodes * held * answer / 1e6, ",.1f"),
        Row("log when all have come back, MB", lambda nodes: nodes * held * come_back / 1e6, ",.1f"),
        *(row for reads in READS for row in _primary(measured, reads)),
    ]


def _primary(measured: Measured, reads: str) -> list[Row]:
    """What the primary does for them, wherever they read."""
    held, where = measured.held, f"reads on the {reads}"
    change, idle = measured.line(reads, _CHANGE), measured.line(reads, cpu_name(IDLE, "primary"))
    asking, waking = (measured.of_one(reads, cpu_name(phase, "primary")) for phase in (ASKING, WAKING))
    log = measured.of_one(reads, "10 of all: log bytes a change")
    connections = _connections(reads)
    return [
        Row(f"primary: CPU s when all ask from cold, {where}", lambda nodes: nodes * held * asking / 1_000, ",.1f"),
        Row(f"primary: CPU s when all are woken and ask, {where}", lambda nodes: nodes * held * waking / 1_000, ",.1f"),
        Row(f"primary: share of a core, idle, {where}", lambda nodes: held * idle(nodes) / 60_000, ",.3f", True),
        Row(f"primary: lone changes/s of a core, {where}", lambda nodes: 1_000 / change(nodes), ",.0f", True),
        Row(f"primary: log at that rate, KB/s, {where}", lambda nodes: log / change(nodes), ",.0f", True),
        Row(f"primary: connections, {where}", lambda nodes: nodes * connections + 1),
    ]


def _connections(reads: str) -> int:
    """Of one node with default settings to the primary."""
    settings = Settings(read_database_url="a standby" if reads == "standby" else "")
    sizes = PoolSizes.at_primary(settings)
    return (
        sizes.usual + sizes.bulk + settings.write_connections_max + _OF_THE_FEED + 2 * settings.console_connections_max
    )


def table(measured: Measured, numbers: Sequence[int]) -> str:
    """In Markdown; an asterisk where a line was followed beyond what was measured."""
    lines = ["| | " + " | ".join(map(_counted, numbers)) + " |", "|---" * (len(numbers) + 1) + "|"]
    for row in rows_of(measured):
        beyond = [" *" if row.on_line and number > measured.nodes[-1] else "" for number in numbers]
        cells = [f"{row.figure(number):{row.form}}{mark}" for number, mark in zip(numbers, beyond, strict=True)]
        lines.append(f"| {row.what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def relief(measured: Measured) -> str:
    """In Markdown: what a standby takes off the primary, in milliseconds of CPU for each who is held."""
    lines = [
        "| nodes, phase | primary, read itself | primary, standby read | ratio | standby |",
        "|---|---|---|---|---|",
    ]
    for nodes, phase in product(measured.nodes, PHASES):
        alone, relieved = (measured.of(nodes, reads, cpu_name(phase, "primary")) for reads in READS)
        standby = measured.of(nodes, "standby", cpu_name(phase, "standby"))
        what = f"{_counted(nodes)}, {phase}{' (a minute)' if phase == IDLE else ''}"
        lines.append(f"| {what} | {alone:.3f} | {relieved:.3f} | {relieved / alone:.2f} | {standby:.3f} |")
    return "\n".join(lines)


def _counted(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nodes", type=int, nargs="+", default=[1, 3, 10])
    arguments.add_argument("--write", action="store_true", help="into docs/scaling.md, in place of the last")
    given = arguments.parse_args()
    results = json.loads(_RESULTS.read_text(encoding="utf-8"))
    measured = Measured(results["figures"])
    if len(measured.nodes) < 2:
        arguments.error("a line wants two numbers of processes at least: run bench.nodes with --processes 1 2 4")
    processes = ", ".join(map(str, measured.nodes))
    about = f"Of {measured.held:,} held on {processes} processes, {results['machine']['cores']} cores, "
    about += f"{results['measuredAt'][:10]}, {results['commit'][:8]}."
    text = "\n\n".join([about, table(measured, given.nodes), relief(measured)])
    print(text)
    if given.write:
        head, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        tail = rest.partition(_END)[2]
        _PAGE.write_text(f"{head}{_BEGIN}\n{text}\n{_END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
