"""A key may end, and may be for less: expiry, overlap, networks, certificates; and who guesses has to wait."""

import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
import pytest
import trustme

from homeroom import HomeroomError
from homeroom_server import auth, bounds, operations
from homeroom_server import guessing as guessing_room
from homeroom_server.auth import Role
from homeroom_server.guessing import KEY_FAILURES_MAX, Guesses
from homeroom_server.settings import Settings, SettingsError, read_settings
from homeroom_server.store import registry
from tests.conftest import Core, open_core
from tests.haproxy import HAPROXY, running_haproxy
from tests.processes import Node, homeroom
from tests.records import accepted, available, note
from tests.test_is_data_available import until_held

HERE, ELSEWHERE = "198.51.100.7", "203.0.113.9"
PROXY = "10.9.9.9"
HEADER = "X-Client-Cert-Sha256"


async def hello(core: Core, key: str, address: str = HERE, **headers: str) -> tuple[int, int | None, str]:
    """(HTTP status, code, detail) of the cheapest call, from an address."""
    transport = httpx.ASGITransport(core.app, client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
        answer = await http.get("/v1/hello", headers={"Authorization": f"Bearer {key}", **headers})
    problem = answer.json() if answer.status_code >= 400 else {}
    return answer.status_code, problem.get("code"), problem.get("detail", "")


@pytest.fixture
async def connection(plain_core: Core) -> asyncpg.Connection:
    return await plain_core.connect()


@pytest.fixture
async def key(connection: asyncpg.Connection) -> str:
    """Of a client named maple."""
    return await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the node's clock on."""
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    def move(by: timedelta) -> None:
        nonlocal ahead
        ahead += by

    monkeypatch.setattr(auth, "datetime", Clock)
    return move


class TestKeys:
    async def test_an_expired_key_is_refused_and_says_so(
        self, plain_core: Core, connection: asyncpg.Connection, clock: Callable[[timedelta], None]
    ) -> None:
        key = await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER, expires_days=10)
        day = (datetime.now(UTC) + timedelta(days=10)).date()
        clock(timedelta(days=9))
        assert await hello(plain_core, key) == (200, None, "")
        clock(timedelta(days=1))
        assert await hello(plain_core, key) == (401, 1002, f"this API key expired on {day}: rotate it")

    async def test_in_an_overlap_both_keys_count_and_then_the_new_one(
        self,
        plain_core: Core,
        connection: asyncpg.Connection,
        key: str,
        clock: Callable[[timedelta], None],
    ) -> None:
        rotated = await operations.rotate_key(connection, "maple", overlap_hours=48)
        assert [(await hello(plain_core, each))[0] for each in (key, rotated)] == [200, 200]
        clock(timedelta(hours=48))
        assert [(await hello(plain_core, each))[1] for each in (key, rotated)] == [1002, None]

    async def test_an_overlap_prolongs_no_key(self, connection: asyncpg.Connection) -> None:
        await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER, expires_days=1)
        await operations.rotate_key(connection, "maple", overlap_hours=48)
        (old, _) = (await operations.show_client(connection, "maple"))["keys"]
        assert datetime.fromisoformat(old["expiresAt"]) < datetime.now(UTC) + timedelta(hours=25)

    async def test_a_rotation_without_overlap_ends_all_before_it(
        self, plain_core: Core, connection: asyncpg.Connection, key: str
    ) -> None:
        second = await operations.rotate_key(connection, "maple", overlap_hours=1)
        third = await operations.rotate_key(connection, "maple")
        await plain_core.services.directory.refresh()
        assert [(await hello(plain_core, each))[1] for each in (key, second, third)] == [1002, 1002, None]

    @pytest.mark.parametrize("woken", [True, False])
    async def test_a_held_request_is_refused_when_its_key_has_expired_at_its_wake_or_end(
        self, plain_core: Core, connection: asyncpg.Connection, clock: Callable[[timedelta], None], woken: bool
    ) -> None:
        writer = await plain_core.client("S.0982")
        key = await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER, expires_days=1)
        async with held(plain_core, key) as codes:
            clock(timedelta(days=1))
            if woken:
                await accepted(writer, "Note", note("a"))
            else:
                await plain_core.services.waiters.drain(0)
        assert codes == [1002]

    async def test_when_a_key_was_last_used_is_written_without_its_call_waiting(
        self, plain_core: Core, connection: asyncpg.Connection, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uses, written = plain_core.services.key_uses, registry.note_keys_used

        async def away(*_: object) -> None:
            raise OSError

        async def last_used() -> str | None:
            (found,) = (await operations.show_client(connection, "maple"))["keys"]
            used: str | None = found["lastUsedAt"]
            return used

        await hello(plain_core, "hr_unknown")
        await hello(plain_core, key, Organization="S.0990")
        await uses.write()
        assert await last_used() is None, "who is refused has not used it"
        assert (await hello(plain_core, key))[0] == 200
        assert await last_used() is None
        monkeypatch.setattr(registry, "note_keys_used", away)
        await uses.write()
        monkeypatch.setattr(registry, "note_keys_used", written)
        await uses.write()
        assert await last_used() is not None, "bad weather loses nothing"


@asynccontextmanager
async def held(core: Core, key: str) -> AsyncIterator[list[int]]:
    """A request that is held within the block and refused at its end; its code."""
    codes: list[int] = []

    async def ask() -> None:
        async with core.client_with(key) as client:
            with pytest.raises(HomeroomError) as failure:
                await available(client, "Note", wait_seconds=300)
        codes.append(failure.value.code)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until_held(core)
            yield codes


class TestNetworks:
    @pytest.mark.parametrize(
        ("networks", "address", "allowed"),
        [
            (["198.51.100.0/24"], HERE, True),
            (["198.51.100.0/24"], ELSEWHERE, False),
            (["2001:db8::/32", ELSEWHERE], "2001:db8::1", True),
            (["198.51.100.0/24"], f"::ffff:{HERE}", True),
            (["0.0.0.0/0", "::/0"], "nobody can tell", False),
            ([], ELSEWHERE, True),
        ],
    )
    async def test_a_client_calls_from_its_networks_alone(
        self,
        plain_core: Core,
        connection: asyncpg.Connection,
        key: str,
        networks: list[str],
        address: str,
        allowed: bool,
    ) -> None:
        await bounds.set_networks(connection, "maple", networks)
        await plain_core.services.directory.refresh()
        assert (await hello(plain_core, key, address))[:2] == ((200, None) if allowed else (403, 1007))

    async def test_behind_a_proxy_of_ours_the_callers_address_counts(
        self, plain_core: Core, connection: asyncpg.Connection, key: str
    ) -> None:
        await bounds.set_networks(connection, "maple", ["198.51.100.0/24"])
        await plain_core.services.directory.refresh()
        said = {"X-Forwarded-For": HERE}
        assert (await hello(plain_core, key, "127.0.0.1", **said))[0] == 200
        assert (await hello(plain_core, key, ELSEWHERE, **said))[1] == 1007

    async def test_a_held_request_of_a_client_bound_anew_is_told_to_ask_again(
        self, plain_core: Core, connection: asyncpg.Connection, key: str
    ) -> None:
        async with held(plain_core, key) as codes:
            await bounds.set_networks(connection, "maple", ["10.0.0.0/8"])
            await plain_core.services.directory.refresh()
            await plain_core.services.waiters.drain(0)
        assert codes == [2001], "from where it calls was not noted"

    async def test_a_held_request_is_refused_when_its_network_is_taken_away(
        self, plain_core: Core, connection: asyncpg.Connection, key: str
    ) -> None:
        await bounds.set_networks(connection, "maple", ["127.0.0.0/8"])
        await plain_core.services.directory.refresh()
        async with held(plain_core, key) as codes:
            await bounds.set_networks(connection, "maple", ["10.0.0.0/8"])
            await plain_core.services.directory.refresh()
            await accepted(await plain_core.client("S.0982"), "Note", note("a"))
        assert codes == [1007]


class TestCertificates:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, proxies="10.0.0.0/8", client_certificate_header=HEADER)

    async def test_a_proxy_of_ours_says_which_certificate_was_shown(
        self, plain_core: Core, connection: asyncpg.Connection, key: str
    ) -> None:
        mine, another = hashlib.sha256(b"mine"), hashlib.sha256(b"another")
        await bounds.add_certificate(connection, "maple", mine.digest(), "until 2027")
        await plain_core.services.directory.refresh()

        async def told(address: str, *said: str) -> int | None:
            transport = httpx.ASGITransport(plain_core.app, client=(address, 4711))
            headers = [("Authorization", f"Bearer {key}"), *((HEADER, each) for each in said)]
            async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
                answer = await http.get("/v1/hello", headers=headers)
            code: int | None = answer.json().get("code")
            return code

        assert await told(PROXY, mine.hexdigest().upper()) is None
        assert await told(PROXY, another.hexdigest()) == 1007
        assert await told(PROXY, mine.hexdigest()[1:]) == 1007
        assert await told(PROXY, "") == 1007
        assert await told(PROXY) == 1007
        assert await told(PROXY, mine.hexdigest(), another.hexdigest()) == 1007, "a proxy says it once"
        assert await told(ELSEWHERE, mine.hexdigest()) == 1007, "anybody can say that"

    async def test_a_node_that_serves_tls_asks_for_one_and_verifies_it(
        self, database_of_test: str, settings: Settings, tmp_path: Path
    ) -> None:
        authority, strangers = trustme.CA(), trustme.CA()
        certificate, signers = tmp_path / "node.pem", tmp_path / "authority.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        authority.cert_pem.write_to_path(signers)
        over_tls = replace(settings, tls_certificate=str(certificate), tls_client_authority=str(signers))
        mine, another, strange = (
            (tmp_path / "mine.pem", authority),
            (tmp_path / "another.pem", authority),
            (tmp_path / "strange.pem", strangers),
        )
        for path, signer in (mine, another, strange):
            signer.issue_cert("maple.example").private_key_and_cert_chain_pem.write_to_path(path)
        async with open_core(database_of_test, over_tls) as core, core.served():
            connection = await core.connect()
            key = await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER)
            await bounds.add_certificate(connection, "maple", bounds.fingerprint_of(mine[0].read_text()), "")
            await core.services.directory.refresh()

            async def told(shown: Path | None) -> int | None:
                trust = ssl.create_default_context()
                authority.configure_trust(trust)
                if shown is not None:
                    trust.load_cert_chain(shown)
                async with httpx.AsyncClient(base_url=core.base_url, verify=trust) as http:
                    answer = await http.get("/v1/hello", headers={"Authorization": f"Bearer {key}", HEADER: "0" * 64})
                code: int | None = answer.json().get("code")
                return code

            with anyio.fail_after(60):
                assert await told(mine[0]) is None
                assert await told(another[0]) == 1007
                assert await told(None) == 1007
                with pytest.raises(httpx.TransportError):
                    await told(strange[0])

    @pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")
    async def test_haproxy_as_it_ships_tells_the_certificate_and_address_and_lets_no_caller_do_so(
        self, database_of_test: str, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority, signers, mine = trustme.CA(), folder / "authority.pem", folder / "mine.pem"
        authority.cert_pem.write_to_path(signers)
        authority.issue_cert("maple.example").private_key_and_cert_chain_pem.write_to_path(mine)
        monkeypatch.setenv("PROXY_CLIENT_AUTHORITY", str(signers))
        async with (
            open_core(database_of_test, replace(settings, proxies="127.0.0.0/8")) as core,
            core.served(),
            running_haproxy(folder, [core.base_url.removeprefix("http://")]) as proxy,
        ):
            connection = await core.connect()
            key = await operations.create_client(connection, "maple", ["S.0982"], Role.WRITER)
            digest = bounds.fingerprint_of(mine.read_text())

            async def told() -> int | None:
                lies = {HEADER: digest.hex(), "X-Forwarded-For": HERE}
                async with httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust) as http:
                    answer = await http.get("/v1/hello", headers={"Authorization": f"Bearer {key}", **lies})
                code: int | None = answer.json().get("code")
                return code

            await proxy.until("UP", "DOWN", "DOWN")
            await bounds.set_networks(connection, "maple", [f"{HERE}/32"])
            await core.services.directory.refresh()
            assert await told() == 1007, "it calls from here, whatever it says"
            await bounds.set_networks(connection, "maple", ["127.0.0.1"])
            await bounds.add_certificate(connection, "maple", digest, "")
            await core.services.directory.refresh()
            assert await told() == 1007, "it has shown none, whatever it says"
            proxy.trust.load_cert_chain(mine)
            assert await told() is None

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
    async def test_tls_older_than_1_2_is_refused(
        self, database_of_test: str, settings: Settings, tmp_path: Path
    ) -> None:
        authority, certificate = trustme.CA(), tmp_path / "node.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        over_tls = replace(settings, tls_certificate=str(certificate))
        async with open_core(database_of_test, over_tls) as core, core.served() as server:
            assert server.config.ssl is not None
            assert server.config.ssl.minimum_version is ssl.TLSVersion.TLSv1_2
            for version, heard in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
                assert await handshakes(core, authority, version) is heard


async def handshakes(core: Core, authority: trustme.CA, version: ssl.TLSVersion) -> bool:
    """Whether a client that speaks this version alone is heard; it would speak it with the weakest ciphers too."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    trust.set_ciphers("DEFAULT:@SECLEVEL=0")
    trust.minimum_version = trust.maximum_version = version
    port = int(core.base_url.rpartition(":")[2])
    try:
        with anyio.fail_after(20):
            async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=trust, tls_hostname="127.0.0.1"):
                return True
    except (ssl.SSLError, anyio.BrokenResourceError):
        return False


class TestGuessing:
    @pytest.fixture
    def looks(self, plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """When a node has read for the sake of keys that it does not know."""
        found: list[float] = []
        read = registry.read_directory_version

        async def counted(connection: Any) -> int:
            found.append(time.monotonic())
            return await read(connection)

        monkeypatch.setattr(registry, "read_directory_version", counted)
        return found

    async def test_who_guesses_has_to_wait_and_known_keys_of_the_same_address_do_not(
        self,
        plain_core: Core,
        connection: asyncpg.Connection,
        key: str,
        looks: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await plain_core.services.directory.refresh()
        for number in range(KEY_FAILURES_MAX):
            assert (await hello(plain_core, f"hr_{number}"))[:2] == (401, 1001)
        assert len(looks) == KEY_FAILURES_MAX
        assert (await hello(plain_core, "hr_more"))[:2] == (429, 2004)
        assert len(looks) == KEY_FAILURES_MAX, "nothing was read"
        assert (await hello(plain_core, key))[0] == 200
        assert (await hello(plain_core, "hr_more", ELSEWHERE))[:2] == (401, 1001)
        monkeypatch.setattr(guessing_room, "_now", lambda: time.monotonic() + 60)
        assert (await hello(plain_core, "hr_more"))[:2] == (401, 1001), "the minute is over"

    async def test_however_many_unknown_keys_come_a_node_reads_seldom(
        self, plain_core: Core, looks: list[float]
    ) -> None:
        async def guess(address: str) -> None:
            assert (await hello(plain_core, "hr_unknown", address))[1] == 1001

        for wave in range(5):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(guess, f"10.1.{wave}.{number}")
        assert 5 <= len(looks) <= 15
        assert min(after - before for before, after in pairwise(looks)) >= 0.045

    async def test_a_key_that_was_made_elsewhere_counts_at_once(
        self, plain_core: Core, connection: asyncpg.Connection
    ) -> None:
        for number in range(3):
            made = await operations.create_client(connection, f"new {number}", ["S.0982"], Role.READER)
            assert (await hello(plain_core, made))[0] == 200

    def test_what_is_remembered_of_guesses_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(guessing_room, "_now", lambda: now)
        monkeypatch.setattr(guessing_room, "_ADDRESSES_MAX", 100)
        guesses = Guesses()
        for number in range(100 + KEY_FAILURES_MAX):
            guesses.note(f"10.0.{number // 250}.{number % 250}", "")
        assert len(guesses._failures) == 101
        with pytest.raises(HomeroomError):
            guesses.check("10.99.99.99")
        guesses.check("10.0.0.1")
        now = 60.0
        guesses.check("10.99.99.99")
        assert not guesses._failures

    def test_an_ipv6_caller_is_its_network(self) -> None:
        guesses = Guesses()
        for number in range(KEY_FAILURES_MAX):
            guesses.note(f"2001:db8::{number + 1}", "")
        with pytest.raises(HomeroomError):
            guesses.check("2001:db8::ffff")
        guesses.check("2001:db8:0:1::1")


class TestCommands:
    def test_an_operator_binds_a_client_and_sees_what_it_is_bound_to(self, node_files: Node, tmp_path: Path) -> None:
        where, pem = ("--data-dir", node_files.data_dir), tmp_path / "maple.pem"
        certificate = trustme.CA().issue_cert("maple.example")
        certificate.private_key_and_cert_chain_pem.write_to_path(pem)
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())).hexdigest()
        homeroom("client", "rotate", "tests", "--overlap-hours", "24", "--expires-days", "20", *where)
        said = homeroom("client", "networks", "tests", "10.0.0.0/8", "2001:db8::/32", *where).stdout
        assert "tests may call from 10.0.0.0/8, 2001:db8::/32" in said
        homeroom("client", "certificate", "tests", "add", ":".join(["AB"] * 32), *where)
        said = homeroom("client", "certificate", "tests", "add", str(pem), "--label", "of 2026", *where).stdout
        assert f"{digest} of 2026" in said
        homeroom("client", "certificate", "tests", "remove", "ab" * 32, *where)
        (listed,) = json.loads(homeroom("client", "list", "--json", *where).stdout)
        assert listed["networks"] == ["10.0.0.0/8", "2001:db8::/32"]
        assert listed["certificates"] == [{"fingerprint": digest, "label": "of 2026"}]
        assert [(key["expiresAt"] is None, key["disabled"], key["lastUsedAt"]) for key in listed["keys"]] == [
            (False, False, None)
        ] * 2
        shown = homeroom("client", "list", *where).stdout
        assert all(words in shown for words in ("expires 20", "never used", "10.0.0.0/8", "of 2026")), shown
        assert homeroom("status", *where).stdout.count("a key of tests expires") == 2
        assert "from everywhere" in homeroom("client", "networks", "tests", "--any", *where).stdout

    def test_what_is_refused_names_every_fault(self, node_files: Node, tmp_path: Path) -> None:
        where, empty = ("--data-dir", node_files.data_dir), tmp_path / "empty.pem"
        empty.write_text("nothing")
        known = ("client", "certificate", "tests")
        homeroom(*known, "add", "ab" * 32, *where)
        for arguments, said in (
            (("client", "create", "tests", "--organization", "S.9"), ("'tests' already", "no such organisation: S.9")),
            (("client", "networks", "nobody", "10.0.0.1/8", "here"), ("10.0.0.1/8", "'here'", "'nobody'")),
            (("client", "certificate", "nobody", "add", "ab" * 32), ("no client named 'nobody'",)),
            ((*known, "add", "AB" * 32), ("is a certificate of 'tests' already",)),
            ((*known, "add", "abc"), ("neither a SHA-256",)),
            ((*known, "add", str(empty)), ("there is no certificate in this file",)),
            ((*known, "add"), ("name a certificate",)),
            ((*known, "remove", "cd" * 32), ("is no certificate of 'tests'",)),
            ((*known, "remove", "ab" * 32), ("the last one of 'tests'",)),
        ):
            done = homeroom(*arguments, *where, check=False)
            assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
            assert all(words in done.stderr for words in said), done.stderr
        assert "needs no certificate" in homeroom(*known, "remove", "ab" * 32, "--last", *where).stdout

    def test_settings_that_would_believe_nobody_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as failure:
            read_settings(
                {"tls_client_authority": str(tmp_path / "none"), "client_certificate_header": "X Y", "proxies": ""}
            )
        faults = ("the node itself speaks TLS", "no authority can be read", "the name of a header", "no proxies")
        assert all(fault in str(failure.value) for fault in faults), str(failure.value)
