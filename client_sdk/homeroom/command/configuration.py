"""What a command works with: flags first, then the environment, then what the file remembers."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from homeroom.client import Client
from homeroom.command.arguments import Arguments
from homeroom.command.endings import WrongUse
from homeroom.protocol import NotificationType
from homeroom.replica.sqlite import SqliteStorage
from homeroom.replica.storage import Storage, StorageError

_DEFAULT_FILE = "replica.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file remembers of its last sync; empty if it never had one."""

    url: str = ""
    organization: str = ""
    types: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file, the Core it belongs to and the types that are kept in it."""

    file: Path
    url: str
    key: str
    organization: str | None
    types: Sequence[str]

    def client(self) -> Client:
        return Client(self.url, self.key, self.organization)


def file_of(arguments: Arguments, environment: Mapping[str, str]) -> Path:
    return arguments.file or Path(environment.get("HOMEROOM_REPLICA_FILE") or _DEFAULT_FILE)


def open_to_read(file: Path) -> SqliteStorage:
    """The file's storage; StorageError if there is none yet."""
    if not file.exists():
        raise StorageError(f"{file} does not exist; `homeroom-replica sync` makes it")
    return SqliteStorage(file, read_only=True)


def settings_of(file: Path) -> Settings:
    """What a file remembers; nothing if it does not exist yet."""
    return local_settings(file) if file.exists() and file.stat().st_size else Settings()


def local_settings(file: Path) -> Settings:
    """What a file remembers; StorageError if it does not exist yet."""
    with closing(open_to_read(file)) as storage:
        types = storage.setting("types").split(",")
        return Settings(storage.setting("url"), storage.setting("organization"), [name for name in types if name])


def remember(storage: Storage, configuration: Configuration) -> None:
    """Have the file know what the next sync needs, all but the key."""
    storage.setting("url", configuration.url)
    storage.setting("types", ",".join(configuration.types))


def call_configuration(
    arguments: Arguments, environment: Mapping[str, str], remembered: Settings, *, types_needed: bool = False
) -> Configuration:
    """What a command needs that calls a Core; WrongUse names everything that is missing or wrong."""
    url = arguments.url or environment.get("HOMEROOM_URL") or remembered.url
    organization = arguments.organization or environment.get("HOMEROOM_ORGANIZATION") or remembered.organization
    types = (arguments.types if types_needed else []) or remembered.types
    faults = [*_url_faults(url), *_type_faults(types, needed=types_needed)]
    try:
        key = _key(arguments, environment)
    except WrongUse as fault:
        faults += fault.faults
    if faults:
        raise WrongUse(*faults)
    return Configuration(file_of(arguments, environment), url, key, organization or None, types)


def _key(arguments: Arguments, environment: Mapping[str, str]) -> str:
    if arguments.key and arguments.key_file:
        raise WrongUse("--key and --key-file exclude each other")
    if arguments.key_file:
        try:
            key = arguments.key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise WrongUse(f"--key-file cannot be read: {fault}") from fault
    else:
        key = (arguments.key or environment.get("HOMEROOM_KEY") or "").strip()
    if not key:
        raise WrongUse("the key is missing: set HOMEROOM_KEY or give --key-file FILE")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise WrongUse("the key is not one: it holds a blank or a sign that no key has")
    return key


def _url_faults(url: str) -> Sequence[str]:
    if not url:
        return ["the Core's URL is missing: give --url or set HOMEROOM_URL"]
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as fault:
        return [f"--url {url}: {fault}"]
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return [f"--url {url}: a URL begins with https:// or http:// and names a host"]
    return []


def _type_faults(types: Sequence[str], *, needed: bool) -> Sequence[str]:
    if needed and not types:
        return ["no types to keep: give --type, once for each"]
    faults = []
    for name in types:
        try:
            NotificationType.parse(name)
        except ValueError as fault:
            faults.append(f"--type: {fault}")
    return faults
