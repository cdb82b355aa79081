"""Records are found by id, by student, or by code; each search is noted."""

from urllib.parse import quote

from starlette.responses import Response

from homeroom.errors import HomeroomError
from homeroom.protocol import NotificationType
from homeroom_merge.console.frame.files import PER_PAGE, as_file, asked_for, camel, is_file, limits, page_number
from homeroom_server.catalogue import Audience, Catalogue, TypeDefinition
from homeroom_server.console.visit import Visit
from homeroom_server.rule_set import id_or_none
from homeroom_server.store import found_records
from homeroom_server.store.found_records import FoundRow

_COLUMNS = [camel(name) for name in FoundRow._fields]


async def records(visit: Visit) -> Response:
    """What has the id `?q=`, and what names that student; `?type=` of one type; `?as=csv` or `json` as a file."""
    wanted, of_type = asked_for(visit.request, "q").strip(), asked_for(visit.request, "type").strip()
    found: list[FoundRow] = []
    if wanted:
        await visit.note(f"looked for {wanted}" + (f" in {of_type}" if of_type else ""))
        found = await _find(visit, wanted, of_type)
        if is_file(visit.request):
            return as_file(visit.request, "records", _COLUMNS, [_told(each) for each in found])
    return visit.page(
        "records.html",
        wanted=wanted,
        of_type=of_type,
        types=list(visit.services.catalogue.types),
        rows=[(each, type_of(each.type_name, each.school_year)) for each in found[:PER_PAGE]],
        place_of=place_of,
        number=page_number(visit.request),
        has_more=len(found) > PER_PAGE,
    )


async def _find(visit: Visit, wanted: str, of_type: str) -> list[FoundRow]:
    catalogue = visit.services.catalogue
    student = id_or_none(wanted)
    asked = _asked(catalogue, of_type) if of_type else (list(catalogue.types.values()), None)
    if student is None or asked is None:
        return []
    definitions, school_year = asked
    ids = [(each.name, found) for each in definitions if (found := each.canonical_id(wanted)) is not None]
    of_student = [each.name for each in definitions if each.student is not None]
    async with visit.services.console_pool.acquire() as connection:
        return await found_records.find(
            connection,
            visit.scope,
            public_types(catalogue),
            ids,
            of_student,
            student,
            school_year,
            *limits(visit.request),
        )


def _asked(catalogue: Catalogue, of_type: str) -> tuple[list[TypeDefinition], int | None] | None:
    """The type meant, and of which year if it says; None: there is no such type."""
    try:
        asked, definition = catalogue.resolve_in_any_year(of_type)
    except HomeroomError:
        return None
    return [definition], asked.school_year


def public_types(catalogue: Catalogue) -> list[str]:
    """Types that everybody sees."""
    return [name for name, definition in catalogue.types.items() if definition.audience is Audience.PUBLIC]


def type_of(name: str, school_year: int) -> NotificationType:
    """With its year, where it has one."""
    return NotificationType(name, school_year or None)


def place_of(notification_type: NotificationType, record_id: str) -> str:
    """Where a record's page is. An id of dots alone would be a step in a path."""
    page = f"/console/records/{notification_type}"
    return f"{page}?id={record_id}" if not record_id.strip(".") else f"{page}/{quote(record_id)}"


def _told(each: FoundRow) -> dict[str, object]:
    return dict(zip(_COLUMNS, each, strict=True))
