"""The state machine of a replica's types, and how long it waits: pure, so every case is tried."""

from dataclasses import replace
from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from homeroom.pacing import Backoff, Hold, LoopGuard
from homeroom.replica.machine import TABLE, Happening, Phase, TypeState, What, advance, opened

STATES = st.builds(
    TypeState,
    st.sampled_from(Phase),
    st.integers(0, 50),
    st.integers(0, 50),
    st.sampled_from(["", "one", "other"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from(["", "broken"]),
)
HAPPENINGS = st.builds(
    Happening,
    st.sampled_from(What),
    st.integers(0, 50),
    st.integers(0, 50),
    st.sampled_from(["", "one", "other"]),
    st.sampled_from(["", "broken"]),
)


def test_no_cell_of_the_table_is_empty() -> None:
    assert set(TABLE) == set(What)
    assert {len(row) for row in TABLE.values()} == {len(Phase)}


def test_the_drawing_is_the_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "replica.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| **")]
    drawn = {cells[0].strip().strip("*"): [cell.strip() for cell in cells[1:]] for cells in rows}
    expected = {
        what.value: ["·" if to is phase else to.value for phase, to in zip(Phase, row, strict=True)]
        for what, row in TABLE.items()
    }
    assert drawn == expected


@given(STATES, HAPPENINGS)
def test_a_cursor_falls_only_where_a_history_ends(state: TypeState, happening: Happening) -> None:
    after = advance(state, happening)
    ends = happening.what is What.OTHER_HISTORY or (
        happening.what is What.NEW_EPOCH and state.phase in (Phase.EMPTY, Phase.LOADING)
    )
    restarts = state.phase in (Phase.EMPTY, Phase.LOADING)  # a window has a beginning and an end of its own
    assert after.cursor >= state.cursor or ends or restarts


@given(STATES, HAPPENINGS)
def test_only_a_hash_that_agreed_takes_doubt_away(state: TypeState, happening: Happening) -> None:
    after = advance(state, happening)
    if state.in_doubt and not after.in_doubt:
        assert happening.what is What.NOTHING
        assert happening.epoch
        assert after.phase is Phase.FOLLOWING
    if state.phase is not Phase.FOLLOWING and after.phase is Phase.FOLLOWING and state.phase is Phase.LOADING:
        assert after.in_doubt


@given(STATES, HAPPENINGS)
def test_what_is_halted_stays_so(state: TypeState, happening: Happening) -> None:
    halted = replace(state, phase=Phase.HALTED)
    assert advance(halted, happening).phase is Phase.HALTED
    assert advance(halted, happening).cursor == halted.cursor


def test_a_file_goes_on_where_it_was() -> None:
    for loaded, until in product((False, True), (0, 9)):
        state = opened(loaded=loaded, cursor=5, until=until, epoch="one")
        assert state.in_doubt
        assert state.phase is (Phase.FOLLOWING if loaded else Phase.LOADING if until else Phase.EMPTY)


@given(st.integers(0, 2000), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 500)))
def test_pauses_are_jittered_bounded_and_never_shorter_than_asked(
    failures: int, chance: float, asked: float | None
) -> None:
    pause = Backoff(failures).pause_seconds(chance, asked)
    assert (asked or 0) <= pause <= max(60, asked or 0)
    assert Backoff(failures).pause_seconds(0, asked) == (asked or 0)


def test_a_cut_lowers_the_wait_below_where_it_came_and_good_waits_raise_it_slowly() -> None:
    hold = Hold().cut_after(30.2)
    assert hold.wait_seconds == 27
    for _ in range(9):
        hold = hold.held(26.5)
    assert hold.wait_seconds == 27
    assert hold.held(26.5).wait_seconds == 28
    assert hold.held(3.0) == hold, "an answer that came early says nothing about how long one may be held"
    assert Hold().cut_after(0.2) == Hold(), "nor does a connection that broke at once"


@given(st.lists(st.one_of(st.tuples(st.just("cut"), st.floats(2, 400)), st.tuples(st.just("held"), st.floats(0, 60)))))
def test_waits_stay_in_bounds(events: list[tuple[str, float]]) -> None:
    hold = Hold()
    for kind, seconds in events:
        before = hold
        hold = hold.cut_after(seconds) if kind == "cut" else hold.held(seconds)
        assert 1 <= hold.wait_seconds <= 50
        if kind == "cut":
            assert hold.wait_seconds < max(seconds, 2)
            assert hold.wait_seconds <= before.wait_seconds


def test_a_fast_loop_is_noticed_at_its_third_answer_and_forgotten_when_something_moves() -> None:
    guard = LoopGuard()
    for _ in range(3):
        assert not guard.spinning
        guard = guard.answered(at_once=True, moved=False)
    assert guard.spinning
    assert guard.backoff.failures == 1
    assert not guard.answered(at_once=True, moved=True).spinning
    assert not guard.answered(at_once=False, moved=False).spinning
