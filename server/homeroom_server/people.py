"""People of the console: accounts, and signing in with a name and a password."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import anyio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from homeroom_server.operations import OperationError
from homeroom_server.store import audit, people
from homeroom_server.store.connection import Conn
from homeroom_server.store.people import PersonRow, SessionRow

PASSWORD_LENGTH_MIN = 12
PASSWORD_LENGTH_MAX = 256
NAME_LENGTH_MAX = 100
FAILURES_OF_NAME_MAX = 5
FAILURES_OF_ADDRESS_MAX = 50
FAILURE_MINUTES = 15
"""So many wrong passwords from one address within that time, for one name and for any, and it has to wait."""

_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$AVzM63uzYlWNC6tyRNQZxw$zOo0o+LcTZNkWpDXNNUQaqHa0pSNLgLTH7O2MVHIA4c"
"""Of a password that nobody knows: tried where there is no such person, so that the time of an answer does not tell."""
_hashing = anyio.CapacityLimiter(1)
"""One password at a time: each takes 64 MiB and a core for some hundredths of a second."""


class PersonRole(StrEnum):
    """Operators see and do everything; the others what concerns their organisations, viewers without changing it."""

    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"
    VIEWER = "viewer"


class SignInRefusedError(Exception):
    """`wait_minutes`: of somebody who failed too often; 0: the name or the password is wrong."""

    def __init__(self, wait_minutes: int = 0) -> None:
        super().__init__()
        self.wait_minutes = wait_minutes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser is given: kept as its hash alone."""

    token: str


async def create(connection: Conn, name: str, role: PersonRole, codes: Sequence[str], password: str) -> None:
    """A new account. OperationError: every reason why there is none."""
    faults = _faults(name, role, codes)
    try:
        check_password(password)
    except OperationError as fault:
        faults.append(str(fault))
    if faults:
        raise OperationError("; ".join(faults))
    async with connection.transaction():
        number = await people.insert(connection, name, role.value, await _hashed(password))
        if number is None:
            raise OperationError(f"there is somebody named {name!r} already")
        if unknown := await people.belong(connection, number, codes):
            raise OperationError(f"no such organisation: {', '.join(unknown)}")


async def set_password(connection: Conn, name: str, password: str) -> None:
    """OperationError: there is no such person, or it is too short."""
    check_password(password)
    async with connection.transaction():
        if not await people.set_password(connection, name, await _hashed(password)):
            raise OperationError(f"there is nobody named {name!r}")


async def set_disabled(connection: Conn, name: str, *, disabled: bool) -> None:
    async with connection.transaction():
        if not await people.set_disabled(connection, name, disabled=disabled):
            raise OperationError(f"there is nobody named {name!r}")


async def sign_in(connection: Conn, name: str, password: str, address: str) -> SignedIn:
    """A session on one browser; each try is noted. SignInRefusedError."""
    of_name, of_all = await people.failures(connection, name, address, FAILURE_MINUTES)
    if of_name >= FAILURES_OF_NAME_MAX or of_all >= FAILURES_OF_ADDRESS_MAX:
        raise SignInRefusedError(FAILURE_MINUTES)
    person = await people.find(connection, name)
    is_right = await _is_right(_NOBODYS if person is None else person.password_hash, password)
    if person is None or not is_right or person.disabled:
        await people.note_failure(connection, name, address)
        await note(connection, name, address, "a sign-in failed")
        raise SignInRefusedError
    token = secrets.token_urlsafe(32)
    async with connection.transaction():
        await people.forget_failures(connection, name, address)
        await people.begin_session(connection, person.number, hash_token(token), secrets.token_urlsafe(16))
        await note(connection, name, address, "signed in")
    return SignedIn(token)


async def signed_in(connection: Conn, token: str, *, is_use: bool = True) -> SessionRow | None:
    """Who it is that a browser speaks for; None: nobody any more. A session that is not used ends after a while."""
    return await people.find_session(connection, hash_token(token), is_use=is_use)


async def sign_out(connection: Conn, token: str, name: str, address: str) -> None:
    async with connection.transaction():
        await people.end_session(connection, hash_token(token))
        await note(connection, name, address, "signed out")


async def note(connection: Conn, name: str, address: str, what: str) -> None:
    """What somebody did or looked at, kept for good."""
    await audit.note(connection, "person", name, address, what)


async def list_people(connection: Conn) -> list[PersonRow]:
    return await people.all_people(connection)


def check_password(password: str) -> None:
    """OperationError: it is too easily guessed, or no password."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise OperationError(f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")
    if len(set(password)) < PASSWORD_LENGTH_MIN // 2:
        raise OperationError("a password has six different characters at least")


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _faults(name: str, role: PersonRole, codes: Sequence[str]) -> list[str]:
    faults = []
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        faults.append(f"a name has 1 to {NAME_LENGTH_MAX} characters that can be seen")
    if role is PersonRole.OPERATOR and codes:
        faults.append("an operator sees everything: leave out the organisations")
    if role is not PersonRole.OPERATOR and not codes:
        faults.append(f"name the organisations that this {role} is of")
    return faults


async def _hashed(password: str) -> str:
    return await anyio.to_thread.run_sync(_hasher.hash, password, limiter=_hashing)


async def _is_right(password_hash: str, password: str) -> bool:
    def verify() -> bool:
        try:
            return _hasher.verify(password_hash, password[: PASSWORD_LENGTH_MAX + 1])
        except (VerificationError, InvalidHashError):
            return False

    return await anyio.to_thread.run_sync(verify, limiter=_hashing)
