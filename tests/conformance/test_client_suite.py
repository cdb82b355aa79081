"""`homeroom conformance client`: our own client passes every case, and whoever is at fault fails the right one."""

import hashlib
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from html import unescape
from pathlib import Path

import anyio
import httpx
import pytest

from homeroom import version_hash
from homeroom_server.conformance.client import suite
from homeroom_server.conformance.client.case import record_id
from homeroom_server.conformance.client.cases import CASES, chosen
from homeroom_server.conformance.client.diagnosis import held
from homeroom_server.conformance.client.hands import Hand, by_command
from homeroom_server.conformance.client.scripted_core import ENROLMENT, ScriptedCore
from homeroom_server.conformance.client.stage import Stage
from homeroom_server.conformance.report import Outcome, Verdict
from tests.processes import HOMEROOM

ROOT = Path(__file__).parents[2]
PLAIN = Path(__file__).parent / "plain_client.py"
CONTROL = "delta"
AT_ONCE = 4
ASKED = {"notificationType": "CourseEnrolment.2027", "maxCoreVersion": 0}

# What is wrong with a client, the case that it fails, and what that says.
FAULTS = [
    ("takes-part-of-a-list", "first-load", r"the version hash of CourseEnrolment\.2027 is that of a copy in which"),
    ("never-hashes", "repair", "it has never sent a versionHash"),
    ("hashes-texts", "access-lost", "not each as 8 bytes big-endian"),
    ("stops-after-a-wait", "wait-ends", "again, with the maxCoreVersion"),
    ("forgets-the-bookmark", "wait-ends", "again, with the maxCoreVersion"),
    ("never-waits", "change-during-wait", "with a waitSeconds above 0"),
    ("asks-beyond-the-limit", "many-changes", "called with 5,100 records; a call takes 5,000 at most"),
    ("ignores-the-stop", "get-stops", "is missing|is held at version"),
    ("insists-on-its-version", "hot-record", "it was stopped 9 times at one record"),
    ("stops-at-no-access", "unknown-in-batch", "is held at version|is missing"),
    ("ignores-no-access", "access-lost", "no longer to be seen"),
    ("ignores-the-source", "status-with-parent", "with expectedVersion 0; the record's is"),
    ("takes-the-status-for-its-source", "status-with-parent", "which its source never was"),
    ("ignores-deletes", "delete-and-undelete", "is still held at version 3, though it is deleted"),
    ("does-not-repair", "repair", "7 times in a row that its hash differs"),
    ("repairs-by-the-first-page", "repair-in-pages", "7 times in a row|more than 100 calls"),
    ("takes-its-cursor-from-submit", "own-writes", "never from Get or Submit"),
    ("closes-its-input", "own-writes", "told to by a line on its standard input, it submits"),
    ("forgets-what-it-wrote", "own-writes", "with expectedVersion 0; the record's is"),
    ("has-one-key", "own-writes", "another body under an Idempotency-Key"),
    ("overwrites-blindly", "stale-write", "without having seen version"),
    ("takes-a-rejection-for-a-success", "partial-success", "is held at version 0"),
    ("repeats-what-was-in-part-accepted", "partial-success", "again, which had been answered"),
    ("tries-another-year", "wrong-year", "again, which had been answered with 9030"),
    ("retries-at-once", "back-off", "it called 11 times within"),
    ("ignores-retry-after", "retry-after", r"it asked again after 0\.\d\d s"),
    ("retries-a-disabled-key", "key-disabled", "after it had been told so"),
    ("does-not-repair", "below-horizon", "its hash differs|more than 100 calls|nothing of the kind"),
    ("newest-wins", "restore", "7 times in a row that its hash differs"),
    ("keeps-its-cursor", "other-history", "which is of another history"),
]
# These show only by what does not come.
TIMED_OUT = {
    "closes-its-input",
    "never-hashes",
    "stops-after-a-wait",
    "forgets-the-bookmark",
    "never-waits",
    "hangs",
    "speaks-without-end",
}
# These fail the control as well.
BEYOND_CONTROL = {"hashes-texts", "takes-part-of-a-list", "never-hashes"}
BREAKDOWNS = [
    ("crashes", r"it ended, with exit code 1\..*the store is full"),
    ("hangs", r"nothing of the kind within 2 s\.\nIts last calls:\n  none"),
    ("floods", "more than 100 calls within a second"),
    ("sends-rubbish", "a path, or sends a body, that the protocol does not know"),
    ("speaks-without-end", "It wrote last:\nx+"),
]


def client(fault: str) -> Hand:
    return partial(by_command, [sys.executable, str(PLAIN), fault])


async def played(fault: str, *names: str, read_only: bool = False) -> Sequence[Verdict]:
    seconds = 2 if fault in TIMED_OUT else 20
    with anyio.fail_after(60):
        return await suite.play(
            chosen(names), client(fault), seconds_per_case=seconds, at_once=AT_ONCE, read_only=read_only
        )


def conformance(*arguments: str, status: int = 0) -> str:
    """What the command prints."""
    done = subprocess.run(
        [HOMEROOM, "conformance", "client", *arguments], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_our_own_client_passes_every_case(tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-m", "homeroom.conformance"])
    html = tmp_path / "report.html"
    said = conformance("--command", command, "--name", "homeroom 0.1", "--html", str(html), "--json", "--at-once", "4")
    report = json.loads(said)
    assert report["passed"], said
    assert [(v["case"], v["outcome"]) for v in report["verdicts"]] == [(case.name, "passed") for case in CASES]
    assert report["subject"] == "homeroom 0.1"
    page = unescape(html.read_text(encoding="utf-8"))
    assert [case.name for case in CASES if case.title not in page] == []


async def test_another_client_without_a_fault_passes_every_case() -> None:
    verdicts = await played("")
    assert [verdict.said for verdict in verdicts] == [""] * len(CASES)


@pytest.mark.parametrize(("fault", "case", "words"), FAULTS, ids=[f"{fault}: {case}" for fault, case, _ in FAULTS])
async def test_a_client_at_fault_fails_the_case_that_is_about_it(fault: str, case: str, words: str) -> None:
    control = set() if fault in TIMED_OUT | BEYOND_CONTROL else {CONTROL}
    verdicts = await played(fault, case, *control)
    failed = {verdict.case: verdict.said for verdict in verdicts if verdict.outcome is Outcome.FAILED}
    assert list(failed) == [case], failed
    assert re.search(words, failed[case]), failed[case]


@pytest.mark.parametrize(("fault", "words"), BREAKDOWNS, ids=[fault for fault, _ in BREAKDOWNS])
async def test_a_client_that_breaks_down_fails_its_case_and_not_the_suite(fault: str, words: str) -> None:
    (verdict,) = await played(fault, "wait-ends")
    assert verdict.outcome is Outcome.FAILED
    assert re.search(words, verdict.said, re.DOTALL), verdict.said


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("is-data-available", {"waitSeconds": 301, "types": [ASKED]}, "waitSeconds is 301"),
        ("is-data-available", {"waitSeconds": True, "types": [ASKED]}, "waitSeconds is True"),
        ("is-data-available", {"types": [ASKED, ASKED]}, "asked for twice"),
        ("is-data-available", {"types": [ASKED] * 65}, "1 to 64 types"),
        ("is-data-available", {"types": ["CourseEnrolment.2027"]}, "has no notificationType"),
        ("is-data-available", {"types": [ASKED | {"maxCoreVersion": 7}]}, "the highest that it was told is 0"),
        ("is-data-available", {"types": [ASKED | {"maxCoreVersion": "0"}]}, "it is a whole number"),
        ("is-data-available", {"types": [ASKED | {"versionHash": 5}]}, "versionHash is a text"),
        (
            "is-data-available",
            {"types": [ASKED | {"notificationType": "Student"}]},
            "its types are CourseEnrolment.2027",
        ),
        ("is-data-available", {"types": [ASKED | {"since": 0}]}, "no member 'since'"),
        ("get/CourseEnrolment.2027", {"records": []}, "takes a list of records"),
        ("get/CourseEnrolment.2027", {"records": [{"expectedVersion": 1}]}, "has no id"),
        ("get/CourseEnrolment.2027", {"records": [{"id": "1"}, {"id": "1"}]}, "names a record twice"),
        ("get/CourseEnrolment.2027", {"records": [{"id": "1", "expectedVersion": "1"}]}, "is not a whole number"),
        ("submit/CourseEnrolment.2027", {"records": [{"id": "1", "body": "x"}]}, "is an object"),
        ("submit/CourseEnrolmentStatus.2027", {"records": [{"id": "1", "body": {}}]}, "which only the Core makes"),
        ("reconcile/CourseEnrolment.2027", {"maxCoreVersion": 0, "ranges": [{}]}, "has the members"),
        ("reconcile/CourseEnrolment.2027", {"ranges": 5}, "a list of 1 to 1,000 ranges"),
        ("get", {"records": [{"id": "1"}]}, "that the protocol does not know"),
        ("everything/CourseEnrolment.2027", {}, "that the protocol does not know"),
    ],
)
async def test_a_call_that_no_client_may_make_fails_any_case(path: str, body: object, words: str) -> None:
    async def calling(stage: Stage, url: str) -> None:
        await stage.ready.wait()
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {stage.key}"}) as client:
            stage.come()
            answer = await client.post(f"/v1/{path}", json=body)
            assert answer.status_code == 400

    (verdict,) = await suite.play(chosen([CONTROL]), calling)
    assert words in verdict.said


def test_a_hash_is_explained_in_any_history() -> None:
    core = ScriptedCore()
    core.write(record_id(1), {})
    core.restore(core.copied())
    core.write(record_id(2), {})
    (version,) = core.given[ENROLMENT, record_id(2)]
    wrongly_packed = hashlib.md5(struct.pack("<qq", 1, version)).hexdigest()
    assert "not each as 8 bytes big-endian" in held(core, ENROLMENT, wrongly_packed)
    assert f"{record_id(2)} is missing" in held(core, ENROLMENT, version_hash([1]))
    assert core.hash_of(ENROLMENT) in held(core, ENROLMENT, "0" * 32)


async def test_a_hash_with_every_third_question_is_enough() -> None:
    verdicts = await played("hashes-seldom", "delta")
    assert [verdict.said for verdict in verdicts] == [""]


async def test_a_client_that_does_not_write_is_not_asked_to() -> None:
    verdicts = await played("", "own-writes", "status-with-parent", read_only=True)
    assert [(v.case, v.outcome) for v in verdicts] == [
        ("status-with-parent", Outcome.PASSED),
        ("own-writes", Outcome.SKIPPED),
    ]
    assert "--read-only" in verdicts[1].said


async def test_what_cannot_be_started_fails_with_the_reason() -> None:
    (verdict,) = await suite.play(chosen([CONTROL]), partial(by_command, ["/nowhere/client"]), seconds_per_case=5)
    assert "/nowhere/client cannot be started" in verdict.said


def test_the_command_says_by_its_exit_code_whether_all_passed() -> None:
    faulty = shlex.join([sys.executable, str(PLAIN), "ignores-deletes"])
    said = conformance("--command", faulty, "--only", "delete-and-undelete", status=1)
    assert "failed" in said
    conformance("--command", faulty, "--only", "no-such-case", status=2)


def test_a_person_is_told_what_to_do_where_no_command_is_given(tmp_path: Path) -> None:
    command = [HOMEROOM, "conformance", "client", "--only", "own-writes"]
    told: dict[str, str] = {}
    by_hand: subprocess.Popen[str] | None = None
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as tried:
        assert tried.stderr is not None
        for line in tried.stderr:
            name, _, value = line.strip().partition("=")
            told |= {name: value}
            if name == "HOMEROOM_TYPES":
                person = [sys.executable, str(PLAIN)]
                by_hand = subprocess.Popen(person, stdin=subprocess.PIPE, env=told, cwd=tmp_path, text=True)
            _, order, what = line.partition("Have the client do this: ")
            if order and by_hand is not None and by_hand.stdin is not None:
                by_hand.stdin.write(what)
                by_hand.stdin.flush()
    assert by_hand is not None
    by_hand.kill()
    by_hand.communicate()
    assert tried.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_client_does_not_outlive_the_command(number: signal.Signals, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    client = shlex.join(["sh", "-c", f"echo $$ > {noted}; kill -{number.value} $PPID; exec sleep 60"])
    done = subprocess.run(
        [HOMEROOM, "conformance", "client", "--command", client, "--only", CONTROL], timeout=20, check=False
    )
    assert done.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text(encoding="utf-8")), 0)


def test_the_page_for_vendors_names_every_case_and_its_title() -> None:
    page = (ROOT / "docs" / "conformance-client.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert rows == [(case.name, case.title) for case in CASES]
