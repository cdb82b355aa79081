"""A stream in memory against the plain model of it, and what memory it takes."""

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom import version_hash
from homeroom_server.hashes.hot_stream import HotStream, Inconsistent
from homeroom_server.hashes.recent import Recent

IDS = [f"r{i}" for i in range(60)]
CHANGES = st.lists(st.tuples(st.sampled_from(IDS), st.booleans()), max_size=120)


def id_hash(record_id: str) -> int:
    return int.from_bytes(hashlib.md5(record_id.encode()).digest()[:8], signed=True)


def packed(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(8, signed=True) for number in numbers)


def loaded(live: dict[str, int], upto: int) -> HotStream:
    named = sorted((id_hash(record_id), version) for record_id, version in live.items())
    ids, versions = [i for i, _ in named], [v for _, v in named]
    return HotStream.of("e", 0, upto, upto, packed(sorted(versions)), packed(ids), packed(versions))


def applied(hot: HotStream, changed: dict[str, int]) -> None:
    rows = sorted(changed.items(), key=lambda row: abs(row[1]))
    upto = max([hot.upto, *map(abs, changed.values())])
    hot.apply(upto, [id_hash(record_id) for record_id, _ in rows], [version for _, version in rows])


@given(st.lists(CHANGES, min_size=1, max_size=8))
def test_after_any_changes_it_hashes_as_the_protocol_does(batches: list[list[tuple[str, bool]]]) -> None:
    """The first batch is there when it is loaded. True: written, new or again; False: deleted or revoked."""
    live: dict[str, int] = {}
    version, hot = 0, None
    for batch in batches:
        changed: dict[str, int] = {}
        for record_id, is_live in batch:
            version += 1
            changed[record_id] = version if is_live else -version
        live = {i: v for i, v in (live | changed).items() if v > 0}
        if hot is None:
            hot = loaded(live, version)
        else:
            applied(hot, changed)
        assert hot.md5().hex() == version_hash(live.values())
        assert dict(zip(hot.ids, hot.versions, strict=True)) == {id_hash(i): v for i, v in live.items()}
        assert list(hot.ids) == sorted(hot.ids)
        assert (hot.upto, hot.top) == (version, version)


def test_one_change_and_very_many_of_a_long_stream() -> None:
    live = {f"r{i}": i + 1 for i in range(20_000)}
    hot = loaded(live, 20_000)
    for step, base in ((20_000, 20_001), (3, 100_000), (500, 200_000)):
        changed = {f"r{i}": base + i for i in range(0, 20_000, step)} | {f"n{step}": base + 20_001}
        changed = {i: -v if v % 5 == 0 else v for i, v in changed.items()}
        applied(hot, changed)
        live = {i: v for i, v in (live | changed).items() if v > 0}
        assert hot.md5().hex() == version_hash(live.values())


@pytest.mark.parametrize(("ids", "alone", "twice"), [([5, 5, 9], 9, 5), ([5, 9, 9], 5, 9)])
def test_two_ids_of_one_hash_are_noticed_when_one_of_them_moves(ids: list[int], alone: int, twice: int) -> None:
    hot = HotStream.of("e", 0, 3, 3, packed([1, 2, 3]), packed(ids), packed([1, 2, 3]))
    hot.apply(4, [alone], [4])
    with pytest.raises(Inconsistent):
        hot.apply(5, [twice], [5])


@pytest.mark.parametrize(("ids", "versions"), [([7, 7], [4, 5]), ([5], [2]), ([5], [3]), ([1, 1], [4, -5])])
def test_changes_that_do_not_fit_are_refused(ids: list[int], versions: list[int]) -> None:
    hot = HotStream.of("e", 0, 3, 3, packed([1, 2, 3]), packed([1, 2, 3]), packed([1, 2, 3]))
    with pytest.raises(Inconsistent):
        hot.apply(5, ids, versions)


@pytest.mark.parametrize(("ascending", "versions"), [([1, 2, 3], [1, 2, 4]), ([1, 2, 4], [1, 2, 3])])
def test_a_version_that_is_not_there_cannot_be_replaced(ascending: list[int], versions: list[int]) -> None:
    hot = HotStream.of("e", 0, 4, 4, packed(ascending), packed([1, 2, 3]), packed(versions))
    with pytest.raises(Inconsistent):
        hot.apply(5, [3], [5])


def test_a_record_takes_24_bytes() -> None:
    numbers = packed(list(range(1, 100_001)))
    tracemalloc.start()
    hot = HotStream.of("e", 0, 100_000, 100_000, numbers, numbers, numbers)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= hot.size * 1.01


def test_what_was_used_last_stays_and_sizes_are_counted() -> None:
    recent: Recent[str, bytearray] = Recent(100, len)
    for name in "abcde":
        recent.put(name, bytearray(20))
    assert recent.get("a") is not None
    grown = recent.take("b")
    assert grown is not None
    grown.extend(bytes(20))
    recent.put("b", grown)
    assert [recent.get(name) is not None for name in "abcde"] == [True, True, False, False, True]
    assert recent.size == 80
    recent.put("f", bytearray(200))
    assert (len(recent), recent.size) == (0, 0)
