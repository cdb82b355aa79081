"""Staff, students and their contacts."""

from collections.abc import Callable

from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.edfi.common import (
    ADDRESSES,
    AUTHORITY,
    EMAILS,
    OTHER_NAMES,
    PHONES,
    RACES,
    SCHOOL,
    STUDENT,
    identifiers,
    names,
    owner,
)
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Number, SetOf, Text
from homeroom_merge.formatters.members import Items, member
from homeroom_merge.values import Json


def role_id(role: Json) -> str:
    """The item key of a staff member's role: where, as what and since when, which is its identity in Ed-Fi."""
    organization = role.get("schoolId", role.get("authorityId", ""))
    return code_key(str(organization), str(role.get("role", "")), str(role.get("beginDate", "")))


_ROLES = Items(
    (
        member("schoolId", Id(), SCHOOL),
        member("authorityId", Id(), AUTHORITY),
        member("role", Code("StaffClassificationDescriptor"), "StaffClassification"),
        member("title", Text(), "PositionTitle"),
        member("beginDate", Day(), "BeginDate"),
        member("endDate", Day(), "EndDate"),
    ),
    key="roleId",
    compose=role_id,
)
_STAFF = (
    member("staffNumber", Text(), "StaffUniqueId"),
    *names(),
    member("sex", Code("SexDescriptor"), "Sex"),
    member("birthDate", Day(), "BirthDate"),
    member("isHispanicLatino", Flag(), "HispanicLatinoEthnicity"),
    member("races", RACES, "Race"),
    member("username", Text(), "LoginId"),
    member("levelOfEducation", Code("LevelOfEducationDescriptor"), "HighestCompletedLevelOfEducation"),
    member("yearsOfTeaching", Number(), "YearsOfPriorTeachingExperience"),
    member("yearsOfExperience", Number(), "YearsOfPriorProfessionalExperience"),
    member("isHighlyQualified", Flag(), "HighlyQualifiedTeacher"),
    member("roles", _ROLES, "StaffEducationOrganizationAssignmentAssociation"),
    member("identifiers", identifiers("StaffIdentificationSystem"), "StaffIdentificationCode"),
    member("emails", EMAILS, "ElectronicMail"),
    member("phones", PHONES, "Telephone"),
    member("addresses", ADDRESSES, "Address"),
)
_STUDENT = (
    member("studentNumber", Text(), "StudentUniqueId"),
    *names(),
    member("birthDate", Day(), "BirthData/BirthDate"),
    member("birthSex", Code("SexDescriptor"), "BirthData/BirthSex"),
    member("birthCity", Text(), "BirthData/BirthCity"),
    member("birthState", Code("StateAbbreviationDescriptor"), "BirthData/BirthStateAbbreviation"),
    member("birthCountry", Code("CountryDescriptor"), "BirthData/BirthCountry"),
    member("citizenshipStatus", Code("CitizenshipStatusDescriptor"), "Citizenship/CitizenshipStatus"),
    member("visas", SetOf(Code("VisaDescriptor")), "Citizenship/Visa"),
)
_CONTACT = (
    member("studentId", Id(), STUDENT),
    member("contactNumber", Text(), "ContactReference/ContactIdentity/ContactUniqueId", "Contact/ContactUniqueId"),
    *names("Contact/"),
    member("sex", Code("SexDescriptor"), "Contact/Sex"),
    member("relation", Code("RelationDescriptor"), "Relation"),
    member("isPrimary", Flag(), "PrimaryContactStatus"),
    member("livesWith", Flag(), "LivesWith"),
    member("isEmergencyContact", Flag(), "EmergencyContactStatus"),
    member("isLegalGuardian", Flag(), "LegalGuardian"),
    member("priority", Number(), "ContactPriority"),
    member("levelOfEducation", Code("LevelOfEducationDescriptor"), "Contact/HighestCompletedLevelOfEducation"),
    member("username", Text(), "Contact/LoginId"),
    member("otherNames", OTHER_NAMES, "Contact/OtherName"),
    member("emails", EMAILS, "Contact/ElectronicMail"),
    member("phones", PHONES, "Contact/Telephone"),
    member("addresses", ADDRESSES, "Contact/Address"),
)


def staff(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter(
        "Staff", _STAFF, codes, key=("staffNumber",), owner=_employer, number=_number("staffNumber")
    )


def student(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter(
        "Student", _STUDENT, codes, key=("studentNumber",), owner=owner, number=_number("studentNumber")
    )


def contact(codes: Codes) -> DeclaredFormatter:
    """One contact of one student: a parent of three is three records, each seen where its student is."""
    return DeclaredFormatter("Contact", _CONTACT, codes, key=("studentId", "contactNumber"), owner=owner)


def _employer(body: Json, row: Row) -> str | None:
    """The school of all roles; with none or several, the authority."""
    schools = {role.get("schoolId") for role in body.get("roles", [])}
    authorities = {role["authorityId"] for role in body.get("roles", []) if "authorityId" in role}
    if len(schools) == 1 and (school := schools.pop()) is not None:
        return owner({"schoolId": school}, row)
    return owner({"authorityId": min(authorities)} if authorities else {}, row)


def _number(name: str) -> Callable[[Json], str | None]:
    return lambda body: body.get(name)
