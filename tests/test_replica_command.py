"""`homeroom-replica` as a school's operator runs it: a process against a real node."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from homeroom import Client, MemoryStorage, Replica, StorageError
from homeroom.command import main
from homeroom.command.endings import ending_of_verdicts
from homeroom.command.progress import Account, accounted, told
from homeroom.command.query import distinct
from homeroom.command.tables import Cell, cut, laid_out, narrowed, shown
from homeroom.command.wording import counted, duration, moment
from homeroom.replica import Outcome, Progress, SqliteStorage, Verdict
from homeroom.replica.arrivals import arrival
from homeroom.replica.machine import Phase, TypeState, What
from homeroom.replica.storage import Batch, Kind, Storage
from tests.conftest import Core
from tests.processes import Node, running_node
from tests.records import accepted, available, note

COMMAND = [sys.executable, "-m", "homeroom.command"]
AWAY = "http://127.0.0.1:9"
UUID = "6f9c2f0e-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Shell:
    """Where commands are typed: a folder, and what is set in the environment."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def file(self) -> Path:
        return self.folder / self.settings.get("HOMEROOM_REPLICA_FILE", "replica.db")

    def environment(self, **others: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOMEROOM_")}
        return {**inherited, **self.settings, **others}

    async def run(self, *words: str, **settings: str) -> Ended:
        """Run the command to its end; it never shows a traceback."""
        with anyio.fail_after(30):
            done = await anyio.run_process(
                [*COMMAND, *words], check=False, cwd=self.folder, env=self.environment(**settings)
            )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    def tamper(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as db:
            assert db.execute(statement).rowcount > 0

    @asynccontextmanager
    async def syncing(self, *words: str) -> AsyncIterator["Syncing"]:
        """A sync that runs until the end of the block, where SIGTERM must end it well."""
        command = [*COMMAND, "sync", "--json", *words]
        async with await anyio.open_process(command, cwd=self.folder, env=self.environment(), stderr=None) as process:
            assert process.stdout is not None
            try:
                yield Syncing(BufferedByteReceiveStream(process.stdout))
                process.send_signal(signal.SIGTERM)
                with anyio.fail_after(10):
                    async for _ in process.stdout:
                        pass
                    assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()


class Syncing:
    """What a running sync tells."""

    def __init__(self, stream: BufferedByteReceiveStream) -> None:
        self._stream = stream

    async def until(self, **members: Any) -> Any:
        """The next event that has these members."""
        with anyio.fail_after(20):
            while True:
                event = json.loads(await self._stream.receive_until(b"\n", 10_000))
                if members.items() <= event.items():
                    return event


def shell_for(node: Node, folder: Path) -> Shell:
    return Shell(folder, {"HOMEROOM_URL": node.url, "HOMEROOM_KEY": node.key})


def notes(*ids: str, text: str = "old") -> list[dict[str, Any]]:
    return [note(i, text, organization="S.0982") for i in ids]


async def test_an_operators_day(node_files: Node, tmp_path: Path) -> None:
    """One node for all of it: starting one takes longer than a story."""
    async with running_node(node_files) as node, node.client() as writer:
        shell = shell_for(node, tmp_path)
        await accepted(writer, "Note", *notes("a", "b", "c"))
        await accepted(writer, "Plan.2027", note(UUID, "a\tplan", organization="S.0982"))
        await types_the_core_does_not_have_are_named_together(shell)
        await a_file_is_synced_and_remembers_all_but_the_key(shell, node)
        await a_file_is_looked_at_and_queried(shell, node)
        await what_other_hands_did_is_found_and_mended(shell)
        await changes_that_are_missing_are_counted(shell, writer)
        await a_status_is_verified_with_its_source(shell, writer)
        await a_sync_follows_until_it_is_stopped(shell, writer)
        await a_key_is_refused(shell)
    await a_core_is_away(shell)


async def types_the_core_does_not_have_are_named_together(shell: Shell) -> None:
    wrong = await shell.run("sync", "--once", "--type", "Not", "--type", "Plan", "--type", "Note.2027")
    assert wrong.code == 2
    assert all(name in wrong.err for name in ("Not:", "Plan:", "Note.2027:"))


async def a_file_is_synced_and_remembers_all_but_the_key(shell: Shell, node: Node) -> None:
    synced = await shell.run("sync", "--once", "--type", "note", "--type", "Plan.2027")
    assert (synced.code, synced.out) == (0, ""), synced.err
    assert "Note  in step since" in synced.err
    key_file = shell.folder / "key"
    await anyio.Path(key_file).write_text(f"{node.key}\n")
    again = await shell.run("sync", "--once", "--json", "--key-file", "key", HOMEROOM_URL="", HOMEROOM_KEY="")
    assert (again.code, again.err) == (0, "")
    assert {(e["type"], e["event"], e["standing"]) for e in again.lines()} == {
        ("Note", "nothing", "in step"),
        ("Plan.2027", "nothing", "in step"),
    }
    assert node.key.encode() not in await anyio.Path(shell.file).read_bytes()


async def a_file_is_looked_at_and_queried(shell: Shell, node: Node) -> None:
    status = (await shell.run("status", "--json", HOMEROOM_URL="", HOMEROOM_KEY="")).json()
    assert (status["url"], status["organization"]) == (node.url, "O.1")
    by_type = {entry["type"]: entry for entry in status["types"]}
    assert (by_type["Note"]["live"], by_type["Note"]["state"], by_type["Note"]["trouble"]) == (3, "following", "")
    assert status["writes"] == {"waiting": 0, "rejected": []}
    table = await shell.run("query", "--rows", "2", "select id, body from Note order by id")
    assert table.code == 0
    assert table.out.splitlines()[2:] == [
        'a   {"text":"old"}',
        'b   {"text":"old"}',
        "(2 rows, 1 more: --rows, --csv or --json shows them)",
    ]


async def what_other_hands_did_is_found_and_mended(shell: Shell) -> None:
    assert (await shell.run("verify")).code == 0
    shell.tamper("""update records_Note set body = '{"text":"forged"}' where id = 'b'""")
    found = await shell.run("verify", "--json")
    assert found.code == 1
    verdict = found.json()["types"][0]
    assert (verdict["result"], verdict["damage"]["altered"], verdict["behind"]) == ("damaged", ["b"], 0)
    repaired = await shell.run("repair")
    assert repaired.code == 0, repaired.err
    assert "1 record differed" in repaired.out
    assert "tampered: the row was changed" in repaired.out
    assert (await shell.run("verify")).code == 0

    shell.tamper("delete from records_Note where id = 'c'")
    found = await shell.run("verify")
    assert (found.code, "1 row taken away" in found.out) == (1, True)
    repaired = await shell.run("repair", "--json")
    (difference,) = repaired.json()["differences"]
    assert (difference["id"], difference["heldVersion"], difference["cause"]) == ("c", 0, "tampered")
    assert (await shell.run("verify")).code == 0
    assert (await shell.run("repair")).out == "nothing differed\n"
    assert "tampered" in (await shell.run("status")).out


async def changes_that_are_missing_are_counted(shell: Shell, writer: Client) -> None:
    await accepted(writer, "Note", *notes("d", "e"))
    behind = await shell.run("verify", "--json")
    assert (behind.code, behind.json()["types"][0]["behind"]) == (3, 2)


async def a_status_is_verified_with_its_source(shell: Shell, writer: Client) -> None:
    cursor, seen = 0, set[str]()
    while len(seen) < 5:
        entry = await available(writer, "NoteStatus", cursor, 10)
        cursor, seen = entry["maxCoreVersion"], seen | {listed["id"] for listed in entry["records"]}
    assert (await shell.run("sync", "--once", "--file", "status.db", "--type", "NoteStatus")).code == 0
    shell = replace(shell, settings={**shell.settings, "HOMEROOM_REPLICA_FILE": "status.db"})
    assert "comes with NoteStatus" in (await shell.run("status")).out
    assert "NoteStatus with Note  in step" in (await shell.run("verify")).out
    shell.tamper("delete from records_Note where id = 'a'")
    found = await shell.run("verify")
    assert (found.code, "Note: a missing or older than its status" in found.out) == (1, True)
    assert "tampered" in (await shell.run("repair")).out
    assert (await shell.run("verify")).code == 0


async def a_key_is_refused(shell: Shell) -> None:
    for words in (("sync", "--once"), ("verify",)):
        refused = await shell.run(*words, HOMEROOM_KEY="hr_wrong")
        assert (refused.code, "a person must act" in refused.err) == (5, True)


async def a_core_is_away(shell: Shell) -> None:
    for words in (["sync", "--once", "--file", "new.db", "--type", "Note"], ["verify"], ["repair"]):
        away = await shell.run(*words)
        assert (away.code, "cannot be reached" in away.err) == (4, True)


async def a_sync_follows_until_it_is_stopped(shell: Shell, writer: Client) -> None:
    shell = replace(shell, settings={**shell.settings, "HOMEROOM_REPLICA_FILE": "followed.db"})
    async with shell.syncing("--type", "Note", "--type", "Bulletin") as syncing:
        await syncing.until(type="Note", standing="in step")
        (version,) = await accepted(writer, "Note", *notes("f"))
        brought = await syncing.until(type="Note", event="brought")
        assert (brought["applied"], brought["cursor"]) == (1, version)
        # Others may look at the file meanwhile; one may keep it.
        assert (await shell.run("status")).code == 0
        assert (await shell.run("verify")).code == 0
        assert len((await shell.run("query", "--json", "select * from Note")).lines()) == 6
        for refused in (await shell.run("repair"), await shell.run("sync", "--once")):
            assert (refused.code, "repairs by itself" in refused.err) == (6, True)
    async with shell.syncing() as syncing:
        await syncing.until(type="Bulletin", standing="in step")


async def verdicts(replica: Replica) -> list[tuple[str, Outcome, int]]:
    return [(verdict.type, verdict.outcome, verdict.behind) for verdict in await replica.verify()]


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_a_program_may_verify_too(plain_core: Core, tmp_path: Path, kind: str) -> None:
    school = await plain_core.client("S.0982")
    await accepted(school, "Note", note("a"), note("b"))
    storage: Storage = MemoryStorage() if kind == "memory" else SqliteStorage(tmp_path / "r.db")
    async with Replica(storage, school, ["Note"], follow=False) as replica:
        await replica.sync()
        assert await verdicts(replica) == [("Note", Outcome.IN_STEP, 0)]
        # A change that never came leaves no trace in the file: only the hash shows it.
        storage.apply("Note", Batch(dropped=["a"]))
        assert await verdicts(replica) == [("Note", Outcome.DIFFERS, 0)]
        await accepted(school, "Note", note("c"))
        assert await verdicts(replica) == [("Note", Outcome.BEHIND, 1)]
        storage.setting("organization", "S.0983")
        with pytest.raises(StorageError, match=r"S\.0983 may see; the key is for S\.0982"):
            await replica.verify()


@pytest.fixture
def kept_file(tmp_path: Path) -> Path:
    """A replica of three notes and of a type that is not loaded yet."""
    storage = SqliteStorage(tmp_path / "r.db")
    storage.subscribe([Kind("Note", members=("text",)), Kind("Plan.2027")])
    rows = [{"id": f"n{i}", "coreVersion": i, "body": {"text": text}} for i, text in enumerate(["a\nb", "", "c"], 1)]
    storage.load("Note", Batch([arrival(row) for row in rows]), TypeState(Phase.LOADING, 3, 3))
    storage.finish_load("Note", TypeState(Phase.FOLLOWING, 3))
    storage.close()
    return tmp_path / "r.db"


@dataclass(frozen=True)
class Here:
    """The command in this process."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def run(self, *words: str) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["homeroom-replica", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    for name in ("URL", "KEY", "ORGANIZATION", "REPLICA_FILE"):
        monkeypatch.delenv(f"HOMEROOM_{name}", raising=False)
    return Here(capsys, monkeypatch)


def test_rows_for_people_and_machines(here: Here, kept_file: Path) -> None:
    query = ("query", "--file", str(kept_file))
    found = here.run(*query, "--csv", "select id, text from Note order by id")
    assert (found.code, found.out) == (0, 'id,text\nn1,"a\nb"\nn2,\nn3,c\n')
    found = here.run(*query, "--json", "select id, id, null as n from Note order by id")
    assert found.lines()[0] == {"id": "n1", "id_2": "n1", "n": None}
    found = here.run(*query, "select version, text from Note order by id")
    assert found.out.splitlines() == [
        "version  text",
        "───────  ────",
        "      1  a\\nb",
        "      2",
        "      3  c",
        "(3 rows)",
    ]
    found = here.run(*query, "select * from Plan_2027")
    assert (found.code, "Plan.2027" in found.err) == (0, True)
    assert here.run(*query, "pragma table_info(Note)").code == 0


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("selec 1", "syntax error"),
        ("select * from Notes", "these views: Note, Plan_2027"),
        ("select 1; select 2", "one statement"),
        ("", "no statement"),
        ("delete from records_Note", "only statements that read"),
        ("pragma journal_mode = delete", "only statements that read"),
        ("vacuum into 'copy.db'", "only statements that read"),
        ("attach 'other.db' as other", "only statements that read"),
    ],
)
def test_only_statements_that_read_are_run(here: Here, kept_file: Path, statement: str, why: str) -> None:
    refused = here.run("query", "--file", str(kept_file), statement)
    assert (refused.code, refused.out) == (2, "")
    assert why in refused.err


def test_a_file_that_is_no_replica(here: Here, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at as if it were one" * 20)
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("create table t (x)")
    calls = ("--key", "hr_a", "--url", AWAY)
    commands: list[Sequence[str]] = [("status",), ("verify", *calls), ("repair", *calls)]
    for command in commands:
        for name in ("text.db", "other.db"):
            foreign = here.run(*command, "--file", str(tmp_path / name))
            assert (foreign.code, "not a replica" in foreign.err) == (6, True)
    for command in (*commands, ("query", "select 1")):
        missing = here.run(*command, "--file", str(tmp_path / "none.db"))
        assert (missing.code, "none.db does not exist" in missing.err) == (6, True)
    assert not (tmp_path / "none.db").exists()


def test_wrong_arguments_are_named_together(here: Here, tmp_path: Path) -> None:
    file, none = str(tmp_path / "r.db"), str(tmp_path / "none")
    wrong = here.run("sync", "--file", file, "--url", "core", "--type", "a b", "--type", "c/d", "--key-file", none)
    assert wrong.code == 2
    faults = [line.split(": ")[1] for line in wrong.err.splitlines()]
    assert faults == ["--url core", "--type", "--type", "--key-file cannot be read"]
    wrong = here.run("sync", "--file", file)
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 3)
    assert not Path(file).exists()
    assert here.run("synch").code == 2
    told = here.run("--help")
    assert (told.code, "exit codes" in told.out) == (0, True)


def test_a_reader_that_has_had_enough_is_no_fault(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "r.db")) as db:
        db.execute("create table t (x)")
    statement = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 200000) select x from n"
    command = [*COMMAND, "query", "--file", str(tmp_path / "r.db"), "--csv", statement]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (45.9, "45 s"), (60, "1 min"), (200, "3 min 20 s"), (3_600, "1 h"), (187_300, "2 d 4 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_counts() -> None:
    assert [counted(count, "row") for count in (0, 1, 2_000)] == ["0 rows", "1 row", "2,000 rows"]


def test_moments_are_the_readers() -> None:
    now = datetime.fromisoformat("2027-01-02T10:00:05+02:00")
    assert moment("2027-01-02T08:00:00.000+00:00", now) == "2027-01-02 10:00:00 (5 s ago)"
    assert moment("", now) == "never"


def test_a_table_fits_its_width() -> None:
    rows: list[list[Cell]] = [["a", 1, "x" * 60, None], ["長い", 22, "y\n\x1b[2J", b"\x01"]]
    lines = laid_out(["name", "n", "text", "blob"], rows, 40)
    assert lines[2] == "a      1  " + "x" * 22 + "…"
    assert lines[3] == "長い  22  y\\n\\x1b[2J               x'01'"
    assert "x" * 60 in laid_out(["name", "n", "text", "blob"], rows)[2]
    assert laid_out(["only"], []) == ["only", "────"]
    assert shown("\u202eevil") == "\\u202eevil"


@pytest.mark.parametrize(
    ("widths", "total", "narrower"),
    [([3, 4], 20, [3, 4]), ([30, 30, 4], 40, [16, 16, 4]), ([50, 10], 32, [20, 10]), ([9, 9], 3, [6, 6])],
)
def test_the_widest_columns_give_first(widths: Sequence[int], total: int, narrower: Sequence[int]) -> None:
    assert narrowed(widths, total) == narrower


def test_names_and_cuts() -> None:
    assert distinct(["id", "id", "id_2", "id"]) == ["id", "id_2", "id_2_2", "id_3"]
    assert (cut("abcdef", 6), cut("abcdef", 4), cut("長い長い", 5)) == ("abcdef", "abc…", "長い…")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.IN_STEP], 0),
        ([Outcome.IN_STEP, Outcome.BEHIND], 3),
        ([Outcome.NOT_LOADED], 3),
        ([Outcome.BEHIND, Outcome.REFUSED], 5),
        ([Outcome.BEHIND, Outcome.REFUSED, Outcome.DAMAGED], 1),
        ([Outcome.DIFFERS, Outcome.IN_STEP], 1),
    ],
)
def test_the_worst_verdict_is_the_exit_code(outcomes: Sequence[Outcome], code: int) -> None:
    assert ending_of_verdicts([Verdict("Note", outcome) for outcome in outcomes]) == code


def test_a_first_load_says_how_far_it_has_come() -> None:
    account = Account("Note")
    for seconds, cursor in ((10.0, 1_000), (12.0, 3_000), (15.0, 6_000)):
        state = TypeState(Phase.LOADING, cursor, 10_000)
        account = accounted(account, Progress("Note", What.BLOCK, state, 500), seconds, "10:00:00")
    assert told(account) == "loading: 1,500 records, 200/s, 60 % of the versions, 4 s left"
    held_up = TypeState(Phase.LOADING, 6_000, 10_000, trouble="no network")
    account = accounted(account, Progress("Note", What.UNREACHABLE, held_up, 0), 16.0, "10:00:06")
    assert told(account).endswith("held up: no network")
    loaded = TypeState(Phase.FOLLOWING, 10_000)
    account = accounted(account, Progress("Note", What.BOOKMARK, loaded, 100), 17.0, "10:00:07")
    assert told(account) == "checking since 10:00:07, 1,600 records loaded"
    for clock in ("10:00:08", "10:00:09"):
        in_step = TypeState(Phase.FOLLOWING, 10_000, in_doubt=False)
        account = accounted(account, Progress("Note", What.BROUGHT, in_step, 2), 18.0, clock)
    assert told(account) == "in step since 10:00:08, 1,600 records loaded, 4 changes applied"
    behind = TypeState(Phase.FOLLOWING, 10_000, in_doubt=False, trouble="the Core is away")
    account = accounted(account, Progress("Note", What.UNREACHABLE, behind, 0), 19.0, "10:00:10")
    assert told(account) == "behind since 10:00:10: the Core is away"
