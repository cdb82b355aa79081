"""What is kept of rows that come in: absences that count, records of one key, and nothing where nothing has moved."""

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from homeroom_merge.store import intake, seen
from homeroom_merge.store.intake import SisRow
from tests.merge.feeds import opened_state

SCHOOLS = ("S.0982", "S.0983")
Pairs = Sequence[tuple[str, int | None]]


@pytest.fixture
async def state(database_of_test: str) -> AsyncIterator[asyncpg.Connection]:
    async with opened_state(database_of_test) as own:
        yield own


async def subject_of(state: asyncpg.Connection) -> int:
    return (await seen.find_subject(state, "maple", "Section")).number


def row(key: str, school: str | None = "S.0982", year: int | None = 2027, name: str = "Ada", line: int = 2) -> SisRow:
    return SisRow(key, "live", f'{{"name":"{name}"}}', "name", school, year, None, None, None, f"line {line}")


async def feed(
    state: asyncpg.Connection,
    *rows: SisRow,
    years: Sequence[int] | None = None,
    pairs: Pairs | None = None,
    complete: bool = True,
    feeds: int = 2,
) -> None:
    """One feed, as a night takes it."""
    subject = await subject_of(state)
    async with state.transaction():
        await intake.begin(state)
        await intake.add(state, rows)
        await intake.take(state, subject)
        await state.execute("update record set base_hub = '{}', hub_state = 'live' where base_hub is null")
        if complete:
            await intake.count_absences(state, subject, SCHOOLS, years, pairs, feeds)


async def states(state: asyncpg.Connection) -> dict[str, str]:
    return {row["sis_key"]: row["sis_state"] for row in await state.fetch("select sis_key, sis_state from record")}


async def test_absence_counts_from_two_complete_feeds_in_a_row_on(state: asyncpg.Connection) -> None:
    await feed(state, row("a"), row("b"))
    told = []
    for rows in ((row("b"),), (row("a"), row("b")), (row("b"),), (row("b"),), (row("b"),)):
        await feed(state, *rows)
        told.append((await states(state))["a"])
    assert told == ["absent", "live", "absent", "deleted", "deleted"]
    assert (await states(state))["b"] == "live"


async def test_what_is_no_complete_feed_misses_nothing(state: asyncpg.Connection) -> None:
    await feed(state, row("a"))
    for _ in range(3):
        await feed(state, row("b"), complete=False)
    assert await states(state) == {"a": "live", "b": "live"}


@pytest.mark.parametrize(
    ("school", "year", "years", "pairs", "counts"),
    [
        ("S.0982", 2027, None, None, True),
        ("S.0982", None, None, None, True),
        ("S.0990", 2027, None, None, False),
        (None, 2027, None, None, False),
        ("S.0982", 2027, None, [("S.0982", 2027)], True),
        ("S.0982", 2027, None, [("S.0982", None)], True),
        ("S.0982", 2027, None, [("S.0982", 2028)], False),
        ("S.0982", 2027, None, [("S.0983", 2027)], False),
        ("S.0982", 2027, [2028], None, False),
        ("S.0982", 2028, [2028], None, True),
        ("S.0982", None, [2028], None, True),
    ],
)
async def test_absence_counts_for_own_schools_and_years_that_are_covered_and_merged(
    state: asyncpg.Connection,
    school: str | None,
    year: int | None,
    years: Sequence[int] | None,
    pairs: Pairs | None,
    counts: bool,
) -> None:
    """A year that rolls over, or that settings merge no longer, deletes nothing of the old one."""
    await feed(state, row("a", school, year))
    for _ in range(2):
        await feed(state, row("b"), years=years, pairs=pairs)
    assert (await states(state))["a"] == ("deleted" if counts else "live")


async def test_records_of_one_key_are_told_with_all_their_places(state: asyncpg.Connection) -> None:
    async with state.transaction():
        await intake.begin(state)
        await intake.add(state, [row("a", line=2), row("b", line=3), row("a", line=4), row("a", line=5)])
        assert [each async for each in intake.twins(state)] == [("a", ["line 2", "line 4", "line 5"])]
        assert await intake.fail(state, [("a", "[]")]) == 3
        await intake.take(state, await subject_of(state))
    assert await states(state) == {"a": "failed", "b": "live"}


async def test_a_night_on_which_nothing_has_changed_writes_nothing(state: asyncpg.Connection) -> None:
    async def versions() -> dict[str, str]:
        found = await state.fetch("select sis_key, xmin::text from record")
        return {row["sis_key"]: row["xmin"] for row in found}

    await feed(state, row("a"), row("b"))
    before = await versions()
    await feed(state, row("a"), row("b"))
    assert await versions() == before
    await feed(state, row("a", name="Eve"), row("b"))
    now = await versions()
    assert (now["a"] == before["a"], now["b"] == before["b"]) == (False, True)


async def test_what_fails_keeps_the_body_it_was_last_seen_with(state: asyncpg.Connection) -> None:
    await feed(state, row("a"))
    await feed(state, row("a")._replace(state="failed", body=None, covered=None, faults="[]"))
    (kept,) = await state.fetch("select sis_state, sis_seen, sis_covered from record")
    assert tuple(kept) == ("failed", '{"name":"Ada"}', ["name"])


async def test_what_nothing_was_made_of_is_forgotten_whosever_it_is(state: asyncpg.Connection) -> None:
    await feed(state, row("a", "S.0990"))
    await state.execute("update record set base_hub = null, base_sis = null, hub_state = 'absent'")
    async with state.transaction():
        await intake.begin(state)
        await intake.count_absences(state, await subject_of(state), SCHOOLS, None, None, 1)
    assert await states(state) == {"a": "deleted"}
