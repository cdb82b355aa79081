"""The file in which an operator names schools, authorities and the ministry (architecture 6)."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from homeroom.protocol import ORGANIZATION_CODE

_HEADER = ["code", "name", "parent"]
_RANK = {"S": 0, "A": 1, "O": 2}
_ROWS_MAX = 100_000
_NAME_LENGTH_MAX = 200


class OrganizationsError(Exception):
    """A file of organisations that cannot be loaded; the message gives every fault with its line number."""


@dataclass(frozen=True, slots=True)
class Organization:
    """`parent` is the code of what it belongs to, or empty."""

    code: str
    name: str
    parent: str


def parse_organizations(text: str, known: Mapping[str, str]) -> list[Organization]:
    """The rows of a CSV `code,name,parent`, parents before their children.

    `known` maps codes already in the Core to their parents: a row may name them as parent.
    Raises OrganizationsError for unknown parents, doubled codes and codes of the wrong form.
    """
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    if not rows or [cell.strip() for cell in rows[0]] != _HEADER:
        raise OrganizationsError(f"line 1: the first line must be {','.join(_HEADER)}")
    if len(rows) > _ROWS_MAX:
        raise OrganizationsError(f"more than {_ROWS_MAX} lines")
    faults: list[str] = []
    found: dict[str, tuple[int, Organization]] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(_HEADER):
            faults.append(f"line {line}: has {len(row)} columns instead of {len(_HEADER)}")
            continue
        organization = Organization(*(cell.strip() for cell in row))
        faults += [f"line {line}: {fault}" for fault in _faults_of(organization)]
        if organization.code in found:
            faults.append(f"line {line}: {organization.code} stands already on line {found[organization.code][0]}")
        found.setdefault(organization.code, (line, organization))
    faults += [
        f"line {line}: the parent {organization.parent} is not known"
        for line, organization in found.values()
        if organization.parent and organization.parent not in found and organization.parent not in known
    ]
    if faults:
        raise OrganizationsError("nothing was loaded:\n" + "\n".join(f"  {fault}" for fault in faults))
    return sorted((organization for _, organization in found.values()), key=lambda o: -_RANK[o.code[0]])


def _faults_of(organization: Organization) -> list[str]:
    code, parent = organization.code, organization.parent
    faults = []
    if not ORGANIZATION_CODE.fullmatch(code):
        faults.append(f"{code!r} is no organisation code (S.… or A.… with 1-32 letters or digits, O. with a number)")
    elif parent and ORGANIZATION_CODE.fullmatch(parent) and _RANK[parent[0]] <= _RANK[code[0]]:
        faults.append(f"{code} cannot belong to {parent}: schools belong to authorities, these to the ministry")
    if not organization.name or len(organization.name) > _NAME_LENGTH_MAX or "\0" in organization.name:
        faults.append(f"the name must have 1 to {_NAME_LENGTH_MAX} characters")
    return faults
