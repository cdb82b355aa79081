"""What a feed keeps to itself: stored encrypted, used, rotated, and found nowhere else."""

import base64
import json
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.scrubbing import Scrubber
from homeroom_merge.sealing import KEY_BYTES, Keyring, Sealed, SealError, keyring_of
from homeroom_merge.store.connection import connect
from tests.merge.test_merge_command import FAILED, HELD, Administrator, administrator, reports

__all__ = ["administrator"]  # a fixture

KEY_VARIABLE = "HOMEROOM_MERGE_SECRETS_KEY"
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


def new_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


async def tables_with(own: asyncpg.Connection, secret: str) -> list[str]:
    """The tables of the state in which its bytes stand somewhere, plain, as bytes or in Base64."""
    names = await own.fetch("select tablename from pg_tables where schemaname = 'homeroom_merge'")
    assert len(names) > 20
    forms = [secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()]
    return [
        name
        for (name,) in names
        if await own.fetchval(
            f"""select count(*) from homeroom_merge."{name}" t
            where exists (select from unnest($1::text[]) as f where strpos(t::text, f) > 0)""",
            forms,
        )
    ]


@pytest.fixture
async def own(database_of_test: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database_of_test)
    yield connection
    await connection.close()


@pytest.fixture
async def keeper(administrator: Administrator) -> tuple[Administrator, str]:
    """Whose hub key is in no environment variable, with a key for secrets instead; and the hub key."""
    await administrator.do("settings", "push", "elk.toml")
    secret = administrator.environment.pop("HOMEROOM_KEY")
    administrator.environment[KEY_VARIABLE] = new_key()
    return administrator, secret


@pytest.mark.timeout(300)
async def test_a_secret_is_stored_used_and_found_nowhere(
    keeper: tuple[Administrator, str], own: asyncpg.Connection
) -> None:
    (admin, secret), do = keeper, keeper[0].do
    assert "secrets set elk hub_key" in await do("plan", "--feed", "elk", exit_code=FAILED)
    said = await do("secrets", "set", "elk", "hub_key", stdin=f"{secret}\n")
    said += await do("secrets", "list") + await do("secrets", "list", "--json")
    said += await do("plan", "--feed", "elk", "--json", exit_code=HELD)
    assert set(reports(await do("plan", "--feed", "elk", "--json", exit_code=HELD)).values()) == {"held"}
    (admin.folder / "exports" / f"Student {secret}.xml").write_text("")
    said += await do("run", "--feed", "elk", exit_code=FAILED)
    listed = json.loads(await do("runs", "--feed", "elk", "--json"))
    run = next(each["run"] for each in listed if each["status"] == "failed")
    said += await do("report", run) + await do("report", run, "--json")
    await do("report", run, "--html", "run.html", "--csv", "run.csv")
    said += (admin.folder / "run.html").read_text() + (admin.folder / "run.csv").read_text()
    assert "Student (a secret).xml" in said
    assert secret not in said
    assert await tables_with(own, secret) == []
    await do("secrets", "forget", "elk", "hub_key")
    assert "no hub_key of elk is stored" in await do("secrets", "forget", "elk", "hub_key", exit_code=FAILED)
    assert "HOMEROOM_KEY is empty" in await do("plan", "--feed", "elk", exit_code=FAILED)


@pytest.mark.timeout(300)
async def test_keys_are_rotated_and_a_wrong_one_is_told(
    keeper: tuple[Administrator, str], own: asyncpg.Connection
) -> None:
    (admin, secret), do, plan = keeper, keeper[0].do, ("plan", "--feed", "elk", "--entity", "SchoolAuthority")
    old, new = admin.environment[KEY_VARIABLE], new_key()
    await do("secrets", "set", "elk", "hub_key", stdin=secret)
    (before,) = await own.fetch("select * from feed_secret")
    admin.environment[KEY_VARIABLE] = new
    for command in (("secrets", "rotate"), plan):
        said = await do(*command, exit_code=FAILED)
        assert f"was encrypted with the key {before['key_id']}, which is not in {KEY_VARIABLE}" in said
    assert await own.fetch("select * from feed_secret") == [before]
    admin.environment[KEY_VARIABLE] = f"{new},{old}"
    await do(*plan, exit_code=HELD)
    assert "1 encrypted with the key" in await do("secrets", "rotate")
    (after,) = await own.fetch("select * from feed_secret")
    assert after["key_id"] != before["key_id"]
    assert (after["set_at"], after["set_by"]) == (before["set_at"], before["set_by"])
    file = admin.folder / "key"
    file.write_text(new)
    file.chmod(0o640)
    del admin.environment[KEY_VARIABLE]
    assert "there is no key for stored secrets" in await do(*plan, exit_code=FAILED)
    admin.environment["HOMEROOM_MERGE_SECRETS_KEY_FILE"] = str(file)
    assert f"chmod 600 {file}" in await do(*plan, exit_code=FAILED)
    file.chmod(0o600)
    await do(*plan, exit_code=HELD)


@pytest.mark.timeout(300)
async def test_a_secret_opens_for_its_own_feed_and_name_alone(
    keeper: tuple[Administrator, str], own: asyncpg.Connection
) -> None:
    (admin, secret), do = keeper, keeper[0].do
    (admin.folder / "yak.toml").write_text((admin.folder / "elk.toml").read_text().replace('"elk"', '"yak"'))
    await do("settings", "push", "yak.toml")
    await do("secrets", "set", "elk", "hub_key", stdin=secret)
    await own.execute("update feed_secret set feed = (select number from feed where name = 'yak')")
    assert "belongs to another feed or name" in await do("plan", "--feed", "yak", exit_code=FAILED)
    assert "belongs to another feed or name" in await do("secrets", "rotate", exit_code=FAILED)
    assert "HOMEROOM_KEY is empty" in await do("plan", "--feed", "elk", exit_code=FAILED)


async def test_what_cannot_be_a_secret_is_refused_and_not_repeated(keeper: tuple[Administrator, str]) -> None:
    (admin, _), do = keeper, keeper[0].do
    for name, given_, told in [
        ("hub_kye", "hunter22", "did you mean hub_key?"),
        ("hub_key", "", "is empty"),
        ("hub_key", "hunter22\nhunter22", "has a line break"),
        ("hub_key", "hunter22" * 1_000, "more than 4,096 characters"),
    ]:
        said = await do("secrets", "set", "elk", name, stdin=given_, exit_code=FAILED)
        assert told in said
        assert "hunter22" not in said
    assert await do("secrets", "list") == ""
    admin.environment["HOMEROOM_KEY"] = "hunter22\n"
    said = await do("plan", "--feed", "elk", exit_code=FAILED)
    assert "the hub_key of elk has a line break" in said
    assert "hunter22" not in said


def ring(*keys: bytes) -> Keyring:
    return keyring_of(" ".join(base64.b64encode(key).decode() for key in keys), "here")


@given(KEYS, KEYS, st.text(), st.text(), st.text(), st.text(), st.text())
def test_what_was_sealed_opens_under_its_key_feed_and_name_alone(
    key: bytes, other: bytes, feed: str, name: str, feed2: str, name2: str, secret: str
) -> None:
    sealed = ring(key).seal(feed, name, secret)
    assert ring(other, key).unseal(feed, name, sealed) == secret
    cut = Sealed(sealed.key_id, sealed.ciphertext[:-1])
    for keys, at, what in [(ring(other), (feed, name), sealed), (ring(key), (feed2, name2), sealed)]:
        if keys.newest != sealed.key_id or at != (feed, name):
            with pytest.raises(SealError):
                keys.unseal(*at, what)
    with pytest.raises(SealError):
        ring(key).unseal(feed, name, cut)


@pytest.mark.parametrize("text", ["", "hunter22", base64.b64encode(b"short").decode(), " ".join([new_key()] * 17)])
def test_keys_that_are_none_are_told_and_not_repeated(text: str) -> None:
    with pytest.raises(SealError, match="openssl rand -base64 32") as told:
        keyring_of(text, "here")
    assert not text or text not in str(told.value)


@given(st.lists(st.text(min_size=4), max_size=3), st.text(), st.text())
def test_no_secret_is_left_in_a_text_however_it_is_written(secrets: list[str], before: str, after: str) -> None:
    scrub = Scrubber(secrets)
    for secret in secrets:
        for form in (secret, json.dumps(secret), repr(secret)):
            said = scrub(f"{before}{form}{after}")
            assert secret not in said or secret in "(a secret)"
