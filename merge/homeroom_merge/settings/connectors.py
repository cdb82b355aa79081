"""What each kind of connector needs to be told: checked in settings, explained in the file of a new feed."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a connector, a text. `default`: None where it must be given."""

    name: str
    about: str
    example: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectorKind:
    """A way to reach a SIS. `secrets`: what it needs besides, each named as an environment variable."""

    about: str
    formatter: str
    options: tuple[Option, ...]
    secrets: Mapping[str, str]


_FOLDER = Option("folder", "where the SIS drops its files", "/srv/sis-exports")
_CODES = Option("codes", "a TOML file of codes of your own, above those that ship", "codes.toml", "")
_MAPPING = Option("mapping", "a TOML file that names the column of each field", "mapping.toml", "")

KINDS: Mapping[str, ConnectorKind] = {
    "csv": ConnectorKind(
        "a folder of CSV files: OneRoster 1.2, Microsoft SDS, or free-form with a mapping",
        "oneroster",
        (
            _FOLDER,
            _MAPPING,
            _CODES,
            Option("encoding", "of the files; empty: found out", "windows-1252", ""),
            Option("drop_folder", "where files for the SIS are put; empty: the SIS is not written", "/srv/sis-in", ""),
        ),
        {},
    ),
    "edfi": ConnectorKind("a folder of Ed-Fi interchange XML files", "edfi", (_FOLDER, _CODES), {}),
    "sql": ConnectorKind(
        "the SIS's database, by any SQLAlchemy URL",
        "mapping",
        (
            Option("url", "without a password, which is a secret", "postgresql+psycopg://reader@sis.example/sis"),
            Option("mapping", "a TOML file that names the table and column of each field", "mapping.toml"),
        ),
        {"sis_password": "SIS_PASSWORD"},
    ),
    "oneroster": ConnectorKind(
        "a OneRoster 1.2 REST service",
        "oneroster",
        (
            Option("url", "of the service", "https://sis.example.org/ims/oneroster/rostering/v1p2"),
            Option("token_url", "where access tokens are fetched", "https://sis.example.org/oauth/token"),
        ),
        {"sis_client_id": "SIS_CLIENT_ID", "sis_client_secret": "SIS_CLIENT_SECRET"},
    ),
}
