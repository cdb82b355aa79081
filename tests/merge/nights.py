"""Nights of one feed by the real command: a Core, a folder of exports, and what the hub has afterwards."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio import to_thread
from typer.testing import CliRunner

from homeroom_merge.command import app
from homeroom_merge.values import Json
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.merge.exports import Export
from tests.merge.feeds import on_the_hub

ORGANIZATIONS = "code,name,parent\nO.1,Ministry,\nA.9,Elk,O.1\nS.91,Raven,A.9\nS.92,Heron,A.9\n"
CODES = {"held": 3, "failed": 1, "noData": 1}


@dataclass
class Feed:
    """A feed of teachers whose absence counts, and deletes them, after two nights."""

    core: Core
    export: Export
    folder: Path
    environment: dict[str, str]

    async def do(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code and what was printed."""
        runner = CliRunner(env=self.environment)
        done = await to_thread.run_sync(runner.invoke, app, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.stdout, done.stderr

    async def report(self, *arguments: str) -> dict[str, Any]:
        """The head of the report of the only entity."""
        code, said, told = await self.do(*arguments, "--feed", "raven", "--json")
        (line,) = said.splitlines()
        found: dict[str, Any] = json.loads(line)
        assert CODES.get(found["status"], 0) == code, told
        return found

    async def told(self, report: dict[str, Any]) -> str:
        """All that a report says: of the run, and of each record."""
        code, said, told = await self.do("report", report["run"], "--json")
        assert code == 0, told
        return said

    async def night(self, *arguments: str) -> dict[str, Any]:
        return await self.report("run", *arguments)

    async def hub(self) -> dict[str, Json]:
        return await on_the_hub(self.core, "Staff")


@asynccontextmanager
async def opened_feed(url: str, settings: Settings, folder: Path, export: Export) -> AsyncIterator[Feed]:
    """With settings of its own pushed, and nothing in its folder."""
    async with open_core(url, replace(settings, catalogue="roster")) as core:
        await operations.load_organizations(await core.connect(), ORGANIZATIONS)
        key = await core.key("A.9")
        async with core.served():
            environment = {
                "HOMEROOM_KEY": key,
                "HOMEROOM_MERGE_DATABASE_URL": url,
                "HOMEROOM_MERGE_DATA_DIR": str(folder / "own"),
            }
            feed = Feed(core, export, folder, environment)
            (folder / "raven.toml").write_text(_settings(feed))
            code, _, told = await feed.do("settings", "push", str(folder / "raven.toml"))
            assert code == 0, told
            yield feed


def _settings(feed: Feed) -> str:
    mapping = f'mapping = "{feed.folder / "mapping.toml"}"' if feed.export.formatter == "mapping" else ""
    return f"""
[feed]
name = "raven"
authority = "A.9"
schools = ["S.91"]
formatter = "{feed.export.formatter}"
[hub]
url = "{feed.core.base_url}"
organizations = ["A.9"]
[connector]
kind = "{feed.export.kind}"
folder = "{feed.folder}"
{mapping}
[secrets]
hub_key = "HOMEROOM_KEY"
[entity.Staff.delete_policy]
on_delete = "delete"
"""
