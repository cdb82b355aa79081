"""The arrows of docs/architecture.md, held against the imports."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server" / "homeroom_server"
SDK = ROOT / "client_sdk" / "homeroom"

# From the ground up: a room imports only rooms that stand before it.
FLOORS = [
    "settings",
    "json_schema",
    "rule_set",
    "status.rules",
    "status.alerts",
    "store",
    "database",
    "catalogue",
    "organizations",
    "single_flight",
    "auth",
    "audience",
    "operations",
    "admission",
    "waiters",
    "version_hash",
    "reconcile",
    "availability",
    "client_streams",
    "explanation",
    "committer",
    "submission",
    "status.acknowledgement",
    "status.calculation",
    "status.processor",
    "feed",
    "services",
    "endpoints",
    "problems",
    "app",
    "server",
    "demo",
    "cli",
    "__main__",
]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(dotted: str) -> int | None:
    """The floor of `homeroom_server.…`; None for the package itself."""
    name = dotted.removeprefix("homeroom_server.")
    floors = [i for i, room in enumerate(FLOORS) if name == room or name.startswith(room + ".")]
    return max(floors, default=None)


def test_arrows_in_the_server_point_one_way() -> None:
    wrong = []
    for file in SERVER.rglob("*.py"):
        if file.name == "__init__.py":
            continue
        room = ".".join(file.relative_to(SERVER).with_suffix("").parts)
        mine = floor_of("homeroom_server." + room)
        assert mine is not None, f"{room} stands on no floor: say where in docs/architecture.md and here"
        for imported in imports_of(file):
            theirs = floor_of(imported) if imported.startswith("homeroom_server.") else None
            if theirs is not None and theirs > mine:
                wrong.append(f"{room} imports {imported}")
    assert wrong == []


def test_only_the_store_speaks_sql_to_the_core() -> None:
    """The demo's school keeps a SQLite file of its own."""
    verbs = (".fetch(", ".fetchrow(", ".fetchval(", ".executemany(", "connection.execute(")
    speakers = {
        str(file.relative_to(SERVER))
        for file in SERVER.rglob("*.py")
        if not {"store", "demo"} & set(file.parts) and any(verb in file.read_text(encoding="utf-8") for verb in verbs)
    }
    assert speakers == set()


def test_the_sdk_imports_nothing_of_the_server() -> None:
    for file in SDK.rglob("*.py"):
        foreign = [i for i in imports_of(file) if i.startswith(("homeroom_server", "homeroom_merge"))]
        assert foreign == [], file.name


def test_protocol_and_errors_need_only_the_standard_library() -> None:
    for name in ("protocol.py", "errors.py"):
        tops = {imported.split(".")[0] for imported in imports_of(SDK / name)}
        assert tops <= sys.stdlib_module_names, name
