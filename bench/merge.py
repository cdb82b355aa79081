"""How many records a second are merged three ways, on one core, once parsed? 20 fields each, 5 % of them changed.

Also: what one record costs that nobody touched, one that changed on a side, and one on its first merge; and where the
time goes. In processor time, so that other loads on the machine count little.
"""

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

import orjson

from homeroom_merge.merging import UNTOUCHED, DeletePolicy, merge
from homeroom_merge.records import Base, Known, Method, Side, State
from homeroom_merge.rules import Rules
from homeroom_merge.shape import Shape

_RULES = Rules("Student", Method.RESOLVE_AS_SIS, {"/studentNames/$/firstName": Method.ALWAYS_SIS})
_NOW = datetime(2027, 9, 1, tzinfo=UTC)
_ROUNDS = 5
_NAMES_ITEM = {"properties": {"refId": {"type": "string"}, "firstName": {"type": "string"}}}
_SCHEMA = {
    "properties": {
        **{f"field{number:02}": {"type": "string"} for number in range(15)},
        "isDeactivated": {"type": "boolean"},
        "grade": {"type": "integer"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "studentNames": {"type": "array", "x-item-key": "refId", "items": _NAMES_ITEM},
        "emailAddresses": {"type": "array", "items": {"type": "object"}},
    }
}


def _body(chance: random.Random) -> dict[str, Any]:
    """A student of 20 fields: most of them text, one object, a keyed list and a list."""
    return {
        **{f"field{number:02}": f"value {chance.randrange(10**6)}" for number in range(15)},
        "isDeactivated": False,
        "grade": chance.randrange(1, 13),
        "address": {"city": "Red Deer", "line1": f"{chance.randrange(999)} 50 Street"},
        "studentNames": [{"refId": f"{chance.randrange(10**9)}", "firstName": "Ana", "lastName": "Roy"}],
        "emailAddresses": [{"emailAddress": f"{chance.randrange(10**6)}@example.org"}],
    }


def _known(number: int, body: dict[str, Any]) -> Known:
    """A record of which each part was parsed on its own, as it would be read."""
    base_hub, base_sis, hub, sis = (orjson.loads(orjson.dumps(body)) for _ in range(4))
    sides = Side(State.LIVE, hub, version=number), Side(State.LIVE, sis, frozenset(body))
    return Known(f"{number}", f"{number:09}", *sides, Base(base_hub, base_sis, covered=frozenset(body)))


def _change(known: Known, chance: random.Random) -> Known:
    """As it is after somebody changed a field, or the name of a pupil."""
    side = known.hub if chance.random() < 0.3 else known.sis
    body = dict(side.body or {})
    if chance.random() < 0.2:
        body["studentNames"] = [{**body["studentNames"][0], "firstName": "Anna"}]
    else:
        body[f"field{chance.randrange(15):02}"] = "something else"
    moved = replace(side, body=body)
    return replace(known, hub=moved) if side is known.hub else replace(known, sis=moved)


def _merge_all(records: Sequence[Known], shape: Shape) -> int:
    policy = DeletePolicy()
    return sum(merge(known, shape, _RULES, policy, _NOW) is not UNTOUCHED for known in records)


def _rate(work: Callable[[], object], count: int) -> float:
    """Records a second of processor time, the median of some rounds."""
    rates = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        work()
        rates.append(count / (time.process_time() - begun))
    return median(rates)


def _tell(what: str, records: Sequence[Known], shape: Shape) -> None:
    rate = _rate(lambda: _merge_all(records, shape), len(records))
    print(f"{what:24} {rate:12,.0f} records/s {1e6 / rate:8.2f} µs each")


def _profile(records: Sequence[Known], shape: Shape) -> None:
    profile = cProfile.Profile()
    profile.runcall(_merge_all, records, shape)
    pstats.Stats(profile).sort_stats("tottime").print_stats(12)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    chance, shape = random.Random(1), Shape.of(_SCHEMA)
    untouched = [_known(number, _body(chance)) for number in range(arguments.records)]
    changed = [_change(known, chance) for known in untouched[: arguments.records // 5]]
    mixed = [_change(known, chance) if chance.random() < 0.05 else known for known in untouched]
    _tell("5 % changed", mixed, shape)
    _tell("untouched", untouched, shape)
    _tell("changed", changed, shape)
    _tell("first merge", [replace(known, base=None) for known in changed], shape)
    if arguments.profile:
        _profile(mixed, shape)


if __name__ == "__main__":
    main()
