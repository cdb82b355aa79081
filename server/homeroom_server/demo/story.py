"""The demo, told as it happens: load, follow, change, tamper, repair."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import asyncpg
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from homeroom import Client
from homeroom.protocol import MINISTRY
from homeroom.replica import Outcome, Verdict
from homeroom_server import database, operations
from homeroom_server.auth import Role
from homeroom_server.demo.district import District, Edit
from homeroom_server.demo.node import running_node
from homeroom_server.demo.school import School
from homeroom_server.refusal import RefusedError
from homeroom_server.store import triggers

_PER_SUBMIT = 1_000
_SUBMITTERS = 2
_ARRIVAL_SECONDS_MAX = 30

Json = dict[str, Any]


class DemoError(RefusedError):
    """The demo did not see what it came to show."""


@dataclass(slots=True)
class Arrivals:
    """When each (type, id, version) was first stored in a school's file, by name of the school."""

    seen: dict[tuple[str, str, str, int], float] = field(default_factory=dict)
    _news: anyio.Event = field(default_factory=anyio.Event)

    def note(self, school: str, type_name: str, record_id: str, version: int) -> None:
        self.seen.setdefault((school, type_name, record_id, version), time.perf_counter())
        self._news.set()
        self._news = anyio.Event()

    async def more(self) -> None:
        """Return when something arrives."""
        await self._news.wait()

    async def first(self, type_name: str, record_id: str, version: int) -> tuple[str, float]:
        """The first school that stored that version or a later one, and when."""
        with anyio.move_on_after(_ARRIVAL_SECONDS_MAX):
            while True:
                found = [
                    (moment, school)
                    for (school, name, i, v), moment in self.seen.items()
                    if (name, i) == (type_name, record_id) and v >= version
                ]
                if found:
                    moment, school = min(found)
                    return school, moment
                await self.more()
        raise DemoError(f"{type_name} {record_id} did not arrive within {_ARRIVAL_SECONDS_MAX} s")


@dataclass(frozen=True, slots=True)
class Follower:
    """A subscriber at work."""

    name: str
    school: School


class Story:
    """One telling. Files are left in `folder` for a look at them."""

    def __init__(self, district: District, folder: Path, out: Console) -> None:
        self._district = district
        self._folder = folder
        self._out = out
        self._arrivals = Arrivals()
        self._latencies: list[float] = []

    async def tell(self, database_url: str, port: int, serve: bool) -> None:
        """Everything, then the summary; with `serve` the Core keeps running until Ctrl+C."""
        self._out.rule(f"[bold]homeroom[/] · {self._district.title}")
        await database.apply_schema(database_url)
        keys = await self._register(database_url)
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(running_node(database_url, self._district.catalogue, port))
            ministry = await stack.enter_async_context(Client(url, keys[MINISTRY]))
            self._out.print(f"The Core answers at [bold]{url}[/], PostgreSQL runs in {self._folder}")
            await self._load(ministry)
            await self._await_statuses(database_url)
            followers = await stack.enter_async_context(self._following(url, keys))
            async with anyio.create_task_group() as tasks:
                for follower in followers:
                    tasks.start_soon(follower.school.watch)
                await self._show_changes(ministry)
                await self._show_tampering(followers[0])
                await self._show_status(ministry)
                tasks.cancel_scope.cancel()
            await self._summarize(followers)
            if serve:
                self._out.print("The Core keeps running; [bold]Ctrl+C[/] ends it. Try:")
                self._out.print(
                    _curl(url, keys[self._district.subscribers[0].organization]), soft_wrap=True, markup=False
                )
                await anyio.sleep_forever()

    async def _register(self, database_url: str) -> dict[str, str]:
        """Organisations, and a key for the ministry and each subscriber."""
        connection = await asyncpg.connect(database_url)
        try:
            await operations.load_organizations(connection, self._district.organizations)
            codes = [MINISTRY, *(subscriber.organization for subscriber in self._district.subscribers)]
            return {
                code: await operations.create_client(connection, f"demo {code}", [code], Role.WRITER) for code in codes
            }
        finally:
            await connection.close()

    async def _load(self, ministry: Client) -> None:
        calls = [
            (load.notification_type, load.records[start : start + _PER_SUBMIT])
            for load in self._district.loads
            for start in range(0, len(load.records), _PER_SUBMIT)
        ]
        total = sum(len(load.records) for load in self._district.loads)
        waiting = iter(calls)
        begun = time.perf_counter()
        with _progress(self._out) as progress:
            bar = progress.add_task("submitting records", total=total)

            async def submit_some() -> None:
                for notification_type, records in waiting:
                    answer = await ministry.submit(notification_type, records)
                    wrong = [result for result in answer.results if result["rejections"]]
                    if wrong:
                        raise DemoError(f"{notification_type} {wrong[0]['id']}: {wrong[0]['rejections']}")
                    progress.advance(bar, len(records))

            async with anyio.create_task_group() as tasks:
                for _ in range(_SUBMITTERS):
                    tasks.start_soon(submit_some)
        seconds = time.perf_counter() - begun
        self._out.print(f"{total:,} records submitted over HTTP in {seconds:.1f} s: {total / seconds:,.0f} records/s")

    async def _await_statuses(self, database_url: str) -> None:
        connection = await asyncpg.connect(database_url)
        try:
            with _progress(self._out) as progress:
                waiting = await triggers.count_waiting(connection)
                bar = progress.add_task("calculating statuses", total=waiting)
                while left := await triggers.count_waiting(connection):
                    progress.update(bar, completed=max(0, waiting - left))
                    await anyio.sleep(0.1)
                progress.update(bar, completed=waiting)
        finally:
            await connection.close()

    @asynccontextmanager
    async def _following(self, url: str, keys: dict[str, str]) -> AsyncIterator[list[Follower]]:
        """Every subscriber with a file of its own, after its first load."""
        async with AsyncExitStack() as stack:
            followers = []
            for subscriber in self._district.subscribers:
                client = await stack.enter_async_context(Client(url, keys[subscriber.organization]))

                def arrived(name: str, record_id: str, version: int, school: str = subscriber.name) -> None:
                    self._arrivals.note(school, name, record_id, version)

                path = self._folder / f"{subscriber.organization}.sqlite"
                school = School(client, path, subscriber.types, arrived)
                begun = time.perf_counter()
                replica = await stack.enter_async_context(school.replica)
                await replica.in_step()
                seconds = time.perf_counter() - begun
                held = sum(summary.live for summary in await replica.status())
                self._out.print(
                    f"[bold]{subscriber.name}[/] ({subscriber.organization}) holds {held:,} records"
                    f" after {seconds:.2f} s in {path}"
                )
                followers.append(Follower(subscriber.name, school))
            yield followers

    async def _show_changes(self, ministry: Client) -> None:
        """Each change by itself, timed from the moment it is sent to the moment it is in a school's file."""
        table = Table("change", "record", "version", "acknowledged", "in the file of", "after", title="Changes, live")
        with Live(table, console=self._out):
            for edit in self._district.edits:
                begun = time.perf_counter()
                version = await _apply(ministry, edit)
                acknowledged = time.perf_counter() - begun
                school, moment = await self._arrivals.first(edit.notification_type, edit.record_id, version)
                self._latencies.append(moment - begun)
                columns = (edit.what, edit.record_id[:13], str(version), _ms(acknowledged), school, _ms(moment - begun))
                table.add_row(*columns)

    async def _show_tampering(self, follower: Follower) -> None:
        """A record vanishes from a file, another goes stale: the hash tells, the full list repairs."""
        school, name = follower.school, follower.school.types[-1]
        name = next((kind for kind in school.types if len(school.versions(kind)) >= 2), name)
        before = school.versions(name)
        drop, stale = list(before)[:2]
        school.tamper(name, drop, stale)
        self._out.print(f"Somebody tampers with the file of {follower.name}: {name} loses {drop}, {stale} goes stale.")
        begun = time.perf_counter()
        causes: dict[str, str] = {}
        with anyio.move_on_after(_ARRIVAL_SECONDS_MAX):
            while not {drop, stale} <= causes.keys() or school.versions(name) != before:
                await anyio.sleep(0.02)
                causes = {found.id: found.cause for found in await school.replica.differences()}
        if school.versions(name) != before or len(causes) < 2:
            raise DemoError("the tampered file was not repaired")
        self._out.print(
            f"[green]Found by the version hash and repaired[/] {time.perf_counter() - begun:.2f} s later"
            f" (the hash goes with each question; this school asks every few seconds)."
            f" The file says why: {drop} {causes[drop]}, {stale} {causes[stale]}."
        )

    async def _show_status(self, ministry: Client) -> None:
        """A change arrives with its status: the parent comes embedded."""
        edit = self._district.status_edit
        version = await _apply(ministry, edit)
        name, _ = await self._arrivals.first(edit.notification_type, edit.record_id, version)
        base, _, year = edit.notification_type.partition(".")
        status_type = f"{base}Status.{year}"
        answer = await ministry.get(status_type, [{"id": edit.record_id, "knownSourceVersion": 0}])
        (status,) = answer.records
        self._out.print(
            f"{edit.what}: saved as version {version}, its status as {status['coreVersion']}"
            f" (calculated from {status['sourceVersion']}); {name} got both from {status_type} alone."
        )
        for alert in status["body"]["alerts"]:
            self._out.print(
                f"  [yellow]{alert['alertType']} {alert['alertCode']}[/] {alert['description']}: {alert['arguments']}"
            )

    async def _summarize(self, followers: Sequence[Follower]) -> None:
        """Asks the Core once more whether each file is what it would hand out."""
        table = Table("file", "type", "records", "agrees with the Core", title="At the end")
        for follower in followers:
            for verdict in await self._verified(follower):
                if verdict.outcome is not Outcome.IN_STEP:
                    raise DemoError(f"the file of {follower.name} is not in step in {verdict.type}: {verdict.outcome}")
                count = len(follower.school.versions(verdict.type))
                table.add_row(follower.name, verdict.type, f"{count:,}", "[green]by its version hash[/]")
        self._out.print(table)
        worst = max(self._latencies)
        self._out.print(
            f"{len(self._latencies)} changes reached a school's file {_ms(median(self._latencies))} after they were"
            f" sent (median; slowest {_ms(worst)}), with their status calculated on the way."
        )

    async def _verified(self, follower: Follower) -> Sequence[Verdict]:
        """What each type is found to be; a status that was calculated last may still be on its way to the file."""
        verdicts = await follower.school.replica.verify()
        with anyio.move_on_after(_ARRIVAL_SECONDS_MAX):
            while any(verdict.outcome is Outcome.BEHIND for verdict in verdicts):
                await anyio.sleep(0.1)
                verdicts = await follower.school.replica.verify()
        return verdicts


async def _apply(ministry: Client, edit: Edit) -> int:
    """Make a change on top of the record's present version; the new version."""
    answer = await ministry.get(edit.notification_type, [{"id": edit.record_id}])
    (record,) = answer.records
    body = record["body"] | edit.members
    submitted = {"id": edit.record_id, "expectedVersion": record["coreVersion"], "body": body}
    (result,) = (await ministry.submit(edit.notification_type, [submitted])).results
    if result["rejections"]:
        raise DemoError(f"{edit.what}: {result['rejections']}")
    return int(result["coreVersion"])


def _progress(out: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _curl(url: str, key: str) -> str:
    body = '{"waitSeconds": 50, "types": [{"notificationType": "School", "maxCoreVersion": 0}]}'
    return f"  curl -H 'Authorization: Bearer {key}' {url}/v1/is-data-available -d '{body}'"
