"""Members that records of several entities share: names, addresses, phones, emails, identifiers, organisations."""

from collections.abc import Mapping

from homeroom_merge.formatters.codes import Codes, Unreadable
from homeroom_merge.formatters.edfi.codes import Descriptors
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import code_key, organization_code
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Number, SchoolYear, SetOf, Text
from homeroom_merge.formatters.members import Items, Member, member, read_members
from homeroom_merge.values import Json

SCHOOL = "SchoolReference/SchoolIdentity/SchoolId"
AUTHORITY = "LocalEducationAgencyReference/LocalEducationAgencyIdentity/LocalEducationAgencyId"
OFFERING = "CourseOfferingReference/CourseOfferingIdentity"
SESSION = f"{OFFERING}/SessionReference/SessionIdentity"
STUDENT = "StudentReference/StudentIdentity/StudentUniqueId"

ADDRESSES = Items(
    (
        member("type", Code("AddressTypeDescriptor"), "AddressType"),
        member("line1", Text(), "StreetNumberName"),
        member("line2", Text(), "ApartmentRoomSuiteNumber"),
        member("city", Text(), "City"),
        member("state", Code("StateAbbreviationDescriptor"), "StateAbbreviation"),
        member("postalCode", Text(), "PostalCode"),
        member("county", Text(), "NameOfCounty"),
        member("beginDate", Day(), "Period/BeginDate"),
        member("endDate", Day(), "Period/EndDate"),
    )
)
EMAILS = Items(
    (
        member("type", Code("ElectronicMailTypeDescriptor"), "ElectronicMailType"),
        member("address", Text(), "ElectronicMailAddress"),
        member("isPrimary", Flag(), "PrimaryEmailAddressIndicator"),
    )
)
PHONES = Items(
    (
        member("type", Code("TelephoneNumberTypeDescriptor"), "TelephoneNumberType"),
        member("number", Text(), "TelephoneNumber"),
        member("priority", Number(), "OrderOfPriority"),
        member("isTextCapable", Flag(), "TextMessageCapabilityIndicator"),
    )
)
OTHER_NAMES = Items(
    (
        member("type", Code("OtherNameTypeDescriptor"), "OtherNameType"),
        member("namePrefix", Text(), "PersonalTitlePrefix"),
        member("firstName", Text(), "FirstName"),
        member("middleName", Text(), "MiddleName"),
        member("lastName", Text(), "LastSurname"),
        member("nameSuffix", Text(), "GenerationCodeSuffix"),
    )
)
RACES = SetOf(Code("RaceDescriptor"))
SUBJECTS = SetOf(Code("AcademicSubjectDescriptor"))
GRADE_LEVELS = SetOf(Code("GradeLevelDescriptor"))


def names(at: str = "") -> tuple[Member, ...]:
    """A person's names, in `Name` below the record or the element that stands `at` a path."""
    elements = {
        "namePrefix": "PersonalTitlePrefix",
        "firstName": "FirstName",
        "middleName": "MiddleName",
        "lastName": "LastSurname",
        "nameSuffix": "GenerationCodeSuffix",
        "preferredFirstName": "PreferredFirstName",
        "preferredLastName": "PreferredLastSurname",
    }
    return tuple(member(name, Text(), f"{at}Name/{element}") for name, element in elements.items())


def identifiers(system: str) -> Items:
    """Identification codes by their system, whose element is named as its descriptor."""
    descriptor = Code(f"{system}Descriptor")
    return Items((member("system", descriptor, system), member("code", Text(), "IdentificationCode")))


def owner(body: Json, row: Row) -> str | None:
    """The school that a record names, or else the authority that it or the folder names."""
    school = body.get("schoolId")
    if isinstance(school, str):
        return organization_code("S", school)
    authority = body.get("authorityId", read_members((FOLDER,), row, Descriptors({}))[0].get("authorityId"))
    return organization_code("A", authority) if isinstance(authority, str) else None


FOLDER = member("authorityId", Id(), AUTHORITY)
"""The authority whose folder it is: the connector adds it to rows that name no organisation."""

OFFERED = (
    member("localCourseCode", Text(), f"{OFFERING}/LocalCourseCode"),
    member("schoolId", Id(), f"{OFFERING}/{SCHOOL}", f"{SESSION}/{SCHOOL}"),
    member("sessionName", Text(), f"{SESSION}/SessionName"),
    member("schoolYear", SchoolYear(), f"{SESSION}/SchoolYear"),
)
"""What an offering's identity says of a section; the school is said twice and must be the same."""
_SECTION = (member("sectionCode", Text(), "SectionIdentifier"), *OFFERED)


def section_key(identity: Mapping[str, object], codes: Codes) -> str:
    """The key of the section that a reference names."""
    return _key_of(identity, "SectionIdentity", _SECTION, codes, SECTION_KEY)


def course_key(identity: Mapping[str, object], codes: Codes) -> str:
    """The key of the course that a reference names."""
    return _key_of(identity, "CourseIdentity", _COURSE, codes, COURSE_KEY)


SECTION_KEY = ("sectionCode", "localCourseCode", "schoolId", "sessionName")
COURSE_KEY = ("courseCode", "schoolId|authorityId")
_COURSE = (
    member("courseCode", Text(), "CourseCode"),
    member("schoolId", Id(), SCHOOL),
    member("authorityId", Id(), AUTHORITY),
)


def _key_of(
    reference: Mapping[str, object], name: str, members: tuple[Member, ...], codes: Codes, key: tuple[str, ...]
) -> str:
    identity = reference.get(name)
    body, _, faults = read_members(members, identity if isinstance(identity, Mapping) else {}, codes)
    if faults:
        raise Unreadable(faults[0].detail, faults[0].cure)
    parts = [next((body[one] for one in names.split("|") if one in body), None) for names in key]
    if None in parts:
        raise Unreadable("names no record: its identity is not whole", "export the reference with its whole identity")
    return code_key(*(str(part) for part in parts))
