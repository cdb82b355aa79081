"""The arrows of docs/architecture.md, held against the imports."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server" / "homeroom_server"
SDK = ROOT / "client_sdk" / "homeroom"
MERGE = ROOT / "merge" / "homeroom_merge"

# From the ground up: a room imports only rooms that stand before it.
FLOORS = [
    "refusal",
    "peers",
    "tracing",
    "settings",
    "tally",
    "bodies",
    "rates",
    "edge.door",
    "edge.turns",
    "edge.patience",
    "edge.refusing",
    "json_schema",
    "rule_set",
    "status.rules",
    "status.alerts",
    "store",
    "trouble",
    "lending",
    "primary",
    "database",
    "migration",
    "backup.files",
    "backup.blocks",
    "backup.keyring",
    "backup.programs",
    "backup.progress",
    "backup.making",
    "backup.putting_back",
    "catalogue",
    "organizations",
    "record_types",
    "single_flight",
    "guessing",
    "auth",
    "key_uses",
    "audience",
    "access.associations",
    "access.rules",
    "access.facts",
    "operations",
    "erasure",
    "bounds",
    "people",
    "admission",
    "hashes.recent",
    "hashes.hot_stream",
    "hashes.hashing",
    "hashes.version_hash",
    "reconcile",
    "held.answer",
    "held.bookmarks",
    "reading",
    "availability",
    "held.news",
    "held.wheel",
    "held.wake_times",
    "client_traffic",
    "held.waiters",
    "client_streams",
    "explanation",
    "changes",
    "committing.batch",
    "committing.known",
    "committing.transaction",
    "committer",
    "audit",
    "submission",
    "status.acknowledgement",
    "status.calculation",
    "status.processor",
    "access.calendar",
    "access.reasons",
    "access.verdict",
    "access.explanation",
    "access.seers",
    "access.worker",
    "feed",
    "pulse",
    "doctor",
    "collection",
    "services",
    "metrics",
    "endpoints",
    "problems",
    "openapi.shape",
    "openapi.answers",
    "openapi.links",
    "openapi",
    "reference.members",
    "reference.programs",
    "reference.rendering",
    "reference",
    "console.rendering",
    "console.visit",
    "console.charts",
    "console.advice",
    "console",
    "app",
    "edge.speaking",
    "edge",
    "parking",
    "server",
    "workers",
    "demo",
    "conformance.report",
    "conformance.core.expectation",
    "conformance.core.exchange",
    "conformance.core.caller",
    "conformance.core.kind",
    "conformance.core.world",
    "conformance.core.case",
    "conformance.core.discovery",
    "conformance.core",
    "conformance.client.scripted_core",
    "conformance.client.answering",
    "conformance.client.diagnosis",
    "conformance.client.rules",
    "conformance.client.stage",
    "conformance.client.playing",
    "conformance.client.door",
    "conformance.client.hands",
    "conformance.client.case",
    "conformance.client.reading",
    "conformance.client.writing",
    "conformance.client.trouble",
    "conformance.client.cases",
    "conformance.client.suite",
    "command",
    "cli",
    "__main__",
]

SDK_FLOORS = [
    "protocol",
    "errors",
    "answers",
    "pacing",
    "reconciliation",
    "client",
    "blocking",
    "replica.machine",
    "replica.writes",
    "replica.storage",
    "replica.arrivals",
    "replica.diagnosis",
    "replica.subscription",
    "replica.ledger",
    "replica.hashes",
    "replica.fetching",
    "replica.loading",
    "replica.repairing",
    "replica.following",
    "replica.sending",
    "replica.loop",
    "replica.memory",
    "replica.sqlite",
    "replica.verification",
    "replica.replica",
    "replica",
    "conformance",
    "command",
]
SDK_NEEDS = {"httpx", "anyio", "orjson"}

MERGE_FLOORS = [
    "embedded",
    "log_lines",
    "values",
    "refusal",
    "scrubbing",
    "sealing",
    "records",
    "plan",
    "codec",
    "shape",
    "pointing",
    "rules",
    "ordering",
    "threeway",
    "awaiting",
    "merging",
    "toml_tables",
    "formatters",
    "erased",
    "unnaming",
    "verification",
    "guards",
    "undoing",
    "restoring",
    "pacing",
    "reach",
    "linking",
    "terms",
    "settings.connectors",
    "settings.urls",
    "settings.hooks",
    "settings.model",
    "settings.overrides",
    "settings.reading",
    "settings.diff",
    "settings.start",
    "report.advice",
    "report.model",
    "report.summary",
    "report.digest",
    "report.mail",
    "report.lines",
    "report.logbook",
    "report.words",
    "report.sheet",
    "report.page",
    "report.text",
    "progress",
    "store",
    "piping",
    "connectors",
    "testing",
    "sis.side",
    "sis.local",
    "sides",
    "fetching",
    "standing",
    "backup_file",
    "backup_line",
    "backup",
    "erasure",
    "planning",
    "restoration",
    "persisting.settling",
    "persisting.drafting",
    "persisting.hub",
    "persisting.sis",
    "persisting.persist",
    "course",
    "run_records",
    "reporting",
    "watching",
    "opening",
    "run",
    "group",
    "draining",
    "inbox",
    "explanation",
    "health",
    "trial",
    "installed",
    "feed_secrets",
    "sources.source",
    "sources.csv_files",
    "sources",
    "sis.wire",
    "sis.confinement",
    "sis.library",
    "sis.child",
    "sis.forkserver",
    "sis.users",
    "sis.forking",
    "sis.spawned",
    "sis.sandboxed",
    "assembly",
    "in_force",
    "runners.asked",
    "runners.debouncing",
    "runners.settling",
    "runners.signing",
    "runners.overdue",
    "runners.watching_hub",
    "runners.watching_folder",
    "runners.webhook",
    "runners.noticing",
    "runners.serving",
    "runners.news",
    "runners.hook_email",
    "runners.hook_webhook",
    "runners.hook_command",
    "runners.hooks",
    "runners.nights",
    "runners.queue",
    "runners.work",
    "runners.by_hand",
    "runners.keeping",
    "runners.reaper",
    "runners.clock",
    "runners.worker",
    "console.frame.visiting",
    "console.frame",
    "console.host",
    "console.visit",
    "console.words",
    "console.asking",
    "console.living",
    "console.feeds",
    "console.runs",
    "console.run",
    "console.run_files",
    "console.asks",
    "console.run_now",
    "console.jobs",
    "console",
    "terminal",
    "command",
]
MERGE_PURE = MERGE_FLOORS[: MERGE_FLOORS.index("store")]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(name: str, floors: Sequence[str]) -> int | None:
    """The floor of a module, named within its package: that of the longest room it lies in; None for the package."""
    rooms = [room for room in floors if name == room or name.startswith(room + ".")]
    return floors.index(max(rooms, key=len)) if rooms else None


@pytest.mark.parametrize(("package", "floors"), [(SERVER, FLOORS), (SDK, SDK_FLOORS), (MERGE, MERGE_FLOORS)])
def test_arrows_point_one_way(package: Path, floors: Sequence[str]) -> None:
    wrong = []
    for file in package.rglob("*.py"):
        if file.name == "__init__.py":
            continue
        room = ".".join(file.relative_to(package).with_suffix("").parts)
        mine = floor_of(room, floors)
        assert mine is not None, f"{room} stands on no floor: say where in docs/architecture.md and here"
        for imported in imports_of(file):
            inside = imported.startswith(package.name + ".")
            theirs = floor_of(imported.removeprefix(package.name + "."), floors) if inside else None
            if theirs is not None and theirs > mine:
                wrong.append(f"{room} imports {imported}")
    assert wrong == []


def test_the_sdk_needs_no_more_than_it_says() -> None:
    tops = {imported.split(".")[0] for file in SDK.rglob("*.py") for imported in imports_of(file)}
    assert tops - sys.stdlib_module_names - {"homeroom"} == SDK_NEEDS
    project = tomllib.loads((SDK.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {need.partition(">")[0] for need in project["dependencies"]} == SDK_NEEDS


def test_only_the_hub_connector_of_the_merge_touches_the_sdk() -> None:
    touching = {
        file.relative_to(MERGE).with_suffix("").parts[:2]
        for file in MERGE.rglob("*.py")
        if any(imported.split(".")[0] in ("homeroom", "homeroom_server") for imported in imports_of(file))
    }
    assert touching <= {("connectors", "hub")}


def test_the_heart_of_the_merge_does_no_io() -> None:
    pure = {room.partition(".")[0] for room in MERGE_PURE}
    files = [file for file in MERGE.rglob("*.py") if file.relative_to(MERGE).with_suffix("").parts[0] in pure]
    tops = {imported.split(".")[0] for file in files for imported in imports_of(file)}
    assert tops.isdisjoint({"anyio", "asyncio", "asyncpg", "httpx", "os", "socket", "sqlalchemy"})


def test_only_the_store_speaks_sql_to_the_core() -> None:
    """The demo's school keeps a SQLite file of its own."""
    verbs = (".fetch(", ".fetchrow(", ".fetchval(", ".executemany(", "connection.execute(")
    speakers = {
        str(file.relative_to(SERVER))
        for file in SERVER.rglob("*.py")
        if not {"store", "demo"} & set(file.parts) and any(verb in file.read_text(encoding="utf-8") for verb in verbs)
    }
    assert speakers == set()


def test_protocol_and_errors_need_only_the_standard_library() -> None:
    for name in ("protocol.py", "errors.py"):
        tops = {imported.split(".")[0] for imported in imports_of(SDK / name)}
        assert tops <= sys.stdlib_module_names, name
