"""URLs in settings, which are stored and shown."""

import re
from urllib.parse import urlsplit

from homeroom_merge.toml_tables import Table

_PASSWORD = re.compile(r"[?&;](password|passwd|pwd|token|secret|api_?key)=", re.IGNORECASE)


def read_url(table: Table, key: str, example: str, default: str | None = None) -> str:
    """A URL, which must not carry a password."""
    url = table.text(key, default, example)
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.password or _PASSWORD.search(url):
        table.fault(key, "there is a password in this URL", "take it out and name it under [secrets]")
    elif url and not parts.scheme:
        table.fault(key, "this is no URL", f'write {key} = "{example}"')
    return url
