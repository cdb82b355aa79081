"""Formatters that do what they should not: each takes down its own run, within its limits, and finds nothing."""

import json
import os
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from psutil import Process

from homeroom_merge.assembly import opened
from homeroom_merge.formatters.formatter import Fault, Reading
from homeroom_merge.report.model import Report, Status, StepStatus
from homeroom_merge.settings.model import Connector, Hub, Sandbox, Settings
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.sis import wire
from homeroom_merge.sis.forking import Forkserver
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.sis.sandboxed import SandboxedSis, opened_sandbox
from homeroom_merge.sis.side import SandboxError, Shown, Sis
from homeroom_merge.sources.choosing import source_of
from homeroom_server.settings import Settings as CoreSettings
from tests.conftest import open_core
from tests.merge.examples import MAPPING
from tests.merge.feeds import opened_state
from tests.merge.interchanges import ORGANIZATIONS, put, student

IS_ROOT = os.geteuid() == 0
SMALL = Sandbox(memory_mib_max=600, cpu_seconds_max=60, seconds_max=60, answer_seconds_max=30, output_kib_max=4)
PLANTED = """\
import ctypes, json, os, socket, stat, sys, time
from contextlib import suppress
from homeroom_merge.formatters.formatter import Fault, Reading

class Pupils:
    entity = "Student"
    fields = frozenset({{"firstName", "lastName"}})

    def read(self, row):
        number = row["No"]
        if number == "7":
            self.misbehave()
        return Reading(number, {{"firstName": "Ada", "lastName": "Bear"}}, self.fields, school="S.0982", number=number)

    def misbehave(self):
{misdeed}

    def write(self, key, body, row):
        return {{"No": key}}

def formatters():
    return {{"Student": Pupils()}}
"""
SPEAKS = """\
for fd in range(3, 64):
    if os.path.exists(f"/proc/self/fd/{{fd}}") and stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.write(fd, {said!r})
time.sleep(600)
"""
MISDEEDS = {
    "loops for ever": ("while True: pass", {"cpu_seconds_max": 2}, "used more than 2 s of processor time"),
    "sleeps for ever": ("time.sleep(600)", {"answer_seconds_max": 10}, "did not answer within 10 s"),
    "is slow for ever": (
        "while True: sys.stdout.flush(); time.sleep(0.1)",
        {"seconds_max": 10},
        "took more than 10 s in all",
    ),
    "eats memory": ("self.eaten = [b'x' * 2**20 for _ in range(4096)]", {}, "used more than 600 MiB"),
    "exits": ("print('good bye'); os._exit(3)", {}, "ended by itself with exit code 3"),
    "raises what ends programs": ("sys.exit(4)", {}, "ended by itself with exit code 4"),
    "crashes": ("ctypes.string_at(0)", {}, "ended by the signal SIGSEGV"),
    "forks": (
        "for _ in range(1000):\n    with suppress(OSError):\n        os.fork() or time.sleep(600)\ntime.sleep(600)",
        {"answer_seconds_max": 10},
        "did not answer within 10 s",
    ),
    "leaves somebody behind": (
        "if not os.fork():\n    os.setsid(); time.sleep(600)\nos._exit(5)",
        {},
        "ended by itself with exit code 5",
    ),
    "prints a gigabyte": (
        "for _ in range(1024): os.write(1, b'x' * 2**20)",
        {},
        "printed more than 64 MiB",
    ),
    "raises": ("raise KeyError('Locker')", {}, "failed: KeyError: 'Locker' (elk_sis.py, line "),
    "ignores being told to end": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        {"answer_seconds_max": 10},
        "did not answer within 10 s",
    ),
    "says too much": (SPEAKS.format(said=b"\xff" * 64), {}, "said a frame of 4,294,967,295 bytes"),
    "says no JSON": (SPEAKS.format(said=b"\0\0\0\x03abc"), {}, "said a frame that is no JSON"),
    "says no object": (SPEAKS.format(said=b"\0\0\0\x02[]"), {}, "said a frame that is no object"),
    "says a record that is none": (
        SPEAKS.format(said=len(b'{"records":[[[1],"here"]]}').to_bytes(4, "big") + b'{"records":[[[1],"here"]]}'),
        {},
        "said a record that is none",
    ),
    "closes its pipe": ("os.closerange(3, 256); time.sleep(600)", {}, "closed its pipe"),
}


@dataclass(frozen=True)
class School:
    """Who brings exports, and a formatter for them."""

    folder: Path

    def settings(self, formatter: str = "elk", limits: Sandbox = SMALL) -> Settings:
        text = as_toml("csv", "elk", "A.3020", ["S.0982"], ["Student"])
        text = text.replace('"oneroster"', f'"{formatter}"').replace("/srv/sis-exports", str(self.folder))
        text = text.replace('# mapping = ""', f'mapping = "{self.folder / "mapping.toml"}"')
        return replace(read_settings(text), sandbox=limits)

    def plant(self, misdeed: str) -> None:
        """A package with a formatter, as pip leaves it."""
        code = PLANTED.format(misdeed=textwrap.indent(misdeed, "        "))
        (self.folder / "elk_sis.py").write_text(code, encoding="utf-8")
        about = self.folder / "elk_sis-1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elk_sis\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[homeroom_merge.formatters]\nelk = elk_sis:formatters\n")


@pytest.fixture
def school(folder: Path, monkeypatch: pytest.MonkeyPatch) -> School:
    folder.chmod(0o755)
    monkeypatch.syspath_prepend(str(folder))
    (folder / "mapping.toml").write_text('[Student]\nfile = "pupils.csv"\nkey = ["No"]\nschool = "S.0982"\n')
    (folder / "pupils.csv").write_text("No\n5\n7\n8\n", encoding="utf-8")
    return School(folder)


@pytest.fixture
def forkserver(school: School) -> Iterator[Forkserver]:
    forkserver = Forkserver()
    yield forkserver
    forkserver.close()


async def test_where_children_are_forked_from_may_end_and_is_there_again(
    school: School, forkserver: Forkserver
) -> None:
    async def keys() -> list[str]:
        async with opened_sandbox(school.settings("mapping"), {}, forkserver) as sandbox:
            shown = await SandboxedSis(sandbox, "Student").fetch(None)
            return [reading.key async for reading, _ in shown.records]

    with (school.folder / "mapping.toml").open("a") as file:
        file.write("[Student.fields]\nlastName = 'No'\n")
    assert await keys() == ["5", "7", "8"]
    (number,) = (each for each in Process().children() if "sis.forkserver" in " ".join(each.cmdline()))
    number.kill()
    number.wait(10)
    assert await keys() == ["5", "7", "8"]


async def whole(sis: Sis) -> tuple[list[object], Shown]:
    shown = await sis.fetch(None)
    return [each async for each in shown.records], shown


TRIED = [name for place, name in enumerate(MISDEEDS) if place % 3 == 0 or "HOMEROOM_EVERYTHING" in os.environ]
"""A third of them where time is short."""


@pytest.mark.parametrize("name", TRIED)
async def test_it_takes_down_its_own_run_and_no_other(school: School, forkserver: Forkserver, name: str) -> None:
    misdeed, limits, reason = MISDEEDS[name]
    school.plant(misdeed)
    said = ""

    async def misbehave() -> None:
        nonlocal said
        async with opened_sandbox(school.settings(limits=replace(SMALL, **limits)), {}, forkserver) as sandbox:
            with pytest.raises(SandboxError) as failed:
                await whole(SandboxedSis(sandbox, "Student"))
            said = str(failed.value)

    async with opened_sandbox(school.settings(), {}, forkserver) as other:
        honest = SandboxedSis(other, "Student")
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(misbehave)
            reading = await honest.anticipated("5", {})
    assert said.startswith(f"the connector or formatter {reason}"), said
    assert reading.key == "5"
    assert name != "exits" or said.endswith("what it printed last: good bye")
    if IS_ROOT:
        assert not running_users() & set(range(60600, 61000))


SNOOP = """\
found = {}
def tried(name, look):
    try:
        found[name] = repr(look())
    except Exception as fault:
        found[name] = type(fault).__name__

def database():
    with socket.socket(socket.AF_UNIX) as to:
        to.connect({socket})
        return "connected"

def memory():
    with open(f"/proc/{os.getppid()}/mem", "rb") as file:
        return file.read(1)

def traced():
    libc = ctypes.CDLL(None, use_errno=True)
    return "attached" if libc.ptrace(16, os.getppid(), 0, 0) == 0 else os.strerror(ctypes.get_errno())

def others():
    for each in os.listdir("/proc"):
        if each.isdigit() and int(each) != os.getpid():
            try:
                if "hunter2" in open(f"/proc/{each}/environ").read():
                    return each
            except OSError:
                pass

def limits():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))

tried("environment", lambda: dict(os.environ))
tried("parent's environment", lambda: open(f"/proc/{os.getppid()}/environ").read())
tried("parent's memory", memory)
tried("parent's files", lambda: os.listdir(f"/proc/{os.getppid()}/fd"))
tried("tracing", traced)
tried("secrets elsewhere", others)
tried("database", database)
tried("user", os.getuid)
tried("groups", os.getgroups)
tried("becoming root", lambda: os.setuid(0))
tried("more memory", limits)
tried("files", lambda: [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")])
tried("arguments", lambda: sys.argv)
open({place}, "w").write(json.dumps(found))
"""


async def test_it_finds_nothing(
    school: School, forkserver: Forkserver, database_of_test: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEROOM_KEY", "hunter2")
    monkeypatch.setenv("OTHER_SIS_PASSWORD", "hunter2")
    (socket_folder,) = parse_qs(urlsplit(postgres_url).query)["host"]
    place = school.folder / "found"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    code = SNOOP.replace("{socket}", repr(f"{socket_folder}/.s.PGSQL.5432"))
    school.plant(code.replace("{place}", repr(str(place / "it"))))
    async with opened_sandbox(school.settings(), {"sis_password": "its own"}, forkserver) as sandbox:
        await whole(SandboxedSis(sandbox, "Student"))
    found = json.loads((place / "it").read_text())
    assert "hunter2" not in json.dumps(found)
    assert "postgres" not in found["environment"] + found["files"] + found["arguments"]
    assert found["parent's environment"] == found["parent's memory"] == found["parent's files"] == "PermissionError"
    assert found["tracing"] == "'Operation not permitted'"
    assert found["secrets elsewhere"] == "None"
    assert found["more memory"] == "ValueError"
    assert found["becoming root"] == "PermissionError"
    if IS_ROOT:
        assert (found["database"], found["groups"]) == ("PermissionError", "[]")
        assert int(found["user"]) in range(60600, 61000)


def running_users() -> set[int]:
    """Those who have processes; zombies that nobody has buried yet do nothing."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            found |= set() if status["State"].startswith("Z") else {int(status["Uid"].split()[0])}
    return found


async def test_whole_feeds_are_read_as_without_it(school: School, forkserver: Forkserver) -> None:
    """Of each kind that needs no service: CSV, Ed-Fi, a database."""
    folder = school.folder
    (folder / "free.toml").write_text(MAPPING, encoding="utf-8")
    sheet = (
        "Pupil No;Given;Family;Born;Sex;Form;Leaves;School;Hispanic;Races;Second;Called;Called 2;E-Mail;Locker;Password"
    )
    pupil = "{};Ada;Bear;02.03.2014;{};Form 4;2032;91;N;W;;Mary;Ann;ada@elk.example;12;hunter22"
    rows = [pupil.format(number, "FX"[number % 2]) for number in range(1_300)]
    (folder / "pupils.csv").write_text("\n".join([sheet, *rows, ""]), encoding="utf-8")
    put(folder, "EducationOrganization", ORGANIZATIONS)
    put(folder, "Student", "".join(student(str(number)) for number in range(3)))
    engine = sa.create_engine(f"sqlite:///{folder / 'sis.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("create table pupil (no integer primary key, given text, born date)"))
        connection.execute(sa.text("insert into pupil values (1, 'Ada', '2014-02-28'), (2, null, null)"))
    engine.dispose()
    (folder / "sql.toml").write_text(
        '[Student]\ntable = "pupil"\nkey = ["no"]\nschool = "S.0982"\n[Student.fields]\nfirstName = "given"\n'
        'birthDate = {column = "born", type = "date"}\n'
    )
    feeds = [
        ("csv", "mapping", {"folder": str(folder), "mapping": str(folder / "free.toml")}),
        ("edfi", "edfi", {"folder": str(folder)}),
        ("sql", "mapping", {"url": f"sqlite:///{folder / 'sis.sqlite'}", "mapping": str(folder / "sql.toml")}),
    ]
    for kind, formatter, options in feeds:
        feed = replace(school.settings().feed, formatter=formatter)
        settings = replace(school.settings(), feed=feed, connector=Connector(kind, options))
        source = source_of(settings, {"sis_password": ""})
        read, shown = await whole(LocalSis(source.connector, source.formatters["Student"]))
        async with opened_sandbox(settings, {"sis_password": ""}, forkserver) as sandbox:
            sis = SandboxedSis(sandbox, "Student")
            assert (sis.abilities, sis.fields) == (source.connector.abilities, source.formatters["Student"].fields)
            also, told = await whole(sis)
            assert (read, len(read)) == (also, {"csv": 1_300, "edfi": 3, "sql": 2}[kind])
            assert replace(shown, records=told.records) == told
        if source.close is not None:
            await source.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
READINGS = st.builds(
    Reading,
    st.text(),
    st.dictionaries(st.text(), JSON, max_size=3),
    st.frozensets(st.text(), max_size=3),
    st.none() | st.text(),
    st.none() | st.integers(1990, 2100),
    st.none() | st.text(),
    st.booleans(),
    st.lists(st.builds(Fault, st.text(), st.text(), st.text()), max_size=2).map(tuple),
    st.none() | st.datetimes(timezones=st.none() | st.just(UTC)),
)


@given(READINGS)
def test_a_record_is_on_the_other_side_what_it_was(reading: Reading) -> None:
    assert wire.reading_of(json.loads(json.dumps(wire.reading_json(reading)))) == reading


@given(JSON, READINGS, st.integers(0, 8))
def test_what_is_no_record_is_none(said: object, reading: Reading, at: int) -> None:
    changed = wire.reading_json(reading)
    changed[at] = said
    for each in (said, changed):
        with suppress(wire.IllFormedError):
            found = wire.reading_of(each)
            assert wire.reading_json(found)[:7] == each[:7] or at == 2  # type: ignore[index]  # it was one
            assert isinstance(found.key, str)


@pytest.mark.timeout(180)
async def test_a_run_fails_with_the_reason_in_its_report_while_another_feed_is_merged(
    school: School, forkserver: Forkserver, database_of_test: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.plant("print('it was me'); self.eaten = [b'x' * 2**20 for _ in range(4096)]")
    async with open_core(database_of_test, CoreSettings(catalogue="roster")) as core, core.served():
        monkeypatch.setenv("HOMEROOM_KEY", await core.key("O.1"))
        hub = Hub(core.base_url, ("A.3020",))
        elk = replace(school.settings(), hub=hub)
        good = "[Student.fields]\nlastName = 'No'\n"
        with (school.folder / "mapping.toml").open("a") as file:
            file.write(good)
        raven = school.settings("mapping")
        raven = replace(raven, hub=hub, feed=replace(raven.feed, name="raven"))
        ended: dict[str, Report] = {}

        async def merge(settings: Settings) -> None:
            async with (
                opened_state(database_of_test) as own,
                opened(settings, own, folder, forkserver=forkserver) as group,
            ):
                (course,) = await group.run(datetime.now(UTC))
                assert course.report is not None
                ended[settings.feed.name] = course.report

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(merge, elk)
            tasks.start_soon(merge, raven)
    assert (ended["elk"].status, ended["raven"].status) == (Status.FAILED, Status.HELD)
    (failed,) = (step for step in ended["elk"].steps if step.status is StepStatus.FAILED)
    assert failed.message == "the connector or formatter used more than 600 MiB; what it printed last: it was me"
    assert "the connector or formatter printed: it was me" in ended["elk"].notes
