"""Ed-Fi interchange records, Data Standards 3.3 to 5.2, and the roster catalogue's entities."""

from collections.abc import Mapping

from homeroom_merge.formatters.codes import Codes, Unwritable
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.edfi import organizations, people, schedule
from homeroom_merge.formatters.edfi.codes import load_codes
from homeroom_merge.formatters.keys import code_key

__all__ = ["Codes", "DeclaredFormatter", "Unwritable", "code_key", "edfi_formatters", "load_codes"]


def edfi_formatters(codes: Codes) -> Mapping[str, DeclaredFormatter]:
    """A formatter for each entity, by its name, in the order in which records refer to each other."""
    formatters = (
        organizations.school_authority(codes),
        organizations.school(codes),
        organizations.course(codes),
        people.student(codes),
        people.staff(codes),
        people.contact(codes),
        schedule.school_enrolment(codes),
        schedule.section(codes),
        schedule.staff_section(codes),
        schedule.course_enrolment(codes),
    )
    return {formatter.entity: formatter for formatter in formatters}
