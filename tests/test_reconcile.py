"""Protocol 7: repair in proportion to the difference, through the front door and as a pure function."""

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom import Client, HomeroomError
from homeroom.reconciliation import LocalRecords, fingerprint, fingerprint_halves
from tests.conftest import Core
from tests.records import Json, accepted, available, note, pairs, record

Answer = list[Mapping[str, Any]]


async def differences(
    client: Client, type_name: str, cursor: int, held: Mapping[str, int]
) -> tuple[dict[str, int], set[str], int, int]:
    """(differing, extra, round trips, bytes both ways) of a whole reconciliation."""
    local = LocalRecords(held.items())
    ask = local.whole()
    differing: dict[str, int] = {}
    extra: set[str] = set()
    trips = size = 0
    while ask:
        answer = await client.reconcile(type_name, cursor, ask)
        trips += 1
        size += len(orjson.dumps(list(ask))) + len(orjson.dumps(answer))
        step = local.compare(answer.ranges)
        differing |= dict(step.differing)
        extra |= set(step.extra)
        ask = list(step.ask)
    return differing, extra, trips, size


async def stream_of(client: Client, type_name: str, count: int) -> tuple[dict[str, int], int]:
    """Submit so many records; what a replica of them holds, and its cursor."""
    chance = random.Random(7)
    ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(count)]
    for start in range(0, count, 5_000):
        await accepted(client, type_name, *(record(i, {}) for i in ids[start : start + 5_000]))
    found = await available(client, type_name)
    return dict(pairs(found)), found["maxCoreVersion"]


async def test_identical_replicas_need_one_round_trip_under_a_kilobyte(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    held, cursor = await stream_of(school, "Plan.2027", 2_000)
    differing, extra, trips, size = await differences(school, "Plan.2027", cursor, held)
    assert (differing, extra, trips) == ({}, set(), 1)
    assert size < 1_000


@pytest.mark.parametrize("organization", ["S.0982", "A.3020", "O.1"])
async def test_what_differs_is_found_and_nothing_else(plain_core: Core, organization: str) -> None:
    school = await plain_core.client("S.0982")
    await accepted(await plain_core.client("S.0990"), "Plan.2026", record(str(UUID(int=1)), {}))
    core, cursor = await stream_of(school, "Plan.2027", 12_000)
    client = await plain_core.client(organization)
    chance = random.Random(1)
    chosen = chance.sample(sorted(core), 60)
    missing, stale, extra = chosen[:20], chosen[20:40], {str(UUID(int=i)) for i in range(20)}
    held = {i: v for i, v in core.items() if i not in missing} | dict.fromkeys(stale, 1) | dict.fromkeys(extra, 5)
    differing, found_extra, trips, size = await differences(client, "Plan.2027", cursor, held)
    assert differing == {i: core[i] for i in [*missing, *stale]}
    assert found_extra == extra
    assert trips <= 4
    full_list = len(orjson.dumps([{"id": i, "coreVersion": v} for i, v in core.items()]))
    assert size < full_list / 2


async def test_deleted_records_are_extra(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    (gone,) = await accepted(school, "Note", record("a", None, a, deleted=True))
    differing, extra, _, _ = await differences(school, "Note", gone, {"a": a, "b": b})
    assert (differing, extra) == ({}, {"a"})


async def test_an_empty_stream_and_an_empty_replica(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    assert (await differences(school, "Note", 0, {}))[:3] == ({}, set(), 1)
    assert (await differences(school, "Note", 0, {"a": 1}))[:3] == ({}, {"a"}, 1)
    (a,) = await accepted(school, "Note", note("a"))
    assert (await differences(school, "Note", a, {}))[:3] == ({"a": a}, set(), 1)


async def test_versions_of_another_history_are_refused(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    with pytest.raises(HomeroomError) as failure:
        await school.reconcile("Note", 10**9, LocalRecords([]).whole())
    assert failure.value.code == 2003


@pytest.mark.parametrize(
    ("ranges", "code"),
    [
        ([], 3001),
        ([{"from": None, "to": None, "count": -1, "fingerprint": "0" * 32}], 3001),
        ([{"from": "\0", "to": None, "count": 0, "fingerprint": "0" * 32}], 3001),
        ([{"from": None, "to": None, "count": 0, "fingerprint": "x"}], 3001),
        ([{"from": to, "to": to, "count": 0, "fingerprint": "0" * 32} for to in (5, "a")], 3001),
        ([{"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}] * 2, 3002),
        ([{"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}] * 1001, 3003),
    ],
)
async def test_bad_ranges_are_refused(plain_core: Core, ranges: list[Json], code: int) -> None:
    school = await plain_core.client("S.0982")
    with pytest.raises(HomeroomError) as failure:
        await school.reconcile("Note", 0, ranges)
    assert failure.value.code == code


def test_the_fingerprint_is_as_specified() -> None:
    assert fingerprint(0, 0) == "0" * 32
    assert fingerprint(2**64 + 1, -1) == "0000000000000001" + "f" * 16
    assert fingerprint(*fingerprint_halves("a", 1)) == "44cac79f89ed8fdc918236e71e3d09f8"


PAIRS = st.dictionaries(st.text("abc.-_XYZ019", min_size=1, max_size=6), st.integers(1, 50), max_size=60)


def scripted_core(core: Mapping[str, int], pieces: int, few: int) -> Callable[[list[Mapping[str, Any]]], Answer]:
    """A Core written anew from the contract: splits wherever it likes."""

    def between(low: str | None, high: str | None) -> dict[str, int]:
        return {i: v for i, v in core.items() if (low is None or i >= low) and (high is None or i < high)}

    def describe(low: str | None, high: str | None) -> Json:
        halves = [fingerprint_halves(i, v) for i, v in between(low, high).items()]
        sums = fingerprint(sum(h for h, _ in halves), sum(w for _, w in halves))
        return {"from": low, "to": high, "count": len(halves), "fingerprint": sums}

    def answer(asked: list[Mapping[str, Any]]) -> Answer:
        answers: Answer = []
        for range_ in asked:
            low, high = range_["from"], range_["to"]
            members = sorted(between(low, high))
            if describe(low, high) == range_:
                answers.append({"from": low, "to": high, "result": "match"})
            elif len(members) <= few:
                listed = [{"id": i, "coreVersion": core[i]} for i in members]
                answers.append({"from": low, "to": high, "result": "records", "records": listed})
            else:
                borders = [members[len(members) * n // pieces] for n in range(1, pieces)]
                edges = [low, *sorted(set(borders) - {members[0]}), high]
                parts = [describe(*edge) for edge in itertools.pairwise(edges)]
                answers.append({"from": low, "to": high, "result": "split", "ranges": parts})
        return answers

    return answer


@given(PAIRS, PAIRS, st.integers(2, 5), st.integers(1, 4))
def test_any_two_sets_are_told_apart(core: dict[str, int], held: dict[str, int], pieces: int, few: int) -> None:
    ask_core = scripted_core(core, pieces, few)
    local = LocalRecords(held.items())
    ask = local.whole()
    differing: dict[str, int] = {}
    extra: set[str] = set()
    while ask:
        step = local.compare(ask_core(list(ask)))
        differing |= dict(step.differing)
        extra |= set(step.extra)
        ask = list(step.ask)
    assert differing == {i: v for i, v in core.items() if held.get(i) != v}
    assert extra == held.keys() - core.keys()
