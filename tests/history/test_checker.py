"""The checker itself: every promise, broken on purpose in a copy of a history, is caught under its own name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.checker import PROMISES, check
from tests.history.events import (
    CUT,
    Acted,
    Ended,
    Epochs,
    Event,
    Got,
    Held,
    Kept,
    Listed,
    Looked,
    Past,
    Recorder,
    Result,
    Row,
    Seen,
    Sent,
    Stored,
    StoredRow,
    Submitted,
    read_events,
)

FIRST, SECOND = "first", "second"
JUMP = 1_000
"""Above it lies the second history of these hand-made ones."""


def submitted(key: str, *records: tuple[str, int, int], deleted: bool = False, at: float = 0.0) -> Submitted:
    """An accepted call; of each record the id, the expected version and the version that it got."""
    last = max(version for _, _, version in records)
    digest = "" if deleted else f"body of {key}"
    return Submitted(
        began=at or last,
        ended=at or last + 0.5,
        client="writer",
        organization="S.0982",
        type="Note",
        key=key,
        sent=tuple(Sent(i, expected, deleted, digest) for i, expected, _ in records),
        epoch=SECOND if last > JUMP else FIRST,
        results=tuple(Result(i, version) for i, _, version in records),
    )


def looked(cursor: int, bookmark: int, *listed: tuple[str, int], **members: object) -> Looked:
    """What the school of the records was told; `none` if nothing is listed."""
    look = Looked(
        began=bookmark,
        ended=bookmark + 0.9,
        client="looker",
        organization="S.0982",
        type="Note",
        cursor=cursor,
        cursor_epoch=FIRST,
        epoch=SECOND if bookmark > JUMP else FIRST,
        reason="newer" if listed else "none",
        listed=tuple(Listed(*each) for each in listed),
        bookmark=bookmark,
    )
    return replace(look, **members)  # type: ignore[arg-type]


def got(*seen: Seen, organization: str = "S.0982") -> Got:
    return Got(began=0, ended=0, client="looker", organization=organization, type="Note", epoch=FIRST, records=seen)


A, B, C, D = "S.0982.a", "S.0982.b", "S.0982.c", "S.0982.d"
ROWS = (
    StoredRow(A, 14, False, "body of change"),
    StoredRow(B, 15, True, "body of two"),
    StoredRow(C, 12, False, "body of c"),
)
CALLS = (
    submitted("two", (A, 0, 10), (B, 0, 11)),
    submitted("c", (C, 0, 12)),
    submitted("change", (A, 10, 14)),
    submitted("delete", (B, 11, 15), deleted=True),
)
LOOKS = (
    looked(0, 12, (A, 10), (B, 11), (C, 12)),
    looked(12, 13),
    looked(13, 15, (A, 14), (B, 15)),
    looked(12, 15, (A, 14), (B, 15), resumed=True),
    looked(3, 15, (C, 12), (A, 14), reason="mismatch", resumed=True),
)
HELD = Held(at=20, checkpoint=1, client="looker", organization="S.0982", type="Note", rows=(Row(C, 12), Row(A, 14)))
STRANGER = replace(HELD, client="stranger", organization="S.0990", rows=())
STORED = Stored(at=19, checkpoint=1, epoch=FIRST, type="Note", rows=ROWS)
WHOLE: tuple[Event, ...] = (
    *CALLS,
    *LOOKS,
    replace(CALLS[3], client="again"),
    replace(CALLS[3], key="unheard", error=CUT, results=(), epoch=""),
    replace(CALLS[0], key="foreign", organization="S.0990", results=(Result(A, 0, (9020,)), Result(B, 0, (9020,)))),
    got(Seen(A, "Normal", 14, False, "body of change"), Seen(B, "Normal", 15, True, "body of two")),
    got(Seen(A, "Unknown"), organization="S.0990"),
    Acted(began=1, ended=2, action="kill_node"),
    STORED,
    HELD,
    STRANGER,
    Epochs(at=20, pasts=(Past(FIRST, 0),)),
)

TAIL = submitted("tail", (D, 0, 16), at=30)
AFTER = submitted("after", (D, 0, 1_017))
EPOCHS = Epochs(at=2_000, pasts=(Past(FIRST, 0), Past(SECOND, JUMP, (Kept("Note", 15),))))
FAILED_OVER: tuple[Event, ...] = (
    *WHOLE[:-1],
    TAIL,
    looked(15, 16, (D, 16)),
    looked(16, 1_020, (D, 1_017)),
    AFTER,
    replace(STORED, at=1_999, checkpoint=2, epoch=SECOND, rows=(*ROWS, StoredRow(D, 1_017, False, "body of after"))),
    replace(HELD, checkpoint=2, rows=(*HELD.rows, Row(D, 1_017))),
    EPOCHS,
)
"""The change at 16 was acknowledged, and is declared lost."""


def broken(events: Sequence[Event]) -> set[str]:
    return {finding.promise for finding in check(events)}


def swap(old: Event, *new: Event) -> list[Event]:
    """The whole history with one event taken out and others in its place."""
    history = WHOLE if old in WHOLE else FAILED_OVER
    assert old in history
    return [each for event in history for each in (new if event is old else (event,))]


def without(look: Looked, record_id: str) -> Looked:
    return replace(look, listed=tuple(listed for listed in look.listed if listed.id != record_id))


PLANTED: dict[str, tuple[str, list[Event]]] = {
    "a list that falls": ("Ordered", swap(LOOKS[0], replace(LOOKS[0], listed=LOOKS[0].listed[::-1]))),
    "a list from below the cursor": ("Ordered", swap(LOOKS[2], replace(LOOKS[2], cursor=14))),
    "a list above its bookmark": ("Ordered", swap(LOOKS[2], replace(LOOKS[2], bookmark=14))),
    "a bookmark that falls": ("Ordered", swap(LOOKS[1], looked(12, 11))),
    "a version that comes again": ("Ordered", swap(LOOKS[1], looked(12, 13), replace(LOOKS[0], cursor=13))),
    "a change left out": ("Reliable", swap(LOOKS[2], without(LOOKS[2], A))),
    "a tombstone left out": ("Reliable", swap(LOOKS[2], without(LOOKS[2], B))),
    "a bookmark that passes a change": ("Reliable", swap(LOOKS[1], looked(12, 14))),
    "a full list that lacks a record": (
        "Reliable",
        swap(LOOKS[4], replace(without(LOOKS[4], C), resumed=False)),
    ),
    "a full list with a tombstone": (
        "Reliable",
        swap(LOOKS[4], replace(LOOKS[4], resumed=False, listed=(*LOOKS[4].listed, Listed(B, 15)))),
    ),
    "a page that ends too early": (
        "Reliable",
        swap(LOOKS[0], replace(without(LOOKS[0], C), complete=False)),
    ),
    "one version, two records": ("Unique", swap(CALLS[1], submitted("c", (C, 0, 12)), submitted("d", (D, 0, 12)))),
    "one version, two bodies": ("Unique", [*WHOLE, got(Seen(A, "Normal", 14, False, "another"))]),
    "one version, live and deleted": ("Unique", [*WHOLE, got(Seen(A, "Normal", 14, True, "body of change"))]),
    "a version given out again after a fail-over": (
        "Unique",
        swap(AFTER, replace(AFTER, results=(Result(D, 1_017),)), submitted("other", (C, 12, 16), at=1_500)),
    ),
    "half of a commit": ("Atomic", swap(LOOKS[0], looked(0, 10, (A, 10)), looked(10, 12, (B, 11), (C, 12)))),
    "a commit in parts": ("Atomic", swap(LOOKS[0], looked(0, 12, (A, 10), (C, 12)))),
    "an old cursor that misses a change": ("Resumable", swap(LOOKS[3], without(LOOKS[3], A))),
    "an old cursor that is refused": (
        "Resumable",
        [*WHOLE, looked(12, 0, resumed=True, error=2003, epoch=FIRST)],
    ),
    "a full list that lacks one, for an old cursor": ("Resumable", swap(LOOKS[4], without(LOOKS[4], C))),
    "an entry per change": (
        "Bounded",
        swap(LOOKS[2], replace(LOOKS[2], listed=(Listed(A, 13), *LOOKS[2].listed))),
    ),
    "a list to a stranger": ("Visible", [*WHOLE, looked(13, 15, (A, 14), organization="S.0990")]),
    "a record to a stranger": ("Visible", [*WHOLE, got(Seen(A, "Normal", 14), organization="S.0990")]),
    "a hint to a stranger": ("Visible", [*WHOLE, got(Seen(A, "NoAccess"), organization="S.0990")]),
    "a write by a stranger": ("Visible", [*WHOLE, replace(CALLS[0], key="theirs", organization="S.0990")]),
    "a rejection that says too much": (
        "Visible",
        [*WHOLE, replace(CALLS[1], key="x", organization="S.0990", results=(Result(C, 0, (9020, 9023)),))],
    ),
    "a rejection that tells what is there": (
        "Visible",
        [*WHOLE, replace(CALLS[1], began=18, key="x", organization="S.0990", results=(Result(C, 0, (3004,)),))],
    ),
    "a row missing": ("Converging", swap(HELD, replace(HELD, rows=HELD.rows[:1]))),
    "a row too many": ("Converging", swap(HELD, replace(HELD, rows=(*HELD.rows, Row(B, 15))))),
    "an old row": ("Converging", swap(HELD, replace(HELD, rows=(Row(C, 12), Row(A, 10))))),
    "another body": ("Converging", swap(HELD, replace(HELD, rows=(Row(C, 12), Row(A, 14, "another"))))),
    "a hash that differs": ("Converging", swap(HELD, replace(HELD, hash_agreed=False))),
    "a client that gave up": ("Converging", [*WHOLE, Ended(at=1, client="replica", explanation="halted")]),
    "a write lost": ("Acknowledged", swap(STORED, replace(STORED, rows=ROWS[:2]))),
    "a write undone": (
        "Acknowledged",
        swap(STORED, replace(STORED, rows=(StoredRow(A, 10, False, "body of two"), *ROWS[1:]))),
    ),
    "a write overwritten unseen": ("Acknowledged", swap(CALLS[2], submitted("change", (A, 9, 14)))),
    "a call answered twice": ("Acknowledged", [*WHOLE, replace(CALLS[3], results=(Result(B, 0, (3004,)),))]),
    "more lost than was declared": (
        "Acknowledged",
        swap(EPOCHS, Epochs(at=2_000, pasts=(Past(FIRST, 0), Past(SECOND, JUMP, (Kept("Note", 16),))))),
    ),
    "a loss within an epoch": ("Acknowledged", swap(EPOCHS, Epochs(at=2_000, pasts=(Past(FIRST, 0),)))),
}


@pytest.mark.parametrize("history", [WHOLE, FAILED_OVER], ids=["one epoch", "a lossy fail-over"])
def test_a_history_that_keeps_every_promise_passes(history: Sequence[Event]) -> None:
    assert check(history) == []


def test_a_call_whose_first_answer_a_fail_over_took_back_may_be_rejected_when_it_is_repeated() -> None:
    again = replace(TAIL, began=40, ended=41, epoch=SECOND, results=(Result(D, 0, (3004,)),))
    assert broken([*FAILED_OVER[:-1], again, EPOCHS]) == set()
    assert broken([*FAILED_OVER[:-1], replace(again, epoch=FIRST), EPOCHS]) == {"Acknowledged"}


@pytest.mark.parametrize(("promise", "history"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_caught_under_its_name(promise: str, history: Sequence[Event]) -> None:
    assert promise in broken(history)


def test_every_promise_has_a_planted_fault() -> None:
    assert {promise for promise, _ in PLANTED.values()} == set(PROMISES)


def test_a_recorded_history_reads_back_as_it_was(tmp_path: Path) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        for event in FAILED_OVER:
            recorder.add(event)
    assert tuple(read_events(tmp_path / "history.jsonl")) == FAILED_OVER


STEP = st.tuples(st.sampled_from([A, B, C]), st.booleans(), st.integers(1, 3))


def story(steps: Sequence[tuple[str, bool, int]]) -> list[Event]:
    """A Core that keeps its promises: changes in turn, a looker that follows and sometimes misses a turn."""
    events: list[Event] = []
    stood: dict[str, tuple[int, bool]] = {}
    cursor = version = 0
    for record_id, deleted, turns in steps:
        version += 1
        before, gone = stood.get(record_id, (0, True))
        deletes = deleted and not gone
        events.append(submitted(str(version), (record_id, before, version), deleted=deletes))
        stood[record_id] = (version, deletes)
        if turns > 1:
            listed = sorted(((i, v) for i, (v, _) in stood.items() if v > cursor), key=lambda each: each[1])
            events.append(looked(cursor, version, *listed))
            cursor = version
    rows = tuple(StoredRow(i, v, gone, "") for i, (v, gone) in stood.items())
    held = tuple(Row(i, v) for i, (v, gone) in stood.items() if not gone)
    events += [replace(STORED, at=version + 1, rows=rows), replace(HELD, rows=held)]
    return events


@given(st.lists(STEP, min_size=1, max_size=20))
def test_whatever_happens_in_order_passes(steps: list[tuple[str, bool, int]]) -> None:
    assert check(story(steps)) == []


@given(st.lists(STEP, min_size=1, max_size=20), st.data())
def test_an_entry_taken_out_of_any_list_is_missed(steps: list[tuple[str, bool, int]], data: st.DataObject) -> None:
    events = story(steps)
    looks = [event for event in events if isinstance(event, Looked) and event.listed]
    if not looks:
        return
    look = data.draw(st.sampled_from(looks))
    gone = data.draw(st.sampled_from(look.listed))
    events[events.index(look)] = without(look, gone.id)
    assert "Reliable" in broken(events)
