"""When nights begin: over the changes of the clock, spread, and with an end."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.runners.nights import Night, begun, blackout, coming, night_of
from homeroom_merge.settings.model import Feed
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml

ZONES = ("America/Edmonton", "Europe/Berlin", "Australia/Lord_Howe")
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CHANGES = [
    # Half an hour here, an hour there; forwards, then back.
    ("America/Edmonton", date(2026, 3, 8), "30 2 * * *", "2026-03-08T09:00+00:00"),
    ("America/Edmonton", date(2026, 11, 1), "30 1 * * *", "2026-11-01T07:30+00:00"),
    ("Europe/Berlin", date(2026, 3, 29), "15 2 * * *", "2026-03-29T01:00+00:00"),
    ("Europe/Berlin", date(2026, 10, 25), "15 2 * * *", "2026-10-25T00:15+00:00"),
    ("Australia/Lord_Howe", date(2026, 10, 4), "10 2 * * *", "2026-10-03T15:30+00:00"),
    ("Australia/Lord_Howe", date(2026, 4, 5), "40 1 * * *", "2026-04-04T14:40+00:00"),
]

zones = st.sampled_from(ZONES)
hours = st.integers(0, 23)
minutes = st.integers(0, 59)
days = st.dates(date(2024, 1, 1), date(2030, 12, 31))
changing = st.builds(
    lambda change, shift: change + DAY * shift,
    st.sampled_from([day for _, day, _, _ in CHANGES]),
    st.integers(-1, 1),
)


def feed(zone: str, cron: str = "30 1 * * *", until: str = "06:00", spread: int = 0, name: str = "elk") -> Feed:
    return Feed(name, "edfi", "A.9", ("S.91",), zone, cron, spread, until)


@pytest.mark.parametrize(("zone", "day", "cron", "begins"), CHANGES)
def test_a_skipped_start_is_at_the_next_minute_and_a_doubled_one_is_the_first(
    zone: str, day: date, cron: str, begins: str
) -> None:
    night = night_of(feed(zone, cron), day)
    assert night is not None
    assert night.begins == datetime.fromisoformat(begins)


@given(zones, hours, minutes, days | changing)
def test_every_date_has_one_night_that_begins_at_its_time_or_just_after_a_gap(
    zone: str, hour: int, minute: int, day: date
) -> None:
    night = night_of(feed(zone, f"{minute} {hour} * * *"), day)
    assert night is not None
    wall, shown = (
        datetime.combine(day, time(hour, minute)),
        night.begins.astimezone(ZoneInfo(zone)).replace(tzinfo=None),
    )
    assert wall <= shown <= wall + timedelta(hours=1)
    if shown != wall:  # just before there was another offset
        before = (night.begins - MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert before < wall
    earlier = (night.begins - DAY / 8).astimezone(ZoneInfo(zone))
    assert (earlier.replace(tzinfo=None) < wall) == (earlier < night.begins)
    assert night.begins < night.until <= night.begins + DAY + timedelta(hours=1)


@given(zones, hours, minutes, days | changing, st.integers(0, 240))
def test_nights_follow_each_other_and_each_is_found_while_it_goes(
    zone: str, hour: int, minute: int, day: date, spread: int
) -> None:
    of = feed(zone, f"{minute} {hour} * * *", spread=spread)
    first, second = night_of(of, day), night_of(of, day + DAY)
    assert first is not None
    assert second is not None
    assert first.begins < second.begins
    assert begun(of, first.begins) == first
    assert begun(of, second.begins - MINUTE) == first
    assert coming(of, first.begins) == second
    assert coming(of, first.begins - MINUTE) == first


@given(zones, days | changing, st.integers(0, 600), st.lists(st.text(min_size=1), min_size=2, max_size=20))
def test_feeds_of_one_time_are_spread_and_none_begins_after_its_end(
    zone: str, day: date, spread: int, names: list[str]
) -> None:
    plain = night_of(feed(zone), day)
    assert plain is not None
    for name in names:
        night = night_of(feed(zone, spread=spread, name=name), day)
        assert night is not None
        assert plain.begins <= night.begins <= plain.begins + MINUTE * spread
        assert night.begins < night.until == plain.until


def test_of_a_hundred_feeds_no_ten_minutes_have_them_all() -> None:
    nights = [
        night_of(feed("Europe/Berlin", spread=60, name=f"feed {number}"), date(2026, 6, 1)) for number in range(100)
    ]
    tenths = {(night.begins.minute // 10, night.begins.hour) for night in nights if night is not None}
    assert len(tenths) >= 6


def test_a_night_begins_in_the_evening_and_ends_in_the_morning() -> None:
    night = night_of(feed("Europe/Berlin", "0 22 * * *"), date(2026, 10, 24))
    assert night == Night(
        date(2026, 10, 24), datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 25, 5, tzinfo=UTC)
    )


def test_cron_leaves_days_out() -> None:
    weekdays = feed("America/Edmonton", "30 1 * * 1-5")
    assert night_of(weekdays, date(2026, 11, 21)) is None  # a Saturday
    now = datetime(2026, 11, 20, 20, tzinfo=UTC)
    found = coming(weekdays, now)
    assert found is not None
    assert found.date == date(2026, 11, 23)
    assert coming(feed("America/Edmonton", ""), now) is None
    assert begun(feed("America/Edmonton", ""), now) is None


def test_blackouts_have_names_and_both_of_their_days() -> None:
    plain = as_toml("edfi", "elk", "A.9", ["S.91"], ["Student"])
    settings = read_settings(plain + '[[blackouts]]\nname = "report cards"\nstarts = 2026-06-22\nends = 2026-06-26\n')
    found = [blackout(settings, date(2026, 6, day)) for day in (21, 22, 26, 27)]
    assert found == [None, "report cards", "report cards", None]
