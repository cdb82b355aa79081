"""10 of 18,000 who hold may see a change: how long from sending it to their answers?

Beside each change, in the same run, PostgreSQL's own commit of a row with its NOTIFY. A school holds 10 requests; the
change is a record of its own. Those who were answered ask again and are held before the next change.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import uvloop

from bench.bare import bare_round_trip
from bench.crowd import Crowd, gathered, schools_csv
from bench.held_connections import HolderError
from bench.holder import Holder, holding_process
from bench.loader import Connection, connect
from bench.rig import Bed, Rig, prepared_database, report, serving, spread
from bench.wakes import centiles, hold

AFFECTED = 10
_ANSWERS_SECONDS = 30
_AGAIN_PER_SECOND = 100_000
_PAUSE_SECONDS = 0.05


@dataclass
class Findings:
    """Milliseconds, a value for each answer (or round trip)."""

    from_sending: list[float] = field(default_factory=list)
    from_answer: list[float] = field(default_factory=list)
    """From the submit's own answer: the commit is left out. Below zero for who hears of it before the writer does."""
    bare: list[float] = field(default_factory=list)


async def changes(bed: Bed, rig: Rig, crowd: Crowd, holder: Holder, number: int) -> Findings:
    """So many changes while all are held, school after school."""
    found = Findings()
    writer = await connect(rig.host, rig.port)
    async with bare_round_trip(bed.database_url) as once:
        await _one(holder, crowd, len(crowd.schools) - 1, writer, Findings())  # PostgreSQL plans its statements
        for turn in range(number):  # the next school is another one: nobody is missed who is not held yet
            await _one(holder, crowd, turn % (len(crowd.schools) - 1), writer, found)
            found.bare.append(await once())
    writer.close()
    return found


async def on_new_node(bed: Bed, held: int, number: int, options: list[str]) -> Findings:
    """So many changes for so many who hold, on a new database."""
    async with holding_process() as holder:
        with serving(bed, *options) as rig:
            crowd = await gathered(rig, held, held // AFFECTED)
        with serving(bed, *options) as rig:
            await holder.connect(rig.host, rig.port, held)
            await hold(holder, crowd.ask_all(), rig.pid, bed.postgres_pid)
            return await changes(bed, rig, crowd, holder, number)


async def _one(holder: Holder, crowd: Crowd, school: int, writer: Connection, found: Findings) -> None:
    members = crowd.members(school)
    change = crowd.note(school)
    await holder.expect(len(members))
    begun = time.perf_counter()
    answer = await writer.send(change)
    answered = time.perf_counter()
    told = await holder.answers(_ANSWERS_SECONDS)
    if [index for index, seen in enumerate(told.moments) if seen] != list(members):
        raise HolderError(f"others than the members of {crowd.schools[school]} were answered")
    moments = [told.moments[index][0] for index in members]
    found.from_sending += [(moment - begun) * 1000 for moment in moments]
    found.from_answer += [(moment - answered) * 1000 for moment in moments]
    crowd.saw_note(school, answer)
    await holder.ask([crowd.ask(index) for index in members], _AGAIN_PER_SECOND, members.start)
    await asyncio.sleep(_PAUSE_SECONDS)


def _shown(given: argparse.Namespace, rounds: list[Findings]) -> None:
    """The table: a centile of each round, and what the Core adds to it."""
    series = {
        "from sending to answer": [each.from_sending for each in rounds],
        "bare commit + NOTIFY": [each.bare for each in rounds],
        "from the submit's answer to answer": [each.from_answer for each in rounds],
    }
    p50, p99 = ({name: [centiles(each)[at] for each in found] for name, found in series.items()} for at in (0, 1))
    added = [ours - bare for ours, bare in zip(*list(p99.values())[:2], strict=True)]
    rows = [[name, spread(p50[name], 2), spread(p99[name], 2)] for name in series]
    rows.append(["added to the bare p99", "", spread(added, 2)])
    figures = {"held": given.held, "affected": AFFECTED, "changes": given.changes}
    figures |= {"p50": p50, "p99": p99, "addedToBareP99": added}
    report("wake", ["ms", "p50, median (lowest-highest)", "p99"], rows, figures)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", type=int, default=18_000)
    arguments.add_argument("--changes", type=int, default=200)
    arguments.add_argument("--times", type=int, default=3, help="each is repeated, on a new node")
    arguments.add_argument("--serve", default="", help="options for `homeroom serve`, as one word")
    given = arguments.parse_args()
    rounds = []
    for _ in range(given.times):
        with prepared_database(organizations=schools_csv(given.held // AFFECTED)) as bed:
            rounds.append(uvloop.run(on_new_node(bed, given.held, given.changes, given.serve.split())))
    _shown(given, rounds)


if __name__ == "__main__":
    main()
