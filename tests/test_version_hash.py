"""Protocol 4: one function on both sides, equal to PostgreSQL's own."""

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from homeroom import version_hash
from tests.conftest import Core
from tests.records import accepted, available, note, pairs, record, versions_of


def test_the_four_vectors() -> None:
    assert version_hash([]) == "d41d8cd98f00b204e9800998ecf8427e"
    assert version_hash([10]) == "ed9c7d5a52a8aca1e3da7b3e59928b2a"
    assert version_hash([10, 12]) == "0d7e35a252741f15962d5116665f712f"
    assert version_hash([10, 11, 12]) == "a76eb66258bad1e154b911d538ada50a"


@given(st.lists(st.integers(1, 2**53 - 1), unique=True))
def test_the_order_given_does_not_matter(versions: list[int]) -> None:
    assert version_hash(versions) == version_hash(sorted(versions)) == version_hash(reversed(versions))


async def postgres_hash(connection: asyncpg.Connection, organization: str | None) -> str:
    """Written here anew, from the words of the protocol."""
    digest: str = await connection.fetchval(
        """
        select md5(coalesce(string_agg(int8send(r.version), ''::bytea order by r.version), ''))
        from record r join notification_type n on n.number = r.notification_type
        join record_type t on t.number = n.record_type join organization o on o.number = r.owner
        where t.name = 'Bulletin' and not r.deleted and ($1::text is null or o.code = $1)
        """,
        organization,
    )
    return digest


async def test_the_hash_of_100_000_records_is_postgresqls_own(plain_core: Core) -> None:
    ministry = await plain_core.client("O.1")
    for start in range(0, 100_000, 5_000):
        await accepted(ministry, "Bulletin", *(note(str(start + i)) for i in range(5_000)))
    found = await available(ministry, "Bulletin")
    held = dict(pairs(found))
    gone = [record(str(i), None, held[str(i)], deleted=True) for i in range(0, 100_000, 1_000)]
    await accepted(ministry, "Bulletin", *gone)
    delta = await available(ministry, "Bulletin", found["maxCoreVersion"])
    for name, _ in pairs(delta):
        del held[name]
    ours = version_hash(held.values())
    assert len(held) == 99_900
    assert ours == await postgres_hash(await plain_core.connect(), None)
    agreed = await available(ministry, "Bulletin", delta["maxCoreVersion"], versionHash=ours)
    assert agreed["reason"] == "none"
    held.popitem()
    differs = await available(ministry, "Bulletin", delta["maxCoreVersion"], versionHash=version_hash(held.values()))
    assert (differs["reason"], len(differs["records"])) == ("mismatch", 99_900)
    assert versions_of(pairs(differs)) == sorted(versions_of(pairs(differs)))
