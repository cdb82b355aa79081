"""The programs that /docs and docs/integrating.md show, run as they stand against a Core on a socket."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from tests.conftest import Core

SNIPPETS = Path(__file__).parent.parent / "server" / "homeroom_server" / "reference" / "snippets"
RUN_BY = {"sh": ["sh"], "py": [sys.executable], "mjs": ["node"]}
NEEDS = {"sh": "curl", "py": sys.executable, "mjs": "node"}
MAPLE = {"names": [{"name": "Maple Ridge School"}]}
JSON_HEAD = "Content-Type: application/json"
PROBLEM_HEAD = "Content-Type: application/problem+json"


@dataclass(frozen=True)
class Programs:
    """Those of one language, run in a folder of their own as somebody with this key."""

    language: str
    folder: Path
    url: str
    key: str
    organization: str = ""

    def environment(self) -> dict[str, str]:
        found = {**os.environ, "HOMEROOM_URL": self.url, "HOMEROOM_KEY": self.key}
        return {**found, "HOMEROOM_ORGANIZATION": self.organization} if self.organization else found

    def command(self, name: str, *arguments: str) -> list[str]:
        return [*RUN_BY[self.language], str(SNIPPETS / f"{name}.{self.language}"), *arguments]

    async def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        with anyio.fail_after(60):
            return await anyio.run_process(
                self.command(name, *arguments), cwd=self.folder, env=self.environment(), check=False
            )

    async def prints(self, name: str, *arguments: str) -> str:
        """What it prints when all is well."""
        done = await self.run(name, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    @asynccontextmanager
    async def running(self, name: str, *arguments: str) -> AsyncIterator["Running"]:
        async with await anyio.open_process(
            self.command(name, *arguments), cwd=self.folder, env=self.environment()
        ) as process:
            assert process.stdout is not None
            try:
                yield Running(TextReceiveStream(process.stdout))
            finally:
                process.kill()


@dataclass
class Running:
    output: TextReceiveStream
    said: str = ""

    async def until_it_says(self, *words: str) -> None:
        with anyio.fail_after(30):
            while not all(word in self.said for word in words):
                self.said += await self.output.receive()
        self.said = ""


@pytest.fixture(params=["sh", "py", "mjs"])
def language(request: pytest.FixtureRequest) -> str:
    if shutil.which(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    return str(request.param)


@pytest.fixture
async def served(core: Core) -> AsyncIterator[Core]:
    async with core.served():
        yield core


@pytest.fixture
async def programs(language: str, served: Core, tmp_path: Path) -> Programs:
    return Programs(language, tmp_path, served.base_url, await served.key("S.0982"))


async def stored(programs: Programs, record_id: str, body: Mapping[str, Any]) -> None:
    """By the program of that language; the one for curl is told the version."""
    version = ["0"] if programs.language == "sh" else []
    said = await programs.prints("submit", "School", record_id, *version, json.dumps(body))
    assert '"rejections":[]' in said if version else "stored as version" in said


async def test_hello_says_for_whom_a_client_acts(programs: Programs) -> None:
    said = await programs.prints("hello")
    assert "S.0982" in said
    assert "Maple Ridge School" in said
    assert "writer" in said


async def test_a_client_of_several_says_for_whom_it_acts(programs: Programs, served: Core) -> None:
    authority = replace(programs, key=await served.key("A.3020"), organization="S.0983")
    said = await authority.prints("hello")
    assert '"organization":"S.0983"' in said if programs.language == "sh" else "acts for S.0983," in said


async def test_what_is_submitted_is_got(programs: Programs) -> None:
    await stored(programs, "0982", MAPLE)
    said = json.loads(await programs.prints("get", "School", "0982"))
    record = said["records"][0] if programs.language == "sh" else said
    assert (record["availability"], record["body"]) == ("Normal", MAPLE)


async def test_a_first_load_is_followed_by_every_change(programs: Programs, served: Core) -> None:
    await stored(programs, "0982", MAPLE)
    assert (await programs.prints("first_load", "School")).startswith("1 records, cursor ")
    async with programs.running("follow", "School") as follower:
        elk = await served.client("S.0983")
        await elk.submit("School", [{"id": "0983", "expectedVersion": 0, "body": MAPLE}])
        await follower.until_it_says("0983", '"deleted":false' if programs.language == "sh" else "changed")
        (found,) = (await elk.get("School", [{"id": "0982"}])).records
        version = [str(found["coreVersion"])] if programs.language == "sh" else []
        await programs.prints("delete", "School", "0982", *version)
        await follower.until_it_says("0982", '"deleted":true' if programs.language == "sh" else "deleted")


@pytest.mark.parametrize("language", ["py", "mjs"], indirect=True)
async def test_what_a_follower_saved_is_what_the_core_has(programs: Programs, served: Core) -> None:
    await stored(programs, "0982", MAPLE)
    await programs.prints("first_load", "School")
    file = programs.folder / "School.json"
    state = json.loads(file.read_text())
    state["records"]["0982"]["version"] += 1  # somebody has edited it
    state["records"]["0999"] = state["records"]["0982"]
    file.write_text(json.dumps(state))
    async with programs.running("follow", "School") as follower:
        await follower.until_it_says("School loaded anew: 1 records")
        elk = await served.client("S.0983")
        await elk.submit("School", [{"id": "0983", "expectedVersion": 0, "body": MAPLE}])
        await follower.until_it_says("School 0983 changed")
    assert json.loads(file.read_text())["records"].keys() >= {"0982"}
    assert "0999" not in json.loads(file.read_text())["records"]


async def test_a_key_that_nobody_knows_stops_a_program(programs: Programs) -> None:
    stranger = Programs(programs.language, programs.folder, programs.url, "hr_wrong")
    done = await stranger.run("hello")
    assert done.returncode != 0
    assert b"1001" in done.stderr
    assert b"stop" in done.stderr


async def test_a_record_that_is_rejected_says_why(programs: Programs) -> None:
    version = ["0"] if programs.language == "sh" else []
    done = await programs.run("submit", "School", "0982", *version, '{"names": [{"name": ""}]}')
    said = (done.stdout + done.stderr).decode()
    assert "9040" in said
    assert "/names/0/name" in said
    assert done.returncode == (0 if programs.language == "sh" else 1)


async def test_the_sdk_does_it_in_ten_lines(served: Core, tmp_path: Path) -> None:
    programs = Programs("py", tmp_path, served.base_url, await served.key("S.0982"))
    async with programs.running("replica", "School") as follower:
        await stored(programs, "0982", MAPLE)
        await follower.until_it_says("School 0982 changed")


@dataclass
class CannedCore:
    """Gives one connection after the other its answer, whatever is asked; what a real Core does rarely."""

    answers: Sequence[bytes]
    asked: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = b""
        while not _is_whole(asked):
            asked += await reader.read(65_536)
        self.asked.append(asked.decode())
        writer.write(self.answers[len(self.asked) - 1])
        writer.close()


def _is_whole(asked: bytes) -> bool:
    head, end, body = asked.partition(b"\r\n\r\n")
    _, said, length = head.lower().partition(b"content-length: ")
    return bool(end) and (not said or len(body) == int(length.partition(b"\r\n")[0]))


def canned(status: str, body: object, *headers: str) -> bytes:
    """An answer after which the connection ends."""
    content = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", content]).encode()


async def test_a_core_that_is_away_is_asked_again_when_it_says(language: str, tmp_path: Path) -> None:
    problem = {"code": 2001, "title": "Core not available", "detail": "draining", "action": "retry", "status": 503}
    hello = {
        "client": "Maple",
        "role": "writer",
        "organization": "S.0982",
        "organizations": [{"code": "S.0982", "name": "Maple Ridge"}],
    }
    away = canned("503 Service Unavailable", problem, PROBLEM_HEAD, "Retry-After: 1")
    core = CannedCore([away, canned("200 OK", hello, JSON_HEAD)])
    async with core.served() as url:
        programs = Programs(language, tmp_path, url, "hr_any")
        before = anyio.current_time()
        assert "S.0982" in await programs.prints("hello")
    assert len(core.asked) == 2
    assert anyio.current_time() - before >= 1


async def test_a_first_load_that_was_cut_goes_on_in_its_window(language: str, tmp_path: Path) -> None:
    lines = [
        {"until": 12, "epoch": "e"},
        {"id": "a", "coreVersion": 10, "body": {}},
        {"id": "b", "coreVersion": 12, "body": {}},
        {"bookmark": 12},
    ]
    first, *rest = [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]
    broken = canned("200 OK", "".join([first, *rest])).replace(rest[1].encode() + rest[2].encode(), b'{"id":')
    whole = [first, *(rest if language == "sh" else rest[1:])]  # which has no way to resume
    core = CannedCore([broken, canned("200 OK", "".join(whole))])
    async with core.served() as url:
        said = await Programs(language, tmp_path, url, "hr_any").prints("first_load", "School")
    assert said == "2 records, cursor 12\n"
    if language != "sh":
        assert core.asked[1].startswith("GET /v1/snapshot/School?after=10&until=12 ")


@pytest.mark.parametrize("language", ["py", "mjs"], indirect=True)
async def test_a_change_of_somebody_else_is_kept(language: str, tmp_path: Path) -> None:
    def found(version: int, **body: str) -> bytes:
        record = {"id": "a", "availability": "Normal", "coreVersion": version, "deleted": False, "body": body}
        return canned("200 OK", {"records": [record], "stoppedAt": None}, JSON_HEAD)

    rejected = {"code": 3004, "title": "t", "detail": "d", "action": "resync"}
    core = CannedCore(
        [
            found(5, mine="old"),
            canned("200 OK", {"results": [{"id": "a", "coreVersion": 0, "rejections": [rejected]}]}, JSON_HEAD),
            found(6, mine="old", theirs="new"),
            canned("200 OK", {"results": [{"id": "a", "coreVersion": 7, "rejections": []}]}, JSON_HEAD),
        ]
    )
    async with core.served() as url:
        programs = Programs(language, tmp_path, url, "hr_any")
        assert await programs.prints("submit", "Note", "a", '{"mine": "new"}') == "a stored as version 7\n"
    (record,) = json.loads(core.asked[3].partition("\r\n\r\n")[2])["records"]
    assert record == {"id": "a", "expectedVersion": 6, "body": {"mine": "new", "theirs": "new"}}


@pytest.mark.parametrize("language", ["py", "mjs"], indirect=True)
async def test_a_record_that_has_changed_again_is_got_as_it_stands(language: str, tmp_path: Path) -> None:
    def news(*versions: tuple[str, int]) -> bytes:
        listed = [{"id": each, "coreVersion": version} for each, version in versions]
        stream = {"notificationType": "Note", "reason": "newer", "maxCoreVersion": 9, "complete": True}
        return canned("200 OK", {"types": [{**stream, "records": listed}]}, JSON_HEAD)

    def some(stopped_at: int | None, *ids: str) -> bytes:
        told = {"availability": "Normal", "coreVersion": 7, "deleted": False, "body": {}}
        return canned("200 OK", {"records": [{"id": i, **told} for i in ids], "stoppedAt": stopped_at}, JSON_HEAD)

    (tmp_path / "Note.json").write_text('{"cursor": 3, "records": {}}')
    stop = canned("401 Unauthorized", {"code": 1002, "title": "t", "detail": "d", "action": "stop"}, PROBLEM_HEAD)
    core = CannedCore([news(("a", 4), ("b", 5), ("c", 6)), some(1, "a"), some(None, "b", "c"), stop])
    async with core.served() as url:
        done = await Programs(language, tmp_path, url, "hr_any").run("follow", "Note")
    assert [line.split()[1] for line in done.stdout.decode().splitlines()] == ["a", "b", "c"]
    assert done.returncode != 0
    assert json.loads(core.asked[2].partition("\r\n\r\n")[2]) == {
        "records": [{"id": "b"}, {"id": "c", "expectedVersion": 6}]
    }
