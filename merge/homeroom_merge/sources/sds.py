"""Microsoft SDS, version 1 and 2.1."""

from homeroom_merge.connectors.csv_sds import sds_v1, sds_v2
from homeroom_merge.formatters.sds import load_codes, sds_v1_formatters, sds_v2_formatters
from homeroom_merge.sources.csv_files import csv_source
from homeroom_merge.sources.source import Said, Source, codes_of


def files_v1(said: Said) -> Source:
    """A folder of version 1."""
    codes = codes_of(load_codes, said)
    return csv_source(said, sds_v1(codes.lists), sds_v1_formatters(codes))


def files_v2(said: Said) -> Source:
    """A folder of version 2.1."""
    codes = codes_of(load_codes, said)
    return csv_source(said, sds_v2(codes.lists), sds_v2_formatters(codes))
