"""Ed-Fi interchange files of a few lines, and what is fetched of them."""

from collections.abc import Sequence
from pathlib import Path

from homeroom_merge.connectors.connector import Fetch, SourceRow
from homeroom_merge.connectors.edfi import EdfiFolder

NAMESPACE = "http://ed-fi.org/5.2.0"
ORGANIZATIONS = """
<LocalEducationAgency id="LEA"><NameOfInstitution>Elk</NameOfInstitution>
<LocalEducationAgencyId>9</LocalEducationAgencyId></LocalEducationAgency>
<School id="SCHOOL"><NameOfInstitution>Raven</NameOfInstitution><SchoolId>91</SchoolId>
<LocalEducationAgencyReference ref="LEA"/></School>
"""


def student(number: str, *more: str) -> str:
    named = "<Name><FirstName>Ada</FirstName><LastSurname>Bear</LastSurname></Name>"
    return f"<Student><StudentUniqueId>{number}</StudentUniqueId>{named}{''.join(more)}</Student>\n"


def put(folder: Path, interchange: str, content: str, namespace: str = NAMESPACE, name: str = "") -> Path:
    """An interchange file of this content in a folder."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Interchange{interchange} xmlns="{namespace}" '
    text += f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n{content}</Interchange{interchange}>\n'
    path = folder / f"{name or interchange}.xml"
    path.write_text(text, encoding="utf-8")
    return path


async def fetched(folder: Path, entity: str) -> tuple[Fetch, Sequence[SourceRow]]:
    """A whole fetch: its rows, and what is known once they have ended."""
    fetch = await EdfiFolder(folder).fetch(entity)
    return fetch, [row async for row in fetch.rows]
