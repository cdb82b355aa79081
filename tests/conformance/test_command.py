"""`homeroom conformance`: the command, and the page that lists the cases."""

import json
import subprocess
from pathlib import Path

import anyio

from homeroom_server.conformance.core.suite import CASES
from tests.conftest import Core
from tests.processes import homeroom

DOC = Path(__file__).parents[2] / "docs" / "conformance.md"


async def _conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process, while the server runs in this one."""
    return await anyio.to_thread.run_sync(lambda: homeroom("conformance", *arguments, check=False))


async def test_the_command_tries_a_server_and_writes_its_report(plain_core: Core, tmp_path: Path) -> None:
    """What is not asked for is not tried; what cannot be tried says how it could be; a case that fails exits with 1."""
    page = tmp_path / "report.html"
    keys = ["--key", await plain_core.key("S.0982"), "--other-key", await plain_core.key("S.0990")]
    only = ["--only", "a-new-record-is-accepted", "--only", "a-gain-is-a-change"]
    too_little = ["--only", "too-large-a-body-is-refused", "--body-bytes-max", "10"]
    async with plain_core.served():
        url = plain_core.base_url
        done = await _conformance(url, *keys, *only, "--yes", "--json", "--html", str(page))
        failed = await _conformance(*keys, url, *too_little, "--yes")
    assert failed.returncode == 1
    assert "expected 413, seen 400" in failed.stdout
    told = json.loads(done.stdout)
    outcomes = {verdict["case"]: verdict["outcome"] for verdict in told["verdicts"]}
    wanted = {
        "a-new-record-is-accepted": "passed",
        "a-gain-is-a-change": "skipped",
        "own-records-are-deleted": "passed",
    }
    assert outcomes == wanted
    assert told["verdicts"][1]["said"] == "give --student-type: no type of the catalogue could be taken for it"
    assert "✓ Passed" in page.read_text(encoding="utf-8")


def test_nothing_is_written_into_a_server_unasked() -> None:
    done = homeroom("conformance", "http://127.0.0.1:9", "--key", "k", check=False)
    assert done.returncode == 1
    assert "writes records into http://127.0.0.1:9" in done.stderr


def test_a_server_that_does_not_answer_is_said_in_one_line() -> None:
    done = homeroom("conformance", "http://127.0.0.1:9", "--key", "k", "--yes", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:9 does not answer" in done.stderr


def test_wrong_usage_exits_with_2() -> None:
    for arguments, word in (
        (["http://127.0.0.1:9"], "--key"),
        (["127.0.0.1:9", "--key", "k"], "http://"),
        (["http://127.0.0.1:9", "--key", "k", "--only", "no-such-case"], "no-such-case"),
    ):
        done = homeroom("conformance", *arguments, check=False)
        assert (done.returncode, word in done.stderr) == (2, True), done.stderr


def test_the_list_and_the_page_name_every_case() -> None:
    listed = json.loads(homeroom("conformance", "--list", "--json").stdout)
    assert [each["case"] for each in listed] == list(CASES)
    rows = [f"| `{each['case']}` | {each['section']} | {each['title']} |" for each in listed]
    page = [line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [line for line in page if " | protocol " in line] == rows
