"""Ed-Fi XML interchange files."""

from pathlib import Path

from homeroom_merge.connectors.edfi import EdfiFolder
from homeroom_merge.formatters.edfi import edfi_formatters, load_codes
from homeroom_merge.sources.source import Said, Source, codes_of


def files(said: Said) -> Source:
    """A folder of interchange files."""
    return Source(EdfiFolder(Path(said["folder"])), edfi_formatters(codes_of(load_codes, said)))
