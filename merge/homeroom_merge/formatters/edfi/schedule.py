"""Sections, who teaches them, and who is enrolled."""

from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.edfi.common import (
    OFFERED,
    OFFERING,
    SCHOOL,
    SECTION_KEY,
    SESSION,
    STUDENT,
    course_key,
    owner,
    section_key,
)
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Number, Reference, SchoolYear, SetOf, Text
from homeroom_merge.formatters.members import member

_IN_SECTION = "SectionReference/SectionIdentity"
_SECTION_SCHOOL = member("schoolId", Id(), f"{_IN_SECTION}/{OFFERING}/{SCHOOL}", f"{_IN_SECTION}/{SESSION}/{SCHOOL}")
_SECTION_YEAR = member("schoolYear", SchoolYear(), f"{_IN_SECTION}/{SESSION}/SchoolYear")

_SECTION = (
    member("sectionCode", Text(), "SectionIdentifier"),
    *OFFERED,
    member("courseId", Reference(course_key), "CourseReference"),
    member("title", Text(), "SectionName"),
    member("sectionType", Code("SectionTypeDescriptor"), "SectionType"),
    member("sequence", Number(), "SequenceOfCourse"),
    member("credits", Number(), "AvailableCredits/Credits"),
    member("environment", Code("EducationalEnvironmentDescriptor"), "EducationalEnvironment"),
    member("location", Text(), "LocationReference/LocationIdentity/ClassroomIdentificationCode"),
    member("classPeriods", SetOf(Text()), "ClassPeriodReference/ClassPeriodIdentity/ClassPeriodName"),
    member("isOfficialAttendance", Flag(), "OfficialAttendancePeriod"),
)
_STAFF_SECTION = (
    member("staffId", Id(), "StaffReference/StaffIdentity/StaffUniqueId"),
    member("sectionId", Reference(section_key), "SectionReference"),
    _SECTION_SCHOOL,
    _SECTION_YEAR,
    member("role", Code("ClassroomPositionDescriptor"), "ClassroomPosition"),
    member("beginDate", Day(), "BeginDate"),
    member("endDate", Day(), "EndDate"),
)
_SCHOOL_ENROLMENT = (
    member("studentId", Id(), STUDENT),
    member("schoolId", Id(), SCHOOL),
    member("schoolYear", SchoolYear(), "SchoolYear"),
    member("gradeLevel", Code("GradeLevelDescriptor"), "EntryGradeLevel"),
    member("entryDate", Day(), "EntryDate"),
    member("entryType", Code("EntryTypeDescriptor"), "EntryType"),
    member("exitDate", Day(), "ExitWithdrawDate"),
    member("exitType", Code("ExitWithdrawTypeDescriptor"), "ExitWithdrawType"),
    member("isPrimary", Flag(), "PrimarySchool"),
    member("graduationYear", SchoolYear(), "ClassOfSchoolYear"),
)
_COURSE_ENROLMENT = (
    member("studentId", Id(), STUDENT),
    member("sectionId", Reference(section_key), "SectionReference"),
    _SECTION_SCHOOL,
    _SECTION_YEAR,
    member("entryDate", Day(), "BeginDate"),
    member("exitDate", Day(), "EndDate"),
    member("isHomeroom", Flag(), "HomeroomIndicator"),
)


def section(codes: Codes) -> DeclaredFormatter:
    """The identifier alone is shared by sections: the key has the course, the school and the session too."""
    return DeclaredFormatter("Section", _SECTION, codes, key=SECTION_KEY, owner=owner)


def staff_section(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter("StaffSection", _STAFF_SECTION, codes, key=("staffId", "sectionId"), owner=owner)


def school_enrolment(codes: Codes) -> DeclaredFormatter:
    key = ("studentId", "schoolId", "entryDate")
    return DeclaredFormatter("StudentSchoolEnrolment", _SCHOOL_ENROLMENT, codes, key=key, owner=owner)


def course_enrolment(codes: Codes) -> DeclaredFormatter:
    key = ("studentId", "sectionId", "entryDate")
    return DeclaredFormatter("CourseEnrolment", _COURSE_ENROLMENT, codes, key=key, owner=owner)
