"""People of the console: who they are, where they are signed in, what they tried."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn

IDLE_HOURS = 12
WHOLE_DAYS = 7
"""A session ends so long after it was last used, and after it began."""


class PersonRow(NamedTuple):
    """`organizations`: codes of those that they are of; operators are of none."""

    number: int
    name: str
    role: str
    password_hash: str
    disabled: bool
    created_at: datetime
    organizations: Sequence[str]


class SessionRow(NamedTuple):
    """Who is signed in; `scope`: numbers of their organizations, those below are theirs too."""

    person: int
    name: str
    role: str
    form_token: str
    scope: Sequence[int]


async def insert(connection: Conn, name: str, role: str, password_hash: str) -> int | None:
    """The number of a new person; None if there is one of that name."""
    found: int | None = await connection.fetchval(
        """
        insert into person (name, role, password_hash) values ($1, $2, $3) on conflict do nothing returning number
        """,
        name,
        role,
        password_hash,
    )
    return found


async def belong(connection: Conn, person: int, codes: Sequence[str]) -> list[str]:
    """Make a person one of these organizations; the codes that there are not."""
    rows = await connection.fetch(
        """
        with known as (select number, code from organization where code = any($2::text[])),
             made as (insert into person_organization select $1, number from known)
        select u.code from unnest($2::text[]) as u(code) where u.code not in (select code from known) order by 1
        """,
        person,
        codes,
    )
    return [row["code"] for row in rows]


async def all_people(connection: Conn) -> list[PersonRow]:
    """By name."""
    rows = await connection.fetch(f"{_PEOPLE} group by p.number order by p.name")
    return [PersonRow(*row.values()) for row in rows]


async def find(connection: Conn, name: str) -> PersonRow | None:
    row = await connection.fetchrow(f"{_PEOPLE} where p.name = $1 group by p.number", name)
    return None if row is None else PersonRow(*row.values())


async def set_password(connection: Conn, name: str, password_hash: str) -> bool:
    """Whether there is such a person; who is signed in as them is so no longer."""
    number = await connection.fetchval(
        "update person set password_hash = $2 where name = $1 returning number", name, password_hash
    )
    await connection.execute("delete from person_session where person = $1", number)
    return number is not None


async def set_disabled(connection: Conn, name: str, *, disabled: bool) -> bool:
    """Whether there is such a person; one who is disabled is signed in nowhere."""
    number = await connection.fetchval(
        "update person set disabled_at = case when $2 then coalesce(disabled_at, now()) end where name = $1"
        " returning number",
        name,
        disabled,
    )
    if disabled:
        await connection.execute("delete from person_session where person = $1", number)
    return number is not None


async def begin_session(connection: Conn, person: int, token_hash: bytes, form_token: str) -> None:
    """Old ones that nobody uses are forgotten on the way."""
    await connection.execute(
        """
        delete from person_session
        where seen_at < now() - make_interval(hours => $1) or begun_at < now() - make_interval(days => $2)
        """,
        IDLE_HOURS,
        WHOLE_DAYS,
    )
    await connection.execute(
        "insert into person_session (token_hash, person, form_token) values ($1, $2, $3)",
        token_hash,
        person,
        form_token,
    )


async def find_session(connection: Conn, token_hash: bytes, *, is_use: bool) -> SessionRow | None:
    """Who is signed in by that token, if it still holds; that it was used is noted once a minute."""
    row = await connection.fetchrow(
        """
        select p.number, p.name, p.role, s.form_token, s.seen_at < now() - interval '1 minute' as is_old,
               coalesce(array_agg(o.organization) filter (where o.organization is not null), '{}') as scope
        from person_session s join person p on p.number = s.person
        left join person_organization o on o.person = p.number
        where s.token_hash = $1 and p.disabled_at is null
          and s.seen_at > now() - make_interval(hours => $2) and s.begun_at > now() - make_interval(days => $3)
        group by p.number, s.token_hash
        """,
        token_hash,
        IDLE_HOURS,
        WHOLE_DAYS,
    )
    if row is None:
        return None
    if is_use and row["is_old"]:
        await connection.execute("update person_session set seen_at = now() where token_hash = $1", token_hash)
    return SessionRow(row["number"], row["name"], row["role"], row["form_token"], row["scope"])


async def end_session(connection: Conn, token_hash: bytes) -> None:
    await connection.execute("delete from person_session where token_hash = $1", token_hash)


async def note_failure(connection: Conn, name: str, address: str) -> None:
    """A sign-in that failed; those of yesterday are forgotten."""
    await connection.execute("delete from sign_in_failure where failed_at < now() - interval '1 day'")
    await connection.execute("insert into sign_in_failure (name, address) values ($1, $2)", name, address)


async def failures(connection: Conn, name: str, address: str, minutes: int) -> tuple[int, int]:
    """How many of late: from this address for this name, and from this address for any."""
    (row,) = await connection.fetch(
        """
        select count(*) filter (where name = $1) as of_name, count(*) as of_all from sign_in_failure
        where address = $2 and failed_at > now() - make_interval(mins => $3)
          and failed_at < now() + make_interval(mins => $3)  -- or a clock that was ahead would bar its people for long
        """,
        name,
        address,
        minutes,
    )
    return row["of_name"], row["of_all"]


async def forget_failures(connection: Conn, name: str, address: str) -> None:
    """Whoever got in was no guesser."""
    await connection.execute("delete from sign_in_failure where name = $1 and address = $2", name, address)


_PEOPLE = """
select p.number, p.name, p.role, p.password_hash, p.disabled_at is not null, p.created_at,
       coalesce(array_agg(o.code order by o.code) filter (where o.code is not null), '{}')
from person p
left join person_organization po on po.person = p.number
left join organization o on o.number = po.organization
"""
