"""What a feed keeps to itself: in the environment variable that its settings name, else encrypted in the state."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.refusal import RefusedError
from homeroom_merge.sealing import Keyring, Sealed, SealError, keyring_of
from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import secrets as store
from homeroom_merge.store.connection import Conn

KEY_VARIABLE = "HOMEROOM_MERGE_SECRETS_KEY"
KEY_FILE_VARIABLE = "HOMEROOM_MERGE_SECRETS_KEY_FILE"
SECRET_MAX = 4_096
"""Characters of a secret."""
_KEY_FILE_BYTES_MAX = 4_096

NONE_STORED: Mapping[str, Sealed] = {}


class MissingSecretError(RefusedError):
    """A secret that has to be there and is not; the message says where it belongs."""


async def stored_secrets(connection: Conn, feed: str) -> Mapping[str, Sealed]:
    """What the state keeps for this feed, by name, still encrypted."""
    return await store.of_feed(connection, feed)


def secret_of(
    settings: Settings, name: str, stored: Mapping[str, Sealed] = NONE_STORED, *, optional: bool = False
) -> str:
    """From the environment, else from what is stored. MissingSecretError where it is nowhere, unless that is allowed.

    SealError: it is stored and cannot be opened.
    """
    variable, feed = settings.secrets[name], settings.feed.name
    found = os.environ.get(variable, "")
    if not found and name in stored:
        found = keyring().unseal(feed, name, stored[name])
    if not found and not optional:
        raise MissingSecretError(
            f"the environment variable {variable} is empty: it is to hold the {name} of this feed; "
            f"or store it: homeroom-merge secrets set {feed} {name}"
        )
    if fault := fault_of(found):
        raise MissingSecretError(f"the {name} of {feed} {fault}; look at {variable}, or set it anew")
    return found


def secrets_of_connector(settings: Settings, stored: Mapping[str, Sealed] = NONE_STORED) -> Mapping[str, str]:
    """What its connector needs, by name; a database may do without a password. MissingSecretError, SealError."""
    names = KINDS[settings.connector.kind].secrets
    return {name: secret_of(settings, name, stored, optional=name == "sis_password") for name in names}


def fault_of(secret: str) -> str:
    """Why it cannot be one: where it does not fit into a header, libraries would repeat it in what they say."""
    if len(secret) > SECRET_MAX:
        return f"has more than {SECRET_MAX:,} characters"
    return "" if secret.isprintable() else "has a line break or another character that cannot be typed"


def keyring() -> Keyring:
    """The keys of this machine, from the environment or a file that only its owner may read. Raises SealError."""
    if text := os.environ.get(KEY_VARIABLE, ""):
        return keyring_of(text, KEY_VARIABLE)
    place = os.environ.get(KEY_FILE_VARIABLE, "")
    if not place:
        raise SealError(
            f"there is no key for stored secrets: put 32 bytes in Base64 (openssl rand -base64 32) into "
            f"{KEY_VARIABLE}, or into a file that {KEY_FILE_VARIABLE} names"
        )
    path = Path(place)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_KEY_FILE_BYTES_MAX).decode("ascii", "replace")
    except OSError as fault:
        raise SealError(f"the key file {path} cannot be read: {fault.strerror}; look at {KEY_FILE_VARIABLE}") from None
    if mode & 0o077:
        raise SealError(f"others may read the key file {path} (mode {mode:o}): chmod 600 {path}")
    return keyring_of(text, str(path))
