"""What one read of the feed says to each who waits, against a plain filter of what moved (protocol 3)."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom import NotificationType
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.held.news import Changes, Interest, Movement, News

TYPES = [NotificationType("Note"), NotificationType("Plan", 2027), NotificationType("Bulletin")]
VERSIONS = st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True).map(sorted)
MOVED: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    streams=st.dictionaries(st.sampled_from([None, 1, 2]), VERSIONS, min_size=1),
    cut=st.booleans(),
    lost=st.sampled_from([False, False, True]),
)
FOUND = st.dictionaries(st.sampled_from(TYPES), MOVED, min_size=1)
ASKED = st.tuples(
    st.sampled_from([1, 2, 3]),
    st.lists(
        st.tuples(st.sampled_from(TYPES), st.booleans(), st.integers(0, 31)), min_size=1, unique_by=lambda e: e[0]
    ),
)
BOOKMARK = 30
"""Of each movement: no version is above it."""


def changes(versions: list[int]) -> Changes:
    return Changes([f"r{version}" for version in versions], versions)


def movement(notification_type: NotificationType, told: dict[str, Any]) -> Movement:
    streams = {viewer: changes(versions) for viewer, versions in told["streams"].items()}
    return Movement(notification_type, BOOKMARK, cut=told["cut"], lost=told["lost"], streams=streams)


def expected(found: dict[NotificationType, Any], seen: int, asked: Any) -> list[Any] | None:
    """Each type's reason, cursor, completeness and versions; None if there is nothing for the request."""
    viewer, entries = asked
    answer: list[Any] = []
    is_told = False
    for notification_type, everything, cursor in entries:
        moved = found.get(notification_type)
        above = moved["streams"].get(None if everything else viewer, []) if moved else []
        above = [version for version in above if version > cursor]
        if moved and moved["lost"]:
            answer.append(("none", cursor, True, []))
        elif moved and above:
            answer.append(("newer", above[-1] if moved["cut"] else BOOKMARK, not moved["cut"], above))
        else:
            answer.append(("none", max(seen, cursor), True, []))
        is_told = is_told or bool(moved and (moved["lost"] or above))
    return answer if is_told else None


@given(FOUND, st.integers(0, 31), st.lists(ASKED, min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_everybody_is_told_what_lies_above_their_cursors_in_the_streams_they_see(
    found: dict[NotificationType, Any], seen: int, asked: list[Any]
) -> None:
    bookmarks, news = Bookmarks(), News("e", [movement(name, told) for name, told in found.items()])
    bookmarks.begin("e")
    for name in TYPES:
        bookmarks.advance(name, seen)
    interests: dict[Any, Interest] = {}
    cursors: dict[Any, Any] = {}
    for viewer, entries in asked * 2:  # the second time all have been told before
        types, everything, since = (tuple(each) for each in zip(*entries, strict=True))
        interest = interests.setdefault((types, everything), Interest(types, everything))
        answer = news.answer(bookmarks, interest, viewer, cursors.setdefault(since, since))
        wanted = expected(found, seen, (viewer, entries))
        if wanted is None or answer is None:
            assert (wanted, answer) == (None, None)
            continue
        parts = orjson.loads(answer.body)["types"]
        assert answer.epoch == "e"
        assert [part["notificationType"] for part in parts] == [str(name) for name in types]
        assert [
            (p["reason"], p["maxCoreVersion"], p["complete"], [each["coreVersion"] for each in p["records"]])
            for p in parts
        ] == wanted
        assert all(each["id"] == f"r{each['coreVersion']}" for part in parts for each in part["records"])


def test_those_whom_no_stream_names_share_an_answer_only_if_they_ask_alike() -> None:
    note, _, bulletin = TYPES
    of_note, of_bulletin = Interest([note], [True]), Interest([bulletin], [True])
    streams = {note: [4, 9], bulletin: [5]}
    news = News("e", [Movement(name, 9, streams={None: changes(versions)}) for name, versions in streams.items()])
    since, later = (0,), (5,)
    told = []
    for interest, cursors in ((of_note, since), (of_bulletin, since), (of_bulletin, later), (of_note, later)):
        answer = news.answer(Bookmarks(), interest, 3, cursors)
        parts = [] if answer is None else orjson.loads(answer.body)["types"]
        told.append([record["coreVersion"] for part in parts for record in part["records"]])
    assert told == [[4, 9], [5], [], [9]]


def test_a_bookmark_never_goes_back_nor_below_what_a_client_has_seen() -> None:
    bookmarks = Bookmarks()
    bookmarks.begin("e")
    assert [bookmarks.still(TYPES[0], cursor).max_core_version for cursor in (0, 5)] == [0, 5]
    for version in (7, 3):
        bookmarks.advance(TYPES[0], version)
    assert bookmarks.seen(TYPES[0]) == 7
    answer = bookmarks.nothing(TYPES, (0, 1, 2))
    assert answer.epoch == "e"
    assert [part["maxCoreVersion"] for part in orjson.loads(answer.body)["types"]] == [7, 1, 2]
    bookmarks.begin("f")
    assert [bookmarks.seen(TYPES[0]), bookmarks.still(TYPES[0], 2).max_core_version] == [0, 2]
    assert bookmarks.nothing(TYPES, (0, 1, 2)).epoch == "f"
