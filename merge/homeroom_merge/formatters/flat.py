"""What formatters of flat files share: who owns a row, and cells that other files of the export told."""

from homeroom_merge.formatters.formatter import OWNER, YEAR, Row
from homeroom_merge.formatters.kinds import Year
from homeroom_merge.formatters.members import column
from homeroom_merge.values import Json

# Cells that the connector joins to a row, told by other files of the export.
SCHOOL = "@school"
"""The number of its school, or its own: the hub knows organisations by number, whatever ids the files have for them."""
AUTHORITY = "@authority"
"""The number of its authority, or its own."""
STUDENT = "@student"
RELATION = "@relation"
SESSION = "@session"

SCHOOL_YEAR = column("schoolYear", Year(), YEAR)


def owner(body: Json, row: Row) -> str | None:
    """The organisation that the connector says a row belongs to."""
    code = row.get(OWNER)
    return code if isinstance(code, str) else None
