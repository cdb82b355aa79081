"""What a feed keeps to itself: each secret stands in the environment variable that its settings name."""

import os
from collections.abc import Mapping

from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.model import Settings


class MissingSecretError(Exception):
    """A secret that has to be there and is not; the message says where it belongs."""


def secret_of(settings: Settings, name: str, *, optional: bool = False) -> str:
    """Raises MissingSecretError where it is empty, unless that is allowed."""
    variable = settings.secrets[name]
    found = os.environ.get(variable, "")
    if not found and not optional:
        raise MissingSecretError(f"the environment variable {variable} is empty: it is to hold the {name} of this feed")
    return found


def secrets_of_connector(settings: Settings) -> Mapping[str, str]:
    """What its connector needs, by name; a database may do without a password. Raises MissingSecretError."""
    names = KINDS[settings.connector.kind].secrets
    return {name: secret_of(settings, name, optional=name == "sis_password") for name in names}
