"""Exports of the same ten teachers of Raven school in every format, as text that a test may spoil."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.merge.interchanges import NAMESPACE

COUNT = 10
_YEAR = "2026-09-01"
_MAPPING = """
[Staff]
file = "teachers.csv"
key = ["Id"]
complete = true
school_column = "School"
number = "staffNumber"

[Staff.fields]
staffNumber = "Number"
firstName = "Given"
lastName = "Family"
username = "User"
sex = {column = "Sex", codes = "Sex"}

[codes.Sex]
F = "female"
"""
_ONEROSTER_MANIFEST = "propertyName,value\nmanifest.version,1.0\noneroster.version,1.2\n" + "".join(
    f"file.{name},bulk\n" for name in ("orgs", "roles", "users")
)


@dataclass(frozen=True)
class Teacher:
    """One row of the file that is spoilt."""

    id: str
    number: str
    first: str = "Ada"
    last: str = "Bear"
    user: str = "ada@elk.example"


@dataclass(frozen=True)
class Export:
    """A format: its settings, the file that teachers stand in, and what else is in the folder."""

    kind: str
    formatter: str
    file: str
    name: str
    """What the column of the first name is called."""
    user: str
    """And that of the user name."""
    head: str
    """What stands before the first teacher: one line, or two."""
    tail: str
    line: Callable[[Teacher], str]
    beside: Callable[[list[Teacher], str], Mapping[str, str]]
    """The other files: told who is there and which school's number it is."""

    @property
    def is_xml(self) -> bool:
        return self.file.endswith(".xml")

    def text(self, teachers: list[Teacher]) -> str:
        return self.head + "".join(map(self.line, teachers)) + self.tail

    def put(self, folder: Path, teachers: list[Teacher], content: bytes | None = None, school: str = "91") -> None:
        """An export of these teachers; `content`: what stands in their file instead."""
        for name, text in self.beside(teachers, school).items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
        text = self.text(teachers).replace("#school#", school)
        (folder / self.file).write_bytes(text.encode() if content is None else content)


def teachers(prefix: str = "t", **members: str) -> list[Teacher]:
    return [replace(Teacher(f"{prefix}{n}", f"{prefix}-{n}"), **members) for n in range(COUNT)]


def _oneroster(there: list[Teacher], school: str) -> Mapping[str, str]:
    orgs = f"sourcedId,name,type,identifier,parentSourcedId\na9,Elk,district,9,\ns{school},Raven,school,{school},a9\n"
    roles = "".join(f"r-{one.id},{one.id},primary,teacher,{_YEAR},,s{school}\n" for one in there)
    titles = "sourcedId,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId\n"
    return {"orgs.csv": orgs, "roles.csv": titles + roles, "manifest.csv": _ONEROSTER_MANIFEST}


def _sds(there: list[Teacher], school: str) -> Mapping[str, str]:
    orgs = f"sourcedId,name,type,parentSourcedId\n9,Elk,district,\n{school},Raven,school,9\n"
    roles = "".join(f"{one.id},{school},teacher,,,TRUE,{_YEAR},\n" for one in there)
    titles = "userSourcedId,orgSourcedId,role,sessionSourcedId,grade,isPrimary,roleStartDate,roleEndDate\n"
    return {"orgs.csv": orgs, "roles.csv": titles + roles}


def _edfi(there: list[Teacher], school: str) -> Mapping[str, str]:
    organizations = f"""<?xml version="1.0" encoding="UTF-8"?>
<InterchangeEducationOrganization xmlns="{NAMESPACE}">
<LocalEducationAgency id="LEA"><NameOfInstitution>Elk</NameOfInstitution>
<LocalEducationAgencyId>9</LocalEducationAgencyId></LocalEducationAgency>
<School id="SCHOOL"><NameOfInstitution>Raven</NameOfInstitution><SchoolId>{school}</SchoolId>
<LocalEducationAgencyReference ref="LEA"/></School>
</InterchangeEducationOrganization>
"""
    return {"EducationOrganization.xml": organizations}


def _edfi_line(one: Teacher) -> str:
    """A member of staff on one line, and where they work."""
    return (
        f"<Staff><StaffUniqueId>{one.number}</StaffUniqueId><Name><FirstName>{one.first}</FirstName>"
        f"<LastSurname>{one.last}</LastSurname></Name><LoginId>{one.user}</LoginId></Staff>"
        "<StaffEducationOrganizationAssignmentAssociation><StaffReference><StaffIdentity>"
        f"<StaffUniqueId>{one.number}</StaffUniqueId></StaffIdentity></StaffReference>"
        "<EducationOrganizationReference><EducationOrganizationIdentity><EducationOrganizationId>#school#"
        "</EducationOrganizationId></EducationOrganizationIdentity></EducationOrganizationReference>"
        "<StaffClassification>uri://ed-fi.org/StaffClassificationDescriptor#Teacher</StaffClassification>"
        f"<BeginDate>{_YEAR}</BeginDate></StaffEducationOrganizationAssignmentAssociation>\n"
    )


EXPORTS = {
    "oneroster": Export(
        "csv",
        "oneroster",
        "users.csv",
        "givenName",
        "username",
        "sourcedId,identifier,enabledUser,givenName,username,familyName\n",
        "",
        lambda one: f"{one.id},{one.number},true,{one.first},{one.user},{one.last}\n",
        _oneroster,
    ),
    "sds": Export(
        "csv",
        "sds-v2.1",
        "users.csv",
        "givenName",
        "username",
        "sourcedId,givenName,username,familyName\n",
        "",
        lambda one: f"{one.id},{one.first},{one.user},{one.last}\n",
        _sds,
    ),
    "mapping": Export(
        "csv",
        "mapping",
        "teachers.csv",
        "Given",
        "User",
        "Id,School,Number,Given,User,Family\n",
        "",
        lambda one: f"{one.id},#school#,{one.number},{one.first},{one.user},{one.last}\n",
        lambda there, school: {"mapping.toml": _MAPPING},
    ),
    "edfi": Export(
        "edfi",
        "edfi",
        "StaffAssociation.xml",
        "FirstName",
        "LoginId",
        f'<?xml version="1.0" encoding="UTF-8"?>\n<InterchangeStaffAssociation xmlns="{NAMESPACE}">\n',
        "</InterchangeStaffAssociation>\n",
        _edfi_line,
        _edfi,
    ),
}
