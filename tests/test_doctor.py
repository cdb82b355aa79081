"""`homeroom doctor` finds what is wrong with a deployment, says what to do, and changes nothing."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import asyncpg
import pytest
import trustme

from homeroom_server.doctor import configuration, examination, machine, node, postgres
from homeroom_server.doctor.finding import Finding, Level
from homeroom_server.settings import Settings
from homeroom_server.store.examination import ServerRow, SlotRow
from tests.cluster import Cluster, free_port, running_cluster
from tests.conftest import Core, open_core
from tests.processes import Node, homeroom, running_node
from tests.records import accepted, note
from tests.swallowing import swallowing
from tests.test_standby import pause_replay, province, resume_replay

__all__ = ["province"]  # a fixture

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WELL = ServerRow(
    version=150_004,
    is_standby=False,
    clock=NOW,
    settings={
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "autovacuum": "on",
        "default_transaction_read_only": "off",
    },
    data_directory="/",
    connections=1,
    oldest_transaction_age=1_000,
    longest_transaction_seconds=0.0,
    prepared_transactions=0,
)


async def found(url: str, settings: Settings | None = None) -> dict[str, list[Finding]]:
    """What is found of a database, by what was looked at."""
    findings: dict[str, list[Finding]] = {}
    for each in await examination.examine_database(settings or Settings(), url):
        findings.setdefault(each.looked_at, []).append(each)
    return findings


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def only(findings: list[Finding], level: Level, *words: str) -> None:
    """Fails unless there is one finding, of this level, with these words, that says what to do."""
    assert levels(findings) == [level], findings
    (finding,) = findings
    assert all(word in finding.found for word in words), finding
    assert finding.todo


def doctor(*arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code and findings of the command, by what was looked at."""
    done = homeroom("doctor", "--json", *arguments, check=False)
    assert done.stdout, done.stderr
    by: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(done.stdout)["findings"]:
        by.setdefault(each["lookedAt"], []).append(each)
    return done.returncode, by


class TestTheCommand:
    async def test_a_node_that_is_well_has_nothing_to_fix(self, node_files: Node, tmp_path: Path) -> None:
        homeroom("backup", str(tmp_path / "backups"), "--data-dir", node_files.data_dir)
        async with running_node(node_files) as running:
            flags = "--data-dir", node_files.data_dir, "--url", running.url, *node_files.flags
            code, said = await anyio.to_thread.run_sync(doctor, *flags)
            with anyio.fail_after(30):
                while said["nodes"][0]["level"] != "ok":  # it says two seconds after its start that it lives
                    code, said = await anyio.to_thread.run_sync(doctor, *flags)
        assert code == 0, said
        assert not any(each["level"] == "fix" for group in said.values() for each in group)
        for looked_at in ("durability", "schema", "nodes", "readiness", "LISTEN", "backups", "catalogue"):
            assert [each["level"] for each in said[looked_at]] == ["ok"], said[looked_at]

    def test_where_there_is_no_database_none_is_made(self, folder: Path) -> None:
        code, said = doctor("--data-dir", str(folder / "none"))
        assert code == 1
        assert said["database"][0]["level"] == "fix"
        assert not (folder / "none").exists()

    def test_warnings_alone_are_no_failure(self, node_files: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOMEROOM_HELD_REQUEST_PER_CLIENT_MAX", "5")
        code, said = doctor("--data-dir", node_files.data_dir)
        assert code == 0, said
        (variable,) = [each for each in said["environment variables"] if "HOMEROOM_HELD_REQUEST_" in each["found"]]
        assert variable["level"] == "warning"
        assert variable["todo"] == "HOMEROOM_HELD_REQUESTS_PER_CLIENT_MAX may be meant"
        assert said["nodes"][0]["level"] == "warning"

    def test_settings_that_cannot_be_used_are_said_and_the_variables_with_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOMEROOM_PORT", "many")
        monkeypatch.setenv("HOMEROOM_COLOUR", "blue")
        code, said = doctor()
        assert code == 1
        assert "port: 'many'" in said["settings"][0]["found"]
        assert said["environment variables"][0]["found"].startswith("HOMEROOM_COLOUR")

    def test_it_is_readable_and_says_what_to_do(self, folder: Path) -> None:
        done = homeroom("doctor", "--database-url", f"postgresql://127.0.0.1:{free_port()}/x", check=False)
        assert done.returncode == 1
        assert "fix     database: 127.0.0.1:" in done.stdout
        assert "→ see that it runs and takes connections from here" in done.stdout
        assert "1 to fix" in done.stdout


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "level"),
        [
            (Settings(), Level.OK),
            (Settings(host="localhost"), Level.OK),
            (Settings(host="0.0.0.0"), Level.WARNING),
            (Settings(host="0.0.0.0", tls_certificate="some.pem"), Level.OK),
            (Settings(host="0.0.0.0", proxies="10.0.0.7"), Level.OK),
            (Settings(proxies="0.0.0.0/0"), Level.FIX),
        ],
    )
    def test_proxies_are_needed_where_plain_http_is_open_to_others(self, settings: Settings, level: Level) -> None:
        assert configuration.check_proxies(settings).level is level

    @pytest.mark.parametrize(
        ("from_day", "to_day", "url", "expected"),
        [
            (-9, 90, None, [Level.OK]),
            (-9, 9, None, [Level.WARNING]),
            (-9, -1, None, [Level.FIX]),
            (1, 90, None, [Level.FIX]),
            (-9, 90, "https://core.example.org/", [Level.OK]),
            (-9, 90, "https://a.deep.example.net", [Level.OK, Level.FIX]),
            (-9, 90, "https://one.example.net:8443", [Level.OK]),
            (-9, 90, "https://other.example.org", [Level.OK, Level.FIX]),
        ],
    )
    def test_a_certificate_counts_today_and_for_the_host(
        self, tmp_path: Path, from_day: int, to_day: int, url: str | None, expected: list[Level]
    ) -> None:
        made = trustme.CA().issue_cert(
            "core.example.org",
            "*.example.net",
            not_before=NOW + timedelta(days=from_day),
            not_after=NOW + timedelta(days=to_day),
        )
        file = tmp_path / "node.pem"
        made.private_key_and_cert_chain_pem.write_to_path(file)
        assert levels(list(configuration.check_certificate(Settings(tls_certificate=str(file)), url, NOW))) == expected

    async def test_a_catalogue_that_does_not_load_is_said(self) -> None:
        findings = await examination.examine(Settings(catalogue="none.toml"), None, {})
        only([each for each in findings if each.looked_at == "catalogue"], Level.FIX, "none.toml")

    def test_fewer_open_files_than_requests_to_be_held_are_said(self) -> None:
        assert machine.check_open_files(50_000, 1_048_576, "it").level is Level.OK
        only([machine.check_open_files(50_000, 20_000, "it")], Level.WARNING, "20,000", "50,000")


class TestAnyPostgres:
    @pytest.mark.parametrize(
        ("wrong", "level", "words"),
        [
            ({"version": 140_011}, Level.FIX, "14"),
            ({"oldest_transaction_age": 600_000_000}, Level.WARNING, "600 million"),
            ({"oldest_transaction_age": 1_500_000_000}, Level.FIX, "1,500 million"),
            ({"longest_transaction_seconds": 7_200.0}, Level.WARNING, "2.0 hours"),
            ({"prepared_transactions": 2}, Level.WARNING, "2 prepared"),
            ({"settings": {**WELL.settings, "autovacuum": "off"}}, Level.FIX, "autovacuum is off"),
        ],
    )
    def test_what_is_wrong_is_found(self, wrong: dict[str, Any], level: Level, words: str) -> None:
        def looked(server: ServerRow) -> list[Finding]:
            findings = [postgres.check_version(server), *postgres.check_durability(server)]
            return [*findings, *postgres.check_vacuum(server)]

        assert set(levels(looked(WELL))) == {Level.OK}
        only([each for each in looked(replace(WELL, **wrong)) if each.level is not Level.OK], level, words)

    def test_slots_that_nobody_uses_are_named_once_they_keep_much(self) -> None:
        slots = [SlotRow("few", 1), SlotRow("some", 2 * 2**30), SlotRow("all", 40 * 2**30)]
        assert levels(list(postgres.check_slots(slots))) == [Level.WARNING, Level.FIX]

    async def test_a_server_that_may_lose_what_is_acknowledged_is_named(self, database_of_test: str) -> None:
        """That of tests keeps nothing through a crash."""
        connection = await asyncpg.connect(database_of_test)
        name = await connection.fetchval("select current_database()")
        await connection.execute(f"alter database {name} set synchronous_commit = off")
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
        await connection.close()
        said = await found(database_of_test)
        assert levels(said["durability"]) == [Level.FIX] * 3
        assert [each.found.split()[0] for each in said["durability"]] == [
            "fsync",
            "full_page_writes",
            "synchronous_commit",
        ]
        only(said["writes"], Level.FIX, "default_transaction_read_only")

    async def test_too_few_connections_are_said_with_those_of_other_nodes(
        self, plain_core: Core, settings: Settings
    ) -> None:
        assert levels((await found(plain_core.database_url, settings))["database connections"]) == [Level.OK]
        await plain_core.services.pulse.beat()
        connection = await plain_core.connect()
        for _ in range(8):
            await connection.execute("insert into node select gen_random_uuid(), 'a', now(), now(), 'b', 0 from core")
        only((await found(plain_core.database_url, settings))["database connections"], Level.FIX, "9 nodes")

    async def test_a_pooler_that_swallows_what_is_announced_is_found(
        self, database_of_test: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert levels((await found(database_of_test))["LISTEN"]) == [Level.OK]
        monkeypatch.setattr(examination, "_HEAR_SECONDS", 0.2)
        async with swallowing(database_of_test) as url:
            only((await found(url))["LISTEN"], Level.FIX, "pooler")

    @pytest.mark.parametrize(
        ("seconds", "level", "words"),
        [(5, Level.WARNING, "behind"), (-5, Level.WARNING, "ahead of"), (3_600, Level.FIX, "3,600 s behind")],
    )
    async def test_clocks_that_differ_are_found(
        self, database_of_test: str, monkeypatch: pytest.MonkeyPatch, seconds: int, level: Level, words: str
    ) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(seconds=seconds)

        assert levels((await found(database_of_test))["clocks"]) == [Level.OK]
        monkeypatch.setattr(examination, "datetime", Clock)
        only((await found(database_of_test))["clocks"], level, words)

    @pytest.mark.parametrize(("free_gib", "level"), [(100, Level.OK), (10, Level.WARNING), (1, Level.FIX)])
    def test_little_space_is_said(self, monkeypatch: pytest.MonkeyPatch, free_gib: int, level: Level) -> None:
        usage = SimpleNamespace(total=200 * 2**30, free=free_gib * 2**30)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert machine.check_disk("/").level is level

    def test_a_disk_elsewhere_is_not_guessed(self) -> None:
        assert machine.check_disk("").level is Level.UNKNOWN
        assert machine.check_disk("/not/on/this/machine").level is Level.UNKNOWN


class TestTheCore:
    async def test_a_database_without_a_core_is_named_and_left_without(self, postgres_url: str) -> None:
        only((await found(postgres_url))["schema"], Level.FIX, "no Core")
        connection = await asyncpg.connect(postgres_url)
        assert await connection.fetchval("select to_regclass('core')") is None
        await connection.close()

    @pytest.mark.parametrize(("version", "todo"), [(0, "homeroom migrate"), (99, "newer homeroom")])
    async def test_a_schema_of_another_version_is_found(self, database_of_test: str, version: int, todo: str) -> None:
        connection = await asyncpg.connect(database_of_test)
        await connection.execute("update core set schema_version = $1", version)
        await connection.close()
        (finding,) = (await found(database_of_test))["schema"]
        assert (finding.level, todo in finding.todo) == (Level.FIX, True)

    async def test_a_restore_that_did_not_end_is_found(self, database_of_test: str) -> None:
        connection = await asyncpg.connect(database_of_test)
        await connection.execute("create schema homeroom_restoring")
        await connection.close()
        only((await found(database_of_test))["schema"], Level.FIX, "did not end")

    async def test_records_of_types_that_the_catalogue_lacks_are_found(self, plain_core: Core) -> None:
        await accepted(await plain_core.client("S.0982"), "Note", note("a"))
        well = replace(Settings(), catalogue=plain_core.services.settings.catalogue)
        assert levels((await found(plain_core.database_url, well))["catalogue"]) == [Level.OK]
        said = await found(plain_core.database_url)
        assert said["catalogue"][0].found.startswith("alberta lacks types of which there are records: Note")
        assert levels(said["catalogue"]) == [Level.FIX]

    async def test_triggers_that_nobody_works_off_are_found(self, database_of_test: str) -> None:
        connection = await asyncpg.connect(database_of_test)
        await connection.execute(
            "insert into status_trigger (record_type, id, changed, due_at) values (1, 'a', true, now())"
        )
        assert levels((await found(database_of_test))["triggers"]) == [Level.OK]
        await connection.execute("update status_trigger set due_at = now() - interval '5 minutes'")
        await connection.close()
        only((await found(database_of_test))["triggers"], Level.WARNING, "1 statuses", "for 30")

    async def test_an_access_day_on_hold_is_found(self, database_of_test: str) -> None:
        connection = await asyncpg.connect(database_of_test)
        await connection.execute("update core set access_day = current_date - 3")
        only((await found(database_of_test))["access day"], Level.WARNING)
        await connection.execute(
            """
            insert into association
            select 's', number, 'granted', '', current_date - 9, current_date - 2, true from organization limit 1
            """
        )
        await connection.close()
        strict = Settings(access_lapse_held_min=0, access_lapse_share_max=0.0)
        only((await found(database_of_test, strict))["access day"], Level.FIX, "1 of 1 associations")

    async def test_nodes_that_died_or_tell_too_late_are_named(self, plain_core: Core) -> None:
        await plain_core.services.pulse.beat()
        assert levels((await found(plain_core.database_url))["nodes"]) == [Level.OK]
        connection = await plain_core.connect()
        await connection.execute(
            """
            insert into node values
            (gen_random_uuid(), 'dead', now(), now() - interval '1 hour', 'primary', 0, null),
            (gen_random_uuid(), 'slow', now(), now(), 'primary', 7, now() - interval '1 minute')
            """
        )
        said = (await found(plain_core.database_url))["nodes"]
        assert levels(said) == [Level.OK, Level.WARNING, Level.WARNING]
        assert [each.found.split()[0] for each in said[1:]] == ["slow", "dead"]

    async def test_an_old_backup_and_none_are_said(self, database_of_test: str) -> None:
        only((await found(database_of_test))["backups"], Level.WARNING, "none")
        connection = await asyncpg.connect(database_of_test)
        noted = "insert into audit_event (happened_at, actor_kind, actor, action, detail) values ($1, $2, $2, $3, $4)"
        for days, level in ((9, Level.WARNING), (1, Level.OK)):
            at = datetime.now(UTC) - timedelta(days=days)
            await connection.execute(noted, at, "operator", "did", f"made the backup {days}")
            assert levels((await found(database_of_test))["backups"]) == [level]
        await connection.close()


class TestServers:
    async def test_a_standby_that_follows_is_well_and_one_that_stands_still_is_not(self, province: Cluster) -> None:
        reading = Settings(read_database_url=province.standby.url, standby_behind_seconds_max=10)
        said = await found(province.url, reading)
        assert levels(said["standbys"]) == [Level.OK]
        assert f"the primary is 127.0.0.1:{province.primary.port}, standby" in said["database"][0].found
        await pause_replay(province.standby)
        province.primary.sql("create table grown as select generate_series(1, 10)")
        late = await found(province.url, replace(reading, standby_behind_seconds_max=0.2))
        resume_replay(province.standby)
        only(late["standbys"], Level.WARNING, "bytes of WAL behind")

    async def test_what_is_no_standby_of_this_primary_is_named(self, province: Cluster, folder: Path) -> None:
        async def standbys(url: str) -> list[Finding]:
            return (await found(province.url, Settings(read_database_url=url)))["standbys"]

        only(await standbys(province.primary.url), Level.FIX, "is a primary itself")
        only(await standbys(f"postgresql://127.0.0.1:{free_port()}/x"), Level.WARNING, "does not answer")
        (folder / "others").mkdir(mode=0o755)
        with running_cluster(folder / "others") as others:
            only(await standbys(others.standby.url), Level.FIX, "another primary")

    async def test_without_a_primary_and_with_two_it_looks_no_further(self, province: Cluster) -> None:
        alone = await found(province.standby.url)
        assert list(alone) == ["database"]
        only(alone["database"], Level.FIX, "no primary")
        province.standby.promote()
        both = await found(province.url)
        only(both["database"], Level.FIX, "are primaries, each for itself")
        assert province.primary.sql("select fenced is null from core") == "t"

    async def test_a_fenced_server_is_named_and_a_dead_one_too(self, province: Cluster) -> None:
        province.primary.sql("update core set fenced = 'db2 took over'")
        only((await found(province.primary.url))["database"][1:], Level.FIX, "db2 took over")
        province.primary.stop("immediate")
        said = (await found(province.url))["database"]
        assert levels(said) == [Level.FIX, Level.FIX]
        assert "does not answer" in said[0].found


class TestARunningNode:
    async def test_it_says_how_it_is(self, plain_core: Core) -> None:
        async with plain_core.served():
            ready, files = await node.look_at(plain_core.base_url)
            assert (ready.level, files.looked_at) == (Level.OK, "open files")
            plain_core.services.troubles.met(asyncpg.DiskFullError())
            trouble, _ = await node.look_at(plain_core.base_url)
            assert (trouble.level, "make room" in trouble.todo) == (Level.WARNING, True)
            plain_core.services.waiters.draining = True
            (draining, *_) = await node.look_at(plain_core.base_url)
            plain_core.services.waiters.draining = False
        only([draining], Level.FIX, "draining")

    async def test_connections_refused_as_one_client_s_hint_at_a_proxy(self, plain_core: Core) -> None:
        plain_core.services.tally.refusals["connections_per_address_max"] += 3
        async with plain_core.served():
            findings = await node.look_at(plain_core.base_url)
        only([each for each in findings if each.looked_at == "proxies"], Level.WARNING, "3 connections")

    async def test_what_does_not_answer_as_a_node_is_said(self) -> None:
        only(await node.look_at(f"http://127.0.0.1:{free_port()}"), Level.FIX, "does not answer")

    async def test_a_certificate_that_clients_would_refuse_is_said(
        self, database_of_test: str, settings: Settings, any_catalogue: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "node.pem"
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
        secure = replace(settings, catalogue=any_catalogue, tls_certificate=str(file))
        async with open_core(database_of_test, secure) as core, core.served():
            findings = await node.look_at(core.base_url)
        only(findings, Level.FIX, "does not answer")
        assert "clients will refuse this certificate" in findings[0].todo
