"""Organisations, clients and keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from homeroom_server.peers import Network
from homeroom_server.store.connection import Conn

DIRECTORY_CHANNEL = "homeroom_directory"


@dataclass(frozen=True, slots=True)
class OrganizationRow:
    """`lineage`: numbers of itself and those above it, without the ministry."""

    number: int
    code: str
    name: str
    parent: int | None
    lineage: Sequence[int]


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A calling system and the numbers of the organisations that it is registered for.

    It may call from its networks alone, and has to show one of its certificates (fingerprints with labels), where it
    has any.
    """

    number: int
    name: str
    role: str
    disabled: bool
    organizations: Sequence[int]
    created_at: datetime
    networks: Sequence[Network]
    certificates: Mapping[bytes, str]

    @property
    def is_bound(self) -> bool:
        """Whether a key alone is not enough."""
        return bool(self.networks or self.certificates)


@dataclass(frozen=True, slots=True)
class SeenClient:
    """A client as somebody sees it: `organizations` are the codes of those that they may see.

    `asked_at`: when it last followed anything. `keys` that work, `keys_disabled` that no longer do; `key_made_at`: of
    the newest that works.
    """

    number: int
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    organizations: Sequence[str]
    streams: int
    asked_at: datetime | None
    keys: int
    keys_disabled: int
    key_made_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """`last_used_at` is as old as the row."""

    hash: bytes
    client: int
    disabled: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class DirectoryContent:
    """Everything that authentication rests on, from one snapshot."""

    version: int
    key_secret: bytes
    organizations: Mapping[str, OrganizationRow]
    clients: Mapping[int, ClientRow]
    keys: Mapping[bytes, KeyRow]


async def read_directory(connection: Conn) -> DirectoryContent:
    """All organisations, clients and keys."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        core = await connection.fetchrow("select directory_version, key_secret from core")
        organizations = await connection.fetch("select number, code, name, parent, lineage from organization")
        clients = await connection.fetch(
            """
            select c.number, c.name, c.role, c.created_at, c.disabled_at is not null as disabled,
                   coalesce(array_agg(o.organization order by o.organization)
                            filter (where o.organization is not null), '{}') as organizations,
                   array(select n.network from client_network n where n.client = c.number order by 1) as networks
            from client c left join client_organization o on o.client = c.number
            group by c.number
            """
        )
        certificates: dict[int, dict[bytes, str]] = {}
        for row in await connection.fetch("select client, fingerprint, label from client_certificate order by 1, 3, 2"):
            certificates.setdefault(row["client"], {})[row["fingerprint"]] = row["label"]
        keys = await connection.fetch(
            """
            select hash, client, disabled_at is not null as disabled, created_at, expires_at, last_used_at
            from api_key order by created_at
            """
        )
    assert core is not None, "the schema has been applied"
    return DirectoryContent(
        core["directory_version"],
        core["key_secret"],
        {row["code"]: OrganizationRow(**row) for row in organizations},
        {row["number"]: ClientRow(**row, certificates=certificates.get(row["number"], {})) for row in clients},
        {row["hash"]: KeyRow(**row) for row in keys},
    )


async def read_directory_version(connection: Conn) -> int:
    """What rises with every change to the directory."""
    version: int = await connection.fetchval("select directory_version from core")
    return version


async def announce_directory(connection: Conn) -> None:
    """Make every node read the directory again; the last statement of a transaction that changed it."""
    await connection.execute("update core set directory_version = directory_version + 1")
    await connection.execute("select pg_notify($1, '')", DIRECTORY_CHANNEL)


async def read_parents(connection: Conn) -> dict[str, str]:
    """The code of each organisation with the code of its parent (empty: none)."""
    rows = await connection.fetch(
        """
        select o.code, coalesce(p.code, '') as parent
        from organization o left join organization p on p.number = o.parent
        """
    )
    return {row["code"]: row["parent"] for row in rows}


async def upsert_organization(connection: Conn, code: str, name: str, parent: str) -> None:
    """Write one organisation whose parent is there already. Lineages follow by `derive_lineages`."""
    await connection.execute(
        """
        insert into organization (code, name, parent, lineage)
        select $1, $2, p.number, '{}'
        from (values ($3)) as given(parent) left join organization p on p.code = given.parent
        on conflict (code) do update set name = excluded.name, parent = excluded.parent
        """,
        code,
        name,
        parent,
    )


async def derive_lineages(connection: Conn, ministry: str) -> list[str]:
    """Make every organisation's lineage follow from the tree; the codes of those whose lineage was another."""
    rows = await connection.fetch(
        """
        with recursive derived as (
            select number, case when code = $1 then '{}' else array[number] end as lineage
            from organization where parent is null
            union all
            select o.number, array[o.number] || d.lineage from organization o join derived d on d.number = o.parent
        )
        update organization o set lineage = d.lineage from derived d
        where o.number = d.number and o.lineage <> d.lineage
        returning o.code
        """,
        ministry,
    )
    return [row["code"] for row in rows]


async def insert_client(connection: Conn, name: str, role: str) -> int | None:
    """The new client's number, or None if the name is taken."""
    number: int | None = await connection.fetchval(
        "insert into client (name, role) values ($1, $2) on conflict do nothing returning number", name, role
    )
    return number


async def register_for(connection: Conn, client: int, code: str) -> bool:
    """Register a client for an organisation; False if there is no such organisation."""
    return (
        await connection.execute(
            """
        insert into client_organization (client, organization)
        select $1, number from organization where code = $2
        """,
            client,
            code,
        )
        == "INSERT 0 1"
    )


async def insert_key(connection: Conn, client: int, key_hash: bytes, expires_days: int | None) -> None:
    """A key that counts for so many days, or until it is disabled."""
    await connection.execute(
        "insert into api_key (hash, client, expires_at) values ($1, $2, now() + make_interval(days => $3))",
        key_hash,
        client,
        expires_days,
    )


async def disable_keys(connection: Conn, client: int) -> None:
    """Disable every key of a client."""
    await connection.execute("update api_key set disabled_at = now() where client = $1 and disabled_at is null", client)


async def expire_keys(connection: Conn, client: int, hours: int) -> None:
    """Let no key of a client count for longer than so many hours from now."""
    await connection.execute(
        """
        update api_key set expires_at = least(expires_at, now() + make_interval(hours => $2))
        where client = $1 and disabled_at is null
        """,
        client,
        hours,
    )


async def note_keys_used(connection: Conn, hashes: Sequence[bytes]) -> None:
    """Keys that were used within the last minute; what another node writes at this moment is left to it."""
    await connection.execute(
        """
        with used as (select hash from api_key where hash = any($1) for no key update skip locked)
        update api_key k set last_used_at = now() from used u where k.hash = u.hash
        """,
        hashes,
    )


async def replace_networks(connection: Conn, client: int, networks: Sequence[Network]) -> None:
    """From where a client may call from now on; none: from everywhere."""
    await connection.execute("delete from client_network where client = $1", client)
    await connection.execute(
        "insert into client_network (client, network) select distinct $1::int, unnest($2::cidr[])", client, networks
    )


async def insert_certificate(connection: Conn, client: int, fingerprint: bytes, label: str) -> bool:
    """Let a client show this certificate too; False if it may already."""
    done = await connection.execute(
        """
        insert into client_certificate (client, fingerprint, label) values ($1, $2, $3) on conflict do nothing
        """,
        client,
        fingerprint,
        label,
    )
    return done == "INSERT 0 1"


async def delete_certificate(connection: Conn, client: int, fingerprint: bytes) -> bool:
    """Let a client show this certificate no more; False if it was none of its own."""
    done = await connection.execute(
        "delete from client_certificate where client = $1 and fingerprint = $2", client, fingerprint
    )
    return done == "DELETE 1"


async def has_certificates(connection: Conn, client: int) -> bool:
    """Whether a client has to show any certificate."""
    found: bool = await connection.fetchval("select exists (select from client_certificate where client = $1)", client)
    return found


async def set_client_disabled(connection: Conn, name: str, *, disabled: bool) -> bool:
    """Disable or enable a client; False if there is none of this name."""
    done = await connection.execute(
        "update client set disabled_at = case when $2 then coalesce(disabled_at, now()) end where name = $1",
        name,
        disabled,
    )
    return done == "UPDATE 1"


async def find_client(connection: Conn, name: str) -> int | None:
    number: int | None = await connection.fetchval("select number from client where name = $1", name)
    return number


async def see_client(connection: Conn, name: str, scope: Sequence[int] | None) -> SeenClient | None:
    """A client, for who may see one of its organizations or streams; `scope`: numbers, with those below; None: all."""
    row = await connection.fetchrow(
        """
        select c.number, c.name, c.role, c.created_at, c.disabled_at, o.organizations, s.streams, s.asked_at,
               k.keys, k.keys_disabled, k.key_made_at
        from client c cross join lateral (
            select coalesce(array_agg(o.code order by o.code), '{}') as organizations
            from client_organization m join organization o on o.number = m.organization
            where m.client = c.number and ($2::int[] is null or o.lineage && $2::int[])
        ) o cross join lateral (
            select count(*)::int as streams, max(s.asked_at) as asked_at
            from client_stream s join organization o on o.number = s.organization
            where s.client = c.number and ($2::int[] is null or o.lineage && $2::int[])
        ) s cross join lateral (
            select count(*) filter (where disabled_at is null)::int as keys,
                   count(*) filter (where disabled_at is not null)::int as keys_disabled,
                   max(created_at) filter (where disabled_at is null) as key_made_at
            from api_key k where k.client = c.number
        ) k
        where c.name = $1 and ($2::int[] is null or o.organizations <> '{}' or s.streams > 0)
        """,
        name,
        scope,
    )
    return None if row is None else SeenClient(**row)


async def read_key_secret(connection: Conn) -> bytes:
    """What keys the hash of API keys."""
    secret: bytes = await connection.fetchval("select key_secret from core")
    return secret
