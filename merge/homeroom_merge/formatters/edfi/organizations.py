"""Schools, authorities and courses."""

from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.edfi.common import (
    ADDRESSES,
    AUTHORITY,
    COURSE_KEY,
    GRADE_LEVELS,
    SCHOOL,
    SUBJECTS,
    identifiers,
    owner,
)
from homeroom_merge.formatters.keys import code_key, organization_code
from homeroom_merge.formatters.kinds import Code, Flag, Id, Number, SetOf, Text
from homeroom_merge.formatters.members import Items, member
from homeroom_merge.values import Json

_PHONES = Items(
    (
        member("type", Code("InstitutionTelephoneNumberTypeDescriptor"), "InstitutionTelephoneNumberType"),
        member("number", Text(), "TelephoneNumber"),
    )
)
_ORGANIZATION = (
    member("name", Text(), "NameOfInstitution"),
    member("shortName", Text(), "ShortNameOfInstitution"),
    member("operationalStatus", Code("OperationalStatusDescriptor"), "OperationalStatus"),
    member("website", Text(), "WebSite"),
    member(
        "identifiers",
        identifiers("EducationOrganizationIdentificationSystem"),
        "EducationOrganizationIdentificationCode",
    ),
    member("addresses", ADDRESSES, "Address"),
    member("phones", _PHONES, "InstitutionTelephone"),
)
_SCHOOL = (
    *_ORGANIZATION,
    member("schoolNumber", Text(), "SchoolId"),
    member("authorityId", Id(), AUTHORITY),
    member("schoolType", Code("SchoolTypeDescriptor"), "SchoolType"),
    member("schoolCategories", SetOf(Code("SchoolCategoryDescriptor")), "SchoolCategory"),
    member("gradeLevels", GRADE_LEVELS, "GradeLevel"),
    member("charterStatus", Code("CharterStatusDescriptor"), "CharterStatus"),
    member("titleOneStatus", Code("TitleIPartASchoolDesignationDescriptor"), "TitleIPartASchoolDesignation"),
    member("fundingControl", Code("AdministrativeFundingControlDescriptor"), "AdministrativeFundingControl"),
)
_AUTHORITY = (
    *_ORGANIZATION,
    member("authorityNumber", Text(), "LocalEducationAgencyId"),
    member("category", Code("LocalEducationAgencyCategoryDescriptor"), "LocalEducationAgencyCategory"),
    member(
        "parentAuthorityId",
        Id(),
        "ParentLocalEducationAgencyReference/LocalEducationAgencyIdentity/LocalEducationAgencyId",
    ),
)
_COURSE = (
    member("courseCode", Text(), "CourseCode"),
    member("title", Text(), "CourseTitle"),
    member("schoolId", Id(), SCHOOL),
    member("authorityId", Id(), AUTHORITY),
    member("description", Text(), "CourseDescription"),
    member("subjects", SUBJECTS, "AcademicSubject"),
    member("gradeLevels", GRADE_LEVELS, "OfferedGradeLevel"),
    member("levelCharacteristics", SetOf(Code("CourseLevelCharacteristicDescriptor")), "CourseLevelCharacteristic"),
    member("parts", Number(), "NumberOfParts"),
    member("definedBy", Code("CourseDefinedByDescriptor"), "CourseDefinedBy"),
    member("gpaApplicability", Code("CourseGPAApplicabilityDescriptor"), "CourseGPAApplicability"),
    member("isHighSchoolRequirement", Flag(), "HighSchoolCourseRequirement"),
    member("maximumCredits", Number(), "MaximumAvailableCredits/Credits"),
    member("learningStandards", SetOf(Text()), "LearningStandardReference/LearningStandardIdentity/LearningStandardId"),
    member("identifiers", identifiers("CourseIdentificationSystem"), "CourseIdentificationCode"),
)


def school(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter(
        "School",
        _SCHOOL,
        codes,
        key=("schoolNumber",),
        owner=lambda body, row: organization_code("S", body.get("schoolNumber", "")),
        number=lambda body: body.get("schoolNumber"),
    )


def school_authority(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter(
        "SchoolAuthority",
        _AUTHORITY,
        codes,
        key=("authorityNumber",),
        owner=lambda body, row: organization_code("A", body.get("authorityNumber", "")),
        number=lambda body: body.get("authorityNumber"),
    )


def course(codes: Codes) -> DeclaredFormatter:
    return DeclaredFormatter("Course", _COURSE, codes, key=COURSE_KEY, owner=owner, number=_district_number)


def _district_number(body: Json) -> str | None:
    """The district's own code with the organisation: it stays when a course's code is given anew."""
    organization = body.get("schoolId", body.get("authorityId"))
    code = next((one.get("code") for one in body.get("identifiers", []) if one.get("system") == "district"), None)
    return code_key(code, organization) if code and organization else None
