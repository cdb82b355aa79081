"""What an operator does to a Core from the command line: organisations, clients, keys, a look at the whole."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from homeroom.protocol import MINISTRY
from homeroom_server.auth import Role, has_expired, hash_key, new_key
from homeroom_server.organizations import parse_organizations
from homeroom_server.rule_set import id_or_none
from homeroom_server.store import access_triggers, associations, erasure, history, moves, registry, triggers, types
from homeroom_server.store.connection import Conn

_EXPIRES_SOON_DAYS = 30


class OperationError(Exception):
    """What was asked cannot be done; the message says why."""


async def load_organizations(connection: Conn, text: str) -> int:
    """Add and update the organisations of a CSV file, all or none; how many there are in it.

    Raises OrganizationsError with every fault and its line.
    """
    async with connection.transaction():
        known = await registry.read_parents(connection)
        organizations = parse_organizations(text, known)
        for each in organizations:
            await registry.upsert_organization(connection, each.code, each.name, each.parent)
        moved = [code for code in await registry.derive_lineages(connection, MINISTRY) if code in known]
        if moved:
            await moves.note_moves(connection, moved)
        await registry.announce_directory(connection)
    return len(organizations)


async def grant(connection: Conn, code: str, student: str, ends_on: date | None) -> None:
    """Let an organisation see a student's records, to the end of a day or for good; OperationError if it is unknown."""
    student = student_id(student)
    async with connection.transaction():
        await erasure.keep_from_erasing(connection)
        if await erasure.erased_among(connection, await erasure.read_secret(connection), [student]):
            raise OperationError("this student was erased: nothing may be granted")
        if not await associations.put_grant(connection, code, student, ends_on):
            raise OperationError(f"there is no school or authority {code}")
        await access_triggers.raise_triggers(connection, [student])


async def revoke(connection: Conn, code: str, student: str) -> None:
    """End what was granted; OperationError if nothing was. What enrolments say goes on to count."""
    student = student_id(student)
    async with connection.transaction():
        if not await associations.drop_grant(connection, code, student):
            raise OperationError(f"{code} was granted nothing about student {student}")
        await access_triggers.raise_triggers(connection, [student])


async def create_client(
    connection: Conn, name: str, codes: Sequence[str], role: Role, expires_days: int | None = None
) -> str:
    """A new client registered for organisations; its key, which is not kept. OperationError names every fault."""
    faults = []
    if not name.strip() or len(name) > 100:
        faults.append("a client's name has 1 to 100 characters")
    async with connection.transaction():
        client = await registry.insert_client(connection, name, role.value)
        if client is None:
            faults.append(f"there is a client named {name!r} already")
        known = await registry.read_parents(connection)
        if unknown := [code for code in codes if code not in known]:
            faults.append(f"no such organisation: {', '.join(unknown)}")
        if client is None or faults:
            raise OperationError("; ".join(faults))
        for code in dict.fromkeys(codes):
            await registry.register_for(connection, client, code)
        key = await _add_key(connection, client, expires_days)
        await registry.announce_directory(connection)
    return key


async def rotate_key(connection: Conn, name: str, overlap_hours: int = 0, expires_days: int | None = None) -> str:
    """A new key for a client; those it had are disabled, or count for so many hours more at most."""
    async with connection.transaction():
        client = await registry.find_client(connection, name)
        if client is None:
            raise OperationError(f"there is no client named {name!r}")
        if overlap_hours:
            await registry.expire_keys(connection, client, overlap_hours)
        else:
            await registry.disable_keys(connection, client)
        key = await _add_key(connection, client, expires_days)
        await registry.announce_directory(connection)
    return key


async def set_client_disabled(connection: Conn, name: str, *, disabled: bool) -> None:
    async with connection.transaction():
        if not await registry.set_client_disabled(connection, name, disabled=disabled):
            raise OperationError(f"there is no client named {name!r}")
        await registry.announce_directory(connection)


async def begin_history(connection: Conn, reason: str) -> None:
    """A new epoch (protocol 1): for a database that was put back to an earlier state where nothing else shows it."""
    if not reason.strip():
        raise OperationError("say why: the reason is kept")
    async with connection.transaction():
        await history.begin(connection, reason, await history.read_server(connection))
        await registry.announce_directory(connection)


async def list_histories(connection: Conn) -> list[dict[str, Any]]:
    """Every epoch that the database has had, the one that goes on last."""
    return [
        {
            "epoch": each.epoch,
            "begunAt": each.begun_at.isoformat(timespec="seconds"),
            "reason": each.reason,
            "begunAbove": each.begun_above,
            "kept": dict(each.kept),
        }
        for each in await history.read_histories(connection)
    ]


async def list_clients(connection: Conn) -> list[dict[str, Any]]:
    """Every client with its organisations, its keys and what it has to show besides, by name."""
    directory = await registry.read_directory(connection)
    codes = {row.number: row.code for row in directory.organizations.values()}
    return [
        {
            "name": client.name,
            "role": client.role,
            "organizations": [codes[number] for number in client.organizations],
            "disabled": client.disabled,
            "createdAt": client.created_at.isoformat(timespec="seconds"),
            "keys": [_key_as_json(key) for key in directory.keys.values() if key.client == client.number],
            "networks": [str(network) for network in client.networks],
            "certificates": [{"fingerprint": f.hex(), "label": label} for f, label in client.certificates.items()],
        }
        for client in sorted(directory.clients.values(), key=lambda client: client.name)
    ]


async def show_client(connection: Conn, name: str) -> dict[str, Any]:
    """One client as `list_clients` tells of it; OperationError if there is none of this name."""
    for client in await list_clients(connection):
        if client["name"] == name:
            return client
    raise OperationError(f"there is no client named {name!r}")


def _key_as_json(key: registry.KeyRow) -> dict[str, Any]:
    return {
        "createdAt": key.created_at.isoformat(timespec="seconds"),
        "expiresAt": None if key.expires_at is None else key.expires_at.isoformat(timespec="seconds"),
        "lastUsedAt": None if key.last_used_at is None else key.last_used_at.isoformat(timespec="seconds"),
        "expired": has_expired(key.expires_at),
        "disabled": key.disabled,
    }


def _keys_expiring(directory: registry.DirectoryContent) -> list[dict[str, str]]:
    """Keys that count today and will not in 30 days, the next first."""
    soon = datetime.now(UTC) + timedelta(days=_EXPIRES_SOON_DAYS)
    found = [
        (key.expires_at, directory.clients[key.client].name)
        for key in directory.keys.values()
        if key.expires_at is not None and key.expires_at <= soon and not has_expired(key.expires_at)
        if not key.disabled and not directory.clients[key.client].disabled
    ]
    return [{"client": name, "expiresAt": at.isoformat(timespec="seconds")} for at, name in sorted(found)]


async def read_status(connection: Conn, time_zone: str) -> dict[str, Any]:
    """Where the Core stands: epoch, watermarks, what waits, and whether the access day is that of the time zone."""
    position = await types.read_position(connection)
    directory = await registry.read_directory(connection)
    rows = sorted(position.types, key=lambda row: str(row.notification_type))
    students, moves = await access_triggers.count_waiting(connection)
    day = await associations.access_day(connection)
    return {
        "epoch": position.epoch,
        "organizations": len(directory.organizations),
        "clients": len(directory.clients),
        "keysExpiring": _keys_expiring(directory),
        "triggersWaiting": await triggers.count_waiting(connection),
        "accessDay": None if day is None else day.isoformat(),
        "accessDayBehind": day is None or day < await associations.today(connection, time_zone),
        "accessTriggersWaiting": students,
        "organizationMovesWaiting": moves,
        "types": [{"notificationType": str(r.notification_type), "watermark": r.watermark} for r in rows],
    }


def student_id(text: str) -> str:
    """The id of a student as records name it."""
    student = id_or_none(text)
    if student is None:
        raise OperationError(f"{text!r} cannot be a student: an id has 1-64 of A-Z a-z 0-9 . _ -")
    return student


async def _add_key(connection: Conn, client: int, expires_days: int | None) -> str:
    secret = await registry.read_key_secret(connection)
    key = new_key()
    await registry.insert_key(connection, client, hash_key(secret, key), expires_days)
    return key
