"""OneRoster 1.2, as files and as a service."""

from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.connectors.oneroster_rest import OneRosterRest
from homeroom_merge.connectors.oneroster_service import Service
from homeroom_merge.formatters.oneroster import load_codes, oneroster_formatters
from homeroom_merge.sources.csv_files import csv_source
from homeroom_merge.sources.source import Said, Source, codes_of


def files(said: Said) -> Source:
    """A folder of its CSV files."""
    codes = codes_of(load_codes, said)
    return csv_source(said, oneroster(codes.lists), oneroster_formatters(codes))


def service(said: Said) -> Source:
    """The REST service of a SIS."""
    codes = codes_of(load_codes, said)
    reached = Service(said["url"], said["token_url"], said["sis_client_id"], said["sis_client_secret"])
    return Source(OneRosterRest(reached, oneroster(codes.lists)), oneroster_formatters(codes))
