"""Joins that OneRoster and SDS v2.1 share: organisations by kind, people by role, what stands where."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from homeroom_merge.connectors.csv_tables import Cells, Join, Refused, Spread, Tables
from homeroom_merge.formatters.flat import AUTHORITY, RELATION, SCHOOL, SESSION, STUDENT
from homeroom_merge.formatters.formatter import YEAR, Row
from homeroom_merge.formatters.keys import code_key

ROLES = "roles"
_LETTERS = {"School": "S", "SchoolAuthority": "A"}
_PLACES = {"School": SCHOOL, "SchoolAuthority": AUTHORITY}
_UNPLACED = "rows of an organisation that is not in orgs.csv, or neither a school nor an authority"


def org_of_kind(kind: str) -> Join:
    """Organisations of one kind, with the authority above them."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        if tables.word("OrgKind", row.get("type")) == kind:
            above = tables.one("orgs", "sourcedId", row.get("parentSourcedId"))
            if tables.word("OrgKind", above.get("type")) == "SchoolAuthority":
                row[AUTHORITY] = above["sourcedId"]
            tables.own(row, _LETTERS[kind], row.get("identifier") or row.get("sourcedId"))
            yield row

    return join


def place(tables: Tables, row: dict[str, object], org_id: object, year: object = "") -> None:
    """Say in a row where it belongs: which school, or which authority."""
    org = tables.one("orgs", "sourcedId", org_id)
    kind = tables.word("OrgKind", org.get("type"))
    if kind in _PLACES:
        row[_PLACES[kind]] = org["sourcedId"]
        tables.own(row, _LETTERS[kind], org.get("identifier") or org["sourcedId"], year)
    else:
        tables.left_out[_UNPLACED] += bool(org_id)


def placed(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """A row with its organisation, whichever column names it."""
    place(tables, row, row.get("orgSourcedId") or row.get("schoolSourcedId"))
    yield row


def with_class(tables: Tables, row: dict[str, object], section: Cells, year: str) -> Iterator[dict[str, object]]:
    """An enrolment with the school and the school year of its class."""
    place(tables, row, row.get("schoolSourcedId") or section.get("orgSourcedId") or section.get("schoolSourcedId"))
    if year:
        row[YEAR] = year
    yield row


def roles_of(tables: Tables, user: object, kind: str) -> list[Cells]:
    """A person's roles of one kind, the primary one first."""
    found = tables.many(ROLES, "userSourcedId", user)
    mine = [role for role in found if tables.word("PersonKind", role.get("role")) == kind]
    return sorted(mine, key=lambda role: "primary" not in role.get("roleType", "") and not _is_true(role))


def _is_true(role: Cells) -> bool:
    return role.get("isPrimary", "").lower() == "true"


def students(by: str) -> Join:
    """Users with a student's role, where it is, their demographics and flags. `by`: the user, in demographics."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        user = row.get("sourcedId")
        if roles := roles_of(tables, user, "Student"):
            place(tables, row, _primary(row, roles))
            _beside(tables, row, by)
            if flags := tables.many("userFlags", "userSourcedId", user):
                row["flags"] = [{"flag": flag.get("flag", "")} for flag in flags]
            yield row
        elif not user:
            yield row  # whose it is nobody knows: its fault is told, and absence is not counted
        elif not tables.many(ROLES, "userSourcedId", user):
            tables.left_out["users without a role in this export, left out"] += 1

    return join


def staff(by: str) -> Join:
    """Users with roles of staff, each with its place. Who is a student too is both."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        if roles := roles_of(tables, row.get("sourcedId"), "Staff"):
            place(tables, row, _primary(row, roles))
            row[ROLES] = [_role(tables, role) for role in roles]
            _beside(tables, row, by)
            yield row
        elif not row.get("sourcedId"):
            yield row

    return join


def _primary(row: Row, roles: Sequence[Cells]) -> object:
    return row.get("primaryOrgSourcedId") or roles[0].get("orgSourcedId")


def _role(tables: Tables, role: Cells) -> dict[str, object]:
    with_place: dict[str, object] = dict(role)
    place(tables, with_place, role.get("orgSourcedId"))
    return with_place


def _beside(tables: Tables, row: dict[str, object], by: str) -> None:
    if demographics := tables.one("demographics", by, row.get("sourcedId")):
        row["demographics"] = dict(demographics)


def contacts(student: str, contact: str, relation: str) -> Join:
    """A row for each contact of a student, with what the users' file says of the contact."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        joined: dict[str, object] = dict(tables.one("users", "sourcedId", row.get(contact)))
        joined |= {STUDENT: row.get(student, ""), RELATION: row.get(relation, ""), "sourcedId": row.get(contact, "")}
        if roles := roles_of(tables, row.get(student), "Student"):
            place(tables, joined, _primary({}, roles))
        yield joined

    return join


Sessions = Callable[[Tables], Iterator[tuple[str, str, str]]]
"""Title, school year and id of each session."""


def spread_of(sessions: Sessions) -> Callable[..., Spread]:
    """How rows of a file are written: what other files told goes back to them, or to the columns that point there.

    `role`: that of users who are new.
    """

    def of_file(file: str, role: str = "") -> Spread:
        def spread(row: dict[str, object], tables: Tables) -> Mapping[str, Sequence[Row]]:
            files: dict[str, list[Row]] = {}
            if isinstance(demographics := row.pop("demographics", None), dict):
                files["demographics"] = [_keyed(demographics, row, tables)]
            roles = row.pop(ROLES, None)
            if isinstance(roles, list | dict):
                listed = roles if isinstance(roles, list) else [roles]
                files[ROLES] = [_role_row(one, row, tables) for one in listed]
            elif role and not tables.one("users", "sourcedId", row.get("sourcedId")):
                first = {"role": role, "roleType": "primary", SCHOOL: row.get(SCHOOL, "")}
                files[ROLES] = [_role_row(first, row, tables)]
            if isinstance(flags := row.pop("flags", None), list | dict):
                of_user = flags if isinstance(flags, list) else [flags]
                files["userFlags"] = [{**flag, "userSourcedId": row.get("sourcedId")} for flag in of_user]
            if file == "classes":
                _point_to_session(row, sessions, tables)
            return {file: [_pointed(row, file)], **files}

        return spread

    return of_file


def _keyed(cells: Row, user: Row, tables: Tables) -> Row:
    key = "userSourcedId" if "demographics" in tables.sheets and _by_user(tables) else "sourcedId"
    return {**cells, key: user.get("sourcedId")}


def _by_user(tables: Tables) -> bool:
    return "userSourcedId" in tables.sheets["demographics"].columns


def _role_row(role: object, user: Row, tables: Tables) -> Row:
    """A role's row, with the id that the export has for it or a new one, where roles have such."""
    cells: dict[str, object] = dict(role) if isinstance(role, dict) else {}
    row = dict(_pointed({**cells, "userSourcedId": user.get("sourcedId")}, ROLES))
    sheet = tables.sheets.get(ROLES)
    if row.get("sourcedId") or sheet is None or "sourcedId" not in sheet.columns:
        return row
    parts = [str(row.get(title, "")) for title in ("userSourcedId", "orgSourcedId", "role")]
    same = [
        one["sourcedId"]
        for one in tables.many(ROLES, "userSourcedId", parts[0])
        if [one.get("orgSourcedId"), one.get("role")] == parts[1:]
    ]
    return {**row, "sourcedId": same[0] if same else code_key(*parts)}


def _pointed(row: Row, file: str) -> Row:
    """The row with its organisation in the column that names it, where that is one of either kind."""
    cells = dict(row)
    above = cells.pop(AUTHORITY, None)
    school = cells.pop(SCHOOL, None)
    if file == "orgs":
        cells |= {"parentSourcedId": above} if above else {}
    elif file in ("courses", ROLES) and (school or above):
        cells["orgSourcedId"] = school or above
    return cells


def _point_to_session(row: dict[str, object], sessions: Sessions, tables: Tables) -> None:
    """A class that names no session gets that of its title and school year. Raises Refused."""
    column = next((each for each in ("termSourcedIds", "sessionSourcedIds") if each in row), "")
    if column and row[column]:
        return
    found = [one for title, year, one in sessions(tables) if (title, year) == (row.get(SESSION), row.get(YEAR))]
    if len(found) != 1:
        raise Refused("the export has no academic session of that title and school year; add it to the SIS first")
    titles = tables.sheets["classes"].columns if "classes" in tables.sheets else ()
    row["sessionSourcedIds" if "sessionSourcedIds" in titles else "termSourcedIds"] = found[0]
