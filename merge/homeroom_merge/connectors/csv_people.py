"""Joins that OneRoster and SDS v2.1 share: organisations by kind, people by role, what stands where."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from homeroom_merge.connectors.csv_orgs import Organizations
from homeroom_merge.connectors.csv_tables import Cells, Join, Refused, Spread, Tables
from homeroom_merge.formatters.flat import AUTHORITY, RELATION, SCHOOL, SESSION, STUDENT
from homeroom_merge.formatters.formatter import YEAR, Row
from homeroom_merge.formatters.keys import code_key

ROLES = "roles"
ORGS = Organizations("orgs", "sourcedId", "identifier")
_PLACE_COLUMNS = ("schoolSourcedId", "orgSourcedId", "primaryOrgSourcedId")


def org_of_kind(kind: str) -> Join:
    """Organisations of one kind; schools with the authority above them."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        if tables.word("OrgKind", row.get("type")) == kind and ORGS.identify(tables, row, kind):
            above = ORGS.place_of(tables, row.get("parentSourcedId"))
            if kind == "School" and above is not None and above[0] == "SchoolAuthority":
                row[AUTHORITY] = above[1]
            yield row

    return join


def placed(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """A row with its organisation, whichever column names it."""
    ORGS.place(tables, row, row.get("orgSourcedId") or row.get("schoolSourcedId"))
    yield row


def with_class(tables: Tables, row: dict[str, object], section: Cells, year: str) -> Iterator[dict[str, object]]:
    """An enrolment with the school and the school year of its class."""
    ORGS.place(tables, row, row.get("schoolSourcedId") or section.get("orgSourcedId") or section.get("schoolSourcedId"))
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
            ORGS.place(tables, row, _primary(row, roles))
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
            ORGS.place(tables, row, _primary(row, roles))
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
    ORGS.place(tables, with_place, role.get("orgSourcedId"))
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
            ORGS.place(tables, joined, _primary({}, roles))
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
            return {file: [_pointed(row, file, tables)], **files}

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
    row = dict(_pointed({**cells, "userSourcedId": user.get("sourcedId")}, ROLES, tables))
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


def org_rows(kind: str) -> Spread:
    """How an organisation is written."""

    def spread(row: dict[str, object], tables: Tables) -> Mapping[str, Sequence[Row]]:
        cells = ORGS.own_row(tables, row, kind)
        return {"orgs": [ORGS.put_back(tables, cells, "parentSourcedId") if kind == "School" else cells]}

    return spread


def own_id_of(kind: str) -> Callable[[Tables, str], str]:
    """What the file has as the key of an organisation."""
    return lambda tables, number: ORGS.own_id(tables, kind, number)


def _pointed(row: Row, file: str, tables: Tables) -> Row:
    """The row with its organisation in the column that names it, where its file has one."""
    if file == "users" and not _has_moved(row, tables):
        titles: Sequence[str] = ()  # a user's place is told by roles, too
    else:
        titles = [title for title in tables.sheets[file].columns if title] if file in tables.sheets else ()
    column = next((title for title in _PLACE_COLUMNS if title in titles), "")
    return ORGS.put_back(tables, row, column)


def _has_moved(user: Row, tables: Tables) -> bool:
    """Whether a student's row names another school than the files do."""
    roles = roles_of(tables, user.get("sourcedId"), "Student")
    return bool(roles and user.get(SCHOOL)) and ORGS.place_of(tables, _primary(user, roles)) != ("School", user[SCHOOL])


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
