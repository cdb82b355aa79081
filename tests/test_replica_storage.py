"""What every storage of a replica promises, tried on each."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom import MemoryStorage, StorageError, version_hash
from homeroom.answers import Result
from homeroom.replica import SqliteStorage, Storage
from homeroom.replica.arrivals import arrival
from homeroom.replica.machine import Phase, TypeState
from homeroom.replica.storage import Arrival, Batch, Change, Kind
from homeroom.replica.writes import Write

LOADED = TypeState(Phase.FOLLOWING, cursor=10, epoch="one")
KINDS = [Kind("Note", followed=False), Kind("NoteStatus", "Note"), Kind("Plan.2027", members=("title", "id"))]


def came(record_id: str, version: int, text: str = "", *, deleted: bool = False, source: int | None = None) -> Arrival:
    record = {"id": record_id, "coreVersion": version, "deleted": deleted, "body": {"text": text}}
    return arrival(record | ({} if source is None else {"sourceVersion": source}))


@pytest.fixture(params=["sqlite", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made: Storage = SqliteStorage(tmp_path / "r.db") if request.param == "sqlite" else MemoryStorage()
    made.subscribe(KINDS)
    yield made
    made.close()


def loaded(storage: Storage, *arrivals: Arrival) -> Storage:
    storage.load("Plan.2027", Batch(arrivals), TypeState(Phase.LOADING, 5, 10, "one"))
    storage.finish_load("Plan.2027", LOADED)
    return storage


def seen(storage: Storage, consumer: str = "c", limit: int = 100) -> list[Change]:
    found = list(storage.changes(consumer, limit))
    for change in found:
        storage.acknowledge(consumer, change)
    return found


def short(changes: list[Change]) -> list[tuple[str, int, str, object, object]]:
    return [(c.id, c.version, c.kind, c.old and c.old["text"], c.new and c.new["text"]) for c in changes]


def test_a_first_load_is_unseen_until_it_is_finished(storage: Storage) -> None:
    storage.load("Plan.2027", Batch([came("a", 5, "x")]), TypeState(Phase.LOADING, 5, 10, "one"))
    assert storage.record("Plan.2027", "a") is None
    assert seen(storage) == []
    assert (storage.state("Plan.2027").phase, storage.state("Plan.2027").cursor) == (Phase.LOADING, 5)
    storage.finish_load("Plan.2027", LOADED)
    record = storage.record("Plan.2027", "a")
    assert record is not None
    assert (record.version, record.body) == (5, {"text": "x"})
    assert short(seen(storage)) == [("a", 5, "changed", None, "x")]
    assert (storage.state("Plan.2027").phase, storage.state("Plan.2027").cursor) == (Phase.FOLLOWING, 10)


def test_a_first_load_that_is_forgotten_leaves_nothing(storage: Storage) -> None:
    storage.load("NoteStatus", Batch([came("a", 5)], [came("a", 4)]), TypeState(Phase.LOADING, 5, 10, "one"))
    storage.forget_load("NoteStatus")
    assert storage.state("NoteStatus").phase is Phase.EMPTY
    storage.load("NoteStatus", Batch([came("b", 7)], [came("b", 6)]), TypeState(Phase.LOADING, 7, 10, "two"))
    storage.finish_load("NoteStatus", LOADED)
    assert dict(storage.live("NoteStatus")) == {"b": 7}
    assert dict(storage.live("Note")) == {"b": 6}


def test_records_and_cursor_move_together_and_nothing_older_is_taken(storage: Storage) -> None:
    loaded(storage, came("a", 5, "five"), came("b", 6, "six"))
    assert storage.apply("Plan.2027", Batch([came("a", 12, "twelve"), came("b", 4, "four")], cursor=12)) == 1
    assert storage.state("Plan.2027").cursor == 12
    assert dict(storage.live("Plan.2027")) == {"a": 12, "b": 6}
    assert storage.version_hash("Plan.2027") == version_hash([6, 12])
    assert storage.apply("Plan.2027", Batch([came("b", 4, "four")], repair=True)) == 1
    assert (storage.highest_version("Plan.2027"), storage.state("Plan.2027").cursor) == (12, 12)
    assert storage.versions("Plan.2027", ["a", "b", "c"]) == {"a": 12, "b": 4}


def test_a_batch_that_cannot_be_stored_changes_nothing(storage: Storage) -> None:
    loaded(storage, came("a", 5, "five"))
    broken = came("c", 14)._replace(body=b"\xff")  # type: ignore[arg-type]
    if isinstance(storage, SqliteStorage):
        broken = came("c", 14)._replace(body=None)  # type: ignore[arg-type]
        with pytest.raises(StorageError):
            storage.apply("Plan.2027", Batch([came("a", 13, "13"), broken], cursor=14))
        assert dict(storage.live("Plan.2027")) == {"a": 5}
        assert storage.state("Plan.2027").cursor == 10
        assert seen(storage, "later")[0].version == 5


def test_changes_come_once_in_order_with_old_and_new_body(storage: Storage) -> None:
    loaded(storage, came("a", 5, "five"), came("b", 6, "six"))
    assert len(seen(storage)) == 2
    storage.apply("Plan.2027", Batch([came("a", 11, "11")], cursor=11))
    storage.apply("Plan.2027", Batch([came("a", 12, "12"), came("b", 13, "6", deleted=True)], cursor=13))
    storage.apply("Plan.2027", Batch([came("b", 14, "back"), came("n", 15, "new")], cursor=15))
    storage.apply("Plan.2027", Batch(dropped=["a", "unheard-of"], cursor=16))
    assert short(seen(storage)) == [
        ("a", 11, "changed", "five", "11"),
        ("a", 12, "changed", "11", "12"),
        ("b", 13, "deleted", "six", None),
        ("b", 14, "changed", None, "back"),
        ("n", 15, "changed", None, "new"),
        ("a", 12, "dropped", "12", None),
    ]
    assert seen(storage) == []


def test_a_new_consumer_begins_with_what_is_held(storage: Storage) -> None:
    loaded(storage, came("a", 5, "five"), came("b", 6, "six"), came("d", 7, "gone"))
    storage.apply("Plan.2027", Batch([came("a", 11, "11"), came("d", 12, "gone", deleted=True)], cursor=12))
    assert short(seen(storage, "second")) == [("b", 6, "changed", None, "six"), ("a", 11, "changed", None, "11")]


def test_consumers_do_not_depend_on_each_other(storage: Storage) -> None:
    loaded(storage, came("a", 5, "five"))
    assert len(seen(storage, "quick")) == 1
    first = storage.changes("slow", 10)
    storage.apply("Plan.2027", Batch([came("a", 11, "11")], cursor=11))
    storage.apply("Plan.2027", Batch([came("a", 12, "12")], cursor=12))
    assert [c.version for c in seen(storage, "quick")] == [11, 12]
    assert [c.version for c in first] == [5]
    assert short(seen(storage, "slow")) == [
        ("a", 5, "changed", None, "five"),
        ("a", 11, "changed", "five", "11"),
        ("a", 12, "changed", "11", "12"),
    ]
    storage.forget_consumer("quick")
    assert [c.version for c in seen(storage, "quick")] == [12]


def test_changes_that_are_not_acknowledged_come_again(storage: Storage) -> None:
    loaded(storage, *(came(f"r{i}", i + 1) for i in range(9)))
    first = storage.changes("c", 4)
    storage.acknowledge("c", first[1])
    assert [c.id for c in storage.changes("c", 4)] == ["r2", "r3", "r4", "r5"]


def test_a_source_comes_and_goes_with_its_status(storage: Storage) -> None:
    status = came("a", 6, source=5)
    storage.load("NoteStatus", Batch([status], [came("a", 5, "source")]), TypeState(Phase.LOADING, 6, 10, "one"))
    storage.finish_load("NoteStatus", LOADED)
    assert dict(storage.live("Note")) == {"a": 5}
    assert storage.sources_missing("NoteStatus") == storage.sources_beyond("NoteStatus") == []
    storage.apply("NoteStatus", Batch([came("a", 12, source=11)], cursor=12))
    assert storage.sources_missing("NoteStatus") == ["a"]
    storage.apply("NoteStatus", Batch([], [came("a", 11, "new")]))
    assert storage.sources_missing("NoteStatus") == storage.sources_beyond("NoteStatus") == []
    storage.apply("NoteStatus", Batch([], [came("a", 12, "newer")]))
    assert storage.sources_beyond("NoteStatus") == ["a"]
    storage.apply("NoteStatus", Batch(dropped=["a"], cursor=13))
    assert dict(storage.live("Note")) == {}
    assert [c.kind for c in seen(storage)] == []


def test_a_source_that_is_followed_itself_stays_when_its_status_goes(storage: Storage) -> None:
    storage.subscribe([Kind("Note"), Kind("NoteStatus", "Note")])
    storage.load("Note", Batch([came("a", 5, "source")]), TypeState(Phase.LOADING, 5, 10, "one"))
    storage.finish_load("Note", LOADED)
    storage.load("NoteStatus", Batch([came("a", 6)], [came("a", 5, "source")]), TypeState(Phase.LOADING, 6, 10, "one"))
    storage.finish_load("NoteStatus", LOADED)
    storage.apply("NoteStatus", Batch(dropped=["a"], cursor=13))
    assert dict(storage.live("NoteStatus")) == {}
    assert dict(storage.live("Note")) == {"a": 5}


def test_summaries_tell_how_types_stand(storage: Storage) -> None:
    loaded(storage, came("a", 5), came("b", 6))
    storage.apply("Plan.2027", Batch([came("b", 11, deleted=True)], cursor=11))
    storage.remember("Plan.2027", TypeState(Phase.FOLLOWING, 15, 0, "two"), in_step=True)
    plan = next(summary for summary in storage.summaries() if summary.kind.name == "Plan.2027")
    assert (plan.live, plan.deleted, plan.state.cursor, plan.state.epoch) == (1, 1, 15, "two")
    assert plan.in_step_at == plan.asked_at != ""
    assert storage.setting("organization") == ""
    assert storage.setting("organization", "S.0982") == storage.setting("organization") == "S.0982"


WRITE = Write(0, "Note", "a", 5, False, None, {"text": "mine"}, "")


def answer(record_id: str, version: int, *codes: int) -> Result:
    actions = {9014: "retry"}
    rejections = [{"code": c, "title": "", "detail": "", "action": actions.get(c, "fix")} for c in codes]
    return {"id": record_id, "coreVersion": version, "rejections": rejections}  # type: ignore[typeddict-item]


def numbers(storage: Storage, key: UUID) -> list[int]:
    call = storage.writes.next_call(key)
    return [] if call is None else [write.number for write in call.writes]


def test_writes_go_out_in_order_and_again_under_the_same_key(storage: Storage) -> None:
    for record_id in "abc":
        storage.writes.queue(Write(0, "Note", record_id, 1, False, None, {}, ""), as_held=False)
    storage.writes.queue(Write(0, "Plan.2027", "p", 1, False, None, {}, ""), as_held=False)
    first, second = uuid4(), uuid4()
    call = storage.writes.next_call(first)
    assert call is not None
    assert [write.id for write in call.writes] == ["a", "b", "c"]
    storage.writes.queue(Write(0, "Note", "d", 1, False, None, {}, ""), as_held=False)
    assert storage.writes.next_call(second) == call, "what was begun is never mixed with what came later"
    storage.writes.settle(call, [answer("a", 7), answer("b", 0, 9040), answer("c", 0, 9014)])
    assert [entry.write.id for entry in storage.writes.rejected()] == ["b"]
    call = storage.writes.next_call(second)
    assert call is not None
    assert (call.key, [write.id for write in call.writes]) == (second, ["c"]), "9014 goes again, with a key of its own"
    assert storage.writes.waiting() == 3


def test_a_write_waits_for_the_one_it_builds_upon(storage: Storage) -> None:
    one = storage.writes.queue(WRITE, as_held=False)
    two = storage.writes.queue(WRITE, as_held=False)
    call = storage.writes.next_call(uuid4())
    assert call is not None
    assert [write.number for write in call.writes] == [one]
    storage.writes.settle(call, [answer("a", 9)])
    call = storage.writes.next_call(uuid4())
    assert call is not None
    assert [(write.number, write.expected_version) for write in call.writes] == [(two, 9)]


def test_a_write_expects_what_is_held_or_what_was_written_here_last(storage: Storage) -> None:
    loaded(storage, came("a", 5))
    write = Write(0, "Plan.2027", "a", 0, False, None, {}, "")
    for made in (11, 12):
        storage.writes.queue(write, as_held=True)
        call = storage.writes.next_call(uuid4())
        assert call is not None
        assert call.writes[0].expected_version == (5 if made == 11 else 11)
        storage.writes.settle(call, [answer("a", made)])
    storage.apply("Plan.2027", Batch([came("a", 20)], cursor=20))
    storage.writes.queue(write, as_held=True)
    call = storage.writes.next_call(uuid4())
    assert call is not None
    assert call.writes[0].expected_version == 20


def test_a_rejection_takes_what_builds_upon_it_along_and_nothing_is_lost(storage: Storage) -> None:
    one, two, three = (storage.writes.queue(WRITE, as_held=False) for _ in range(3))
    call = storage.writes.next_call(uuid4())
    assert call is not None
    storage.writes.settle(call, [answer("a", 0, 3004)])
    rejected = storage.writes.rejected()
    assert [entry.write.number for entry in rejected] == [one, two, three]
    assert str(two) in rejected[2].rejections[0]["detail"]
    assert storage.writes.waiting() == 0
    storage.writes.discard(three)
    again = storage.writes.requeue(two, 8, {"text": "merged"})
    assert again > three
    call = storage.writes.next_call(uuid4())
    assert call is not None
    assert [(w.number, w.expected_version, w.body) for w in call.writes] == [(again, 8, {"text": "merged"})]
    for wrong in (two, three, 99):
        with pytest.raises(KeyError):
            storage.writes.discard(wrong)
        with pytest.raises(KeyError):
            storage.writes.requeue(wrong, 1, None)


def test_writes_of_a_call_that_cannot_be_read_go_alone(storage: Storage) -> None:
    for record_id in "ab":
        storage.writes.queue(Write(0, "Note", record_id, 1, False, None, {}, ""), as_held=False)
    call = storage.writes.next_call(uuid4())
    assert call is not None
    storage.writes.send_alone(call)
    assert [len(numbers(storage, uuid4())), storage.writes.waiting()] == [1, 2]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.dictionaries(st.sampled_from("abcd"), st.booleans(), min_size=1)),
        st.tuples(st.just("drop"), st.sets(st.sampled_from("abcd"), min_size=1)),
        st.tuples(st.just("repair"), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1)),
        st.tuples(st.just("read"), st.integers(1, 5)),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_both_storages_tell_the_same_story_and_changes_replay_to_what_is_held(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("s") / "r.db"
    stories = [_story(make(), steps) for make in (lambda: SqliteStorage(path), MemoryStorage)]
    assert stories[0] == stories[1]


def _story(storage: Storage, steps: list[tuple[str, object]]) -> object:
    storage.subscribe(KINDS)
    loaded(storage, came("a", 3, "3"), came("b", 4, "4"))
    version = 10
    told: list[Change] = list(seen(storage))
    for kind, what in steps:
        version += 10
        if kind == "apply" and isinstance(what, dict):
            batch = [came(i, version + n, f"{version + n}", deleted=d) for n, (i, d) in enumerate(sorted(what.items()))]
            storage.apply("Plan.2027", Batch(batch, cursor=version + len(batch)))
        elif kind == "repair" and isinstance(what, dict):
            batch = [came(i, v * 10 + 7, f"repaired {v}") for i, v in sorted(what.items())]
            storage.apply("Plan.2027", Batch(batch, repair=True))
        elif kind == "drop" and isinstance(what, set):
            storage.apply("Plan.2027", Batch(dropped=sorted(what)))
        elif isinstance(what, int):
            told += seen(storage, limit=what)
    while some := seen(storage):
        told += some
    replayed: dict[str, int] = {}
    for change in told:
        if change.kind == "changed":
            replayed[change.id] = change.version
        else:
            assert replayed.pop(change.id, None) is not None
    assert replayed == dict(storage.live("Plan.2027"))
    assert not storage.damage("Plan.2027")
    story = short(told), sorted(storage.live("Plan.2027")), storage.version_hash("Plan.2027")
    storage.close()
    return story


class TestFile:
    """What only a file can suffer."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "r.db"

    @pytest.fixture
    def file(self, path: Path) -> Iterator[SqliteStorage]:
        storage = SqliteStorage(path)
        storage.subscribe(KINDS)
        loaded(storage, came("a", 5, "five"), came("b", 6, "six"), came("c", 7, "seven"))
        yield storage
        storage.close()

    @pytest.mark.parametrize(
        ("statement", "expected"),
        [
            ("update records_Plan_2027 set body = '{}' where id = 'a'", lambda d: list(d.altered) == ["a"]),
            ("update records_Plan_2027 set version = 1 where id = 'b'", lambda d: list(d.altered) == ["b"]),
            ("update records_Plan_2027 set deleted = 1 where id = 'b'", lambda d: list(d.altered) == ["b"]),
            ("update records_Plan_2027 set id = 'z' where id = 'b'", lambda d: list(d.altered) == ["z"]),
            ("delete from records_Plan_2027 where id = 'c'", lambda d: d.rows_missing == 1),
        ],
    )
    def test_other_hands_are_noticed(
        self, file: SqliteStorage, path: Path, statement: str, expected: Callable[[object], bool]
    ) -> None:
        stamp = file.stamp()
        assert not file.damage("Plan.2027")
        with sqlite3.connect(path) as other:
            other.execute(statement)
        other.close()
        assert expected(file.damage("Plan.2027"))
        assert file.stamp() != stamp

    def test_a_repaired_row_is_as_it_was(self, file: SqliteStorage, path: Path) -> None:
        seen(file)
        with sqlite3.connect(path) as other:
            other.execute("update records_Plan_2027 set body = '{}' where id = 'a'")
            other.execute("delete from records_Plan_2027 where id = 'c'")
        other.close()
        file.apply("Plan.2027", Batch([came("a", 5, "five"), came("c", 7, "seven")], repair=True))
        assert not file.damage("Plan.2027")
        assert [c.id for c in seen(file)] == ["c"], "a row whose version stayed is no news"

    def test_any_tool_can_read_the_views(self, file: SqliteStorage, path: Path) -> None:
        file.apply("Plan.2027", Batch([arrival({"id": "d", "coreVersion": 9, "body": {"title": "T", "id": "own"}})]))
        with sqlite3.connect(path) as other:
            other.row_factory = sqlite3.Row
            rows = other.execute('select * from Plan_2027 where id = "d"').fetchall()
            (none,) = other.execute("select count(*) from NoteStatus").fetchone()
        other.close()
        assert none == 0
        assert dict(rows[0]) == {
            "id": "d",
            "version": 9,
            "changed_at": None,
            "title": "T",
            "id_": "own",
            "body": orjson.dumps({"title": "T", "id": "own"}).decode(),
        }

    def test_what_is_kept_for_consumers_goes_when_all_have_seen_it(self, file: SqliteStorage, path: Path) -> None:
        seen(file, "one")
        seen(file, "two")
        for version in (11, 12, 13):
            file.apply("Plan.2027", Batch([came("a", version)], cursor=version))
        seen(file, "one")

        def past() -> int:
            with sqlite3.connect(path) as other:
                (count,) = other.execute("select count(*) from replica_past").fetchone()
            other.close()
            return int(count)

        assert past() == 3
        seen(file, "two")
        assert past() == 0

    def test_a_file_that_is_no_replica_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("not a database at all, " * 100)
        with pytest.raises(StorageError, match="not a replica"):
            SqliteStorage(tmp_path / "text.db")

    def test_a_file_of_another_program_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "theirs.db"
        with sqlite3.connect(path) as theirs:
            theirs.execute("create table t (a)")
        theirs.close()
        before = path.read_bytes()
        with pytest.raises(StorageError, match="not a replica"):
            SqliteStorage(path)
        assert path.read_bytes() == before

    def test_a_file_that_a_crash_left_without_tables_is_made_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "r.db"
        with sqlite3.connect(path) as begun:
            begun.execute("pragma journal_mode = wal")
        begun.close()
        assert path.stat().st_size > 0
        storage = SqliteStorage(path)
        storage.subscribe(KINDS)
        storage.close()

    def test_a_file_of_another_version_is_refused(self, file: SqliteStorage, path: Path) -> None:
        file.setting("schema_version", "99")
        with pytest.raises(StorageError, match="another version"):
            SqliteStorage(path)
