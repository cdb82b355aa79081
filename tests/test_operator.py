"""What an operator writes and types: organisations, clients, catalogues, settings, the command line."""

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from homeroom import HomeroomError
from homeroom_server import operations
from homeroom_server.auth import Role
from homeroom_server.catalogue import CatalogueError, load_catalogue
from homeroom_server.operations import load_organizations
from homeroom_server.organizations import OrganizationsError
from homeroom_server.settings import SettingsError, read_settings
from tests.access import settled
from tests.conftest import PROVINCE, Core
from tests.processes import Node, homeroom, running_node
from tests.records import accepted, available, note, pairs

MEMBERS = 'school_year = "none"\nid_format = "code"\naudience = "owner"\n'


class TestOrganizations:
    async def test_loading_again_updates(self, plain_core: Core) -> None:
        connection = await plain_core.connect()
        changed = PROVINCE.replace("Elk Valley School", "Elk Valley Academy") + "S.0991,New School,A.3030\n"
        assert await load_organizations(connection, changed) == 7
        name = await connection.fetchval("select name from organization where code = 'S.0983'")
        assert name == "Elk Valley Academy"
        await accepted(await plain_core.client("S.0991"), "Note", note("a"))

    @pytest.mark.parametrize(
        ("rows", "faults"),
        [
            (["S.1,One,A.9"], ["line 2: the parent A.9 is not known"]),
            (["O.7,Other,", "O.7,Again,"], ["line 3: O.7 stands already on line 2"]),
            (["X.1,One,", "S.,Two,", "O.x,Three,"], ["line 2: 'X.1'", "line 3: 'S.'", "line 4: 'O.x'"]),
            (["S.1,,"], ["line 2: the name"]),
            (["S.1,One"], ["line 2: has 2 columns instead of 3"]),
            (["A.1,One,S.0982"], ["line 2: A.1 cannot belong to S.0982"]),
        ],
    )
    async def test_a_wrong_file_names_every_line_and_loads_nothing(
        self, plain_core: Core, rows: Sequence[str], faults: Sequence[str]
    ) -> None:
        connection = await plain_core.connect()
        text = "\n".join(["code,name,parent", *rows, "S.0999,Good School,A.3020"])
        with pytest.raises(OrganizationsError) as failure:
            await load_organizations(connection, text)
        assert all(fault in str(failure.value) for fault in faults), str(failure.value)
        assert await connection.fetchval("select count(*) from organization") == 6

    async def test_a_school_with_records_may_change_its_authority(self, plain_core: Core) -> None:
        await accepted(await plain_core.client("S.0982"), "Note", note("a"))
        moved = PROVINCE.replace("Maple Ridge School,A.3020", "Maple Ridge School,A.3030")
        await load_organizations(await plain_core.connect(), moved)
        await plain_core.services.directory.refresh()
        async with plain_core.client_with(await plain_core.key("A.3030"), "S.0982") as client:
            await accepted(client, "Note", note("b"))
        await settled(plain_core.services)
        prairie = await plain_core.client("A.3030")
        assert {record_id for record_id, _ in pairs(await available(prairie, "Note"))} == {"a", "b"}


class TestCatalogue:
    def test_alberta_has_27_types(self) -> None:
        catalogue = load_catalogue("alberta")
        assert len(catalogue.types) == 27
        with_schema = {name for name, definition in catalogue.types.items() if definition.schema}
        assert with_schema == {
            "Student",
            "StudentSchoolEnrolment",
            "Section",
            "CourseEnrolment",
            "EvaluatedMark",
            "School",
            "SchoolAuthority",
            "Course",
        }

    def test_roster_ships_too(self) -> None:
        assert {"Staff", "Contact", "StaffSection"} <= set(load_catalogue("roster").types)

    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("", ["types: a catalogue names at least one type"]),
            ("x = 1", ["x: unknown at the top"]),
            (f'[types."a b"]\n{MEMBERS}', ["types.a b: a name is"]),
            (f"[types.A]\n{MEMBERS}colour = 1", ["types.A.colour: unknown"]),
            (
                '[types.A]\nschool_year = "maybe"',
                ["types.A.school_year: 'maybe'", "types.A.id_format", "types.A.audience"],
            ),
            ('[types.A]\nschool_year="none"\nid_format="code"\naudience="student"', ["types.A.student: needed"]),
            (f'[types.A]\n{MEMBERS}schema = "none.json"', ["types.A.schema: none.json"]),
            (f'[types.A]\n{MEMBERS}status = "no.such.module"', ["types.A.status: no.such.module"]),
            (f"[types.A]\n{MEMBERS}status = 3", ["types.A.status: takes true"]),
            (f"[types.A]\n{MEMBERS}status = true\n[types.AStatus]\n{MEMBERS}", ["types.AStatus: there are two"]),
            (f"open_school_years = [2027, 2021]\n[types.A]\n{MEMBERS}", ["open_school_years"]),
            ("[types", ["cannot be read"]),
        ],
    )
    def test_every_fault_is_listed(self, tmp_path: Path, text: str, faults: Sequence[str]) -> None:
        path = tmp_path / "catalogue.toml"
        path.write_text(text)
        with pytest.raises(CatalogueError) as failure:
            load_catalogue(str(path))
        assert all(fault in str(failure.value) for fault in faults), str(failure.value)

    async def test_clients_read_it(self, core: Core) -> None:
        answer = await (await core.client("S.0982")).notification_types()
        by_name = {entry["name"]: entry for entry in answer.notification_types}
        assert by_name["CourseEnrolmentStatus"]["source"] == "CourseEnrolment"
        assert by_name["Student"]["schema"]["title"] == "Student"


class TestSettings:
    def test_flags_go_over_environment_over_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "homeroom.toml"
        file.write_text('host = "file"\nport = 1\ncatalogue = "file"')
        monkeypatch.setenv("HOMEROOM_PORT", "2")
        monkeypatch.setenv("HOMEROOM_CATALOGUE", "environment")
        found = read_settings({"catalogue": "flag", "data_dir": None}, file)
        assert (found.host, found.port, found.catalogue) == ("file", 2, "flag")

    def test_every_fault_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "homeroom.toml"
        file.write_text("colour = 1")
        monkeypatch.setenv("HOMEROOM_BODY_BYTES_MAX", "many")
        monkeypatch.setenv("HOMEROOM_TIME_ZONE", "Middle/Earth")
        with pytest.raises(SettingsError) as failure:
            read_settings(
                {
                    "port": -1,
                    "retention_days": 0,
                    "requests_at_once_max": 0,
                    "tls_certificate": str(file),
                    "workers": 65,
                },
                file,
            )
        names = (
            "colour",
            "body_bytes_max",
            "Middle/Earth",
            "port",
            "retention_days",
            "requests_at",
            "tls_certificate",
            "workers",
        )
        assert all(name in str(failure.value) for name in names)


class TestCommands:
    async def test_clients_are_managed_while_a_node_runs(self, node_files: Node) -> None:
        where = ("--data-dir", node_files.data_dir)
        async with running_node(node_files) as node:
            made = homeroom("client", "create", "maple", "--organization", "S.0982", *where)
            key = made.stdout.strip()
            async with httpx.AsyncClient(base_url=node.url) as http:

                async def hello(key: str) -> tuple[int, int | None]:
                    answer = await http.get("/v1/hello", headers={"Authorization": f"Bearer {key}"})
                    return answer.status_code, answer.json().get("code")

                assert await hello(key) == (200, None)
                assert (await http.get("/readyz")).status_code == 200
                rotated = json.loads(homeroom("client", "rotate", "maple", *where, "--json").stdout)["key"]
                assert await hello(key) == (401, 1002)
                assert await hello(rotated) == (200, None)
                homeroom("client", "disable", "maple", *where)
                assert await hello(rotated) == (401, 1003)
                homeroom("client", "enable", "maple", *where)
                assert await hello(rotated) == (200, None)
        listed = json.loads(homeroom("client", "list", *where, "--json").stdout)
        assert [(c["name"], c["organizations"], c["disabled"]) for c in listed] == [
            ("maple", ["S.0982"], False),
            ("tests", ["O.1"], False),
        ]
        assert "maple" in homeroom("client", "list", *where).stdout
        assert json.loads(homeroom("status", *where, "--json").stdout)["organizations"] == 6

    def test_what_is_refused_is_said_in_a_line(self, node_files: Node, tmp_path: Path) -> None:
        where = ("--data-dir", node_files.data_dir)
        wrong = tmp_path / "wrong.csv"
        wrong.write_text("code,name,parent\nS.1,One,A.9\n")
        for arguments, said in (
            (("load-organizations", str(wrong), *where), "line 2: the parent A.9"),
            (("load-organizations", str(tmp_path / "none.csv"), *where), "none.csv"),
            (("client", "create", "x", "--organization", "S.9", *where), "no such organisation: S.9"),
            (("client", "create", "tests", "--organization", "O.1", *where), "there is a client named 'tests'"),
            (("client", "disable", "nobody", *where), "there is no client named 'nobody'"),
            (("serve", "--catalogue", "none.toml", *where), "the catalogue none.toml cannot be read"),
            (("status", "--database-url", "postgresql://127.0.0.1:1/x"), "the database cannot be reached"),
        ):
            done = homeroom(*arguments, check=False)
            assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
            assert said in done.stderr.replace("\n", " ")


async def test_a_client_of_several_organizations_says_for_whom_it_calls(plain_core: Core) -> None:
    async with plain_core.services.pool.acquire() as connection:
        key = await operations.create_client(connection, "two schools", ["S.0982", "S.0990"], Role.WRITER)
    async with plain_core.client_with(key) as client:
        with pytest.raises(HomeroomError) as failure:
            await client.hello()
        assert failure.value.code == 1008
    async with plain_core.client_with(key, "S.0990") as client:
        assert (await client.hello()).organization == "S.0990"


def test_an_embedded_database_needs_nothing_that_other_accounts_may_own(folder: Path) -> None:
    (folder / "temporary" / ".lockfile").mkdir(parents=True)  # cannot be opened, as a file of somebody else's cannot
    shared = str(folder / "temporary")
    (folder / "o.csv").write_text(PROVINCE)
    told = homeroom("load-organizations", str(folder / "o.csv"), "--data-dir", str(folder / "data"), TMPDIR=shared)
    assert "organisations loaded" in told.stdout
