"""Notification types: which exist, what their ids and bodies look like, who sees them."""

import importlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from homeroom.errors import Code, HomeroomError, error
from homeroom.protocol import STATUS_SUFFIX, NotificationType
from homeroom_server.json_schema import SchemaError, Validator, compile_schema
from homeroom_server.rule_set import ANY_ID, NO_RULES, RuleSet, id_or_none

_SHIPPED = Path(__file__).parent / "catalogues"
_TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_MEMBERS = {
    "school_year",
    "id_format",
    "audience",
    "student",
    "shared_when",
    "schema",
    "status",
    "association",
}
_ID_FORMS: Mapping[str, re.Pattern[str]] = {
    "uuid": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "asn": re.compile(r"[0-9]{9}"),
    "code": ANY_ID,
}
_ID_WORDS = {
    "uuid": "a UUID",
    "asn": "an ASN (nine digits)",
    "code": "a code (1-64 of A-Z a-z 0-9 . _ -)",
}


class CatalogueError(Exception):
    """A catalogue that does not hold together; the message lists every fault."""


class YearRule(StrEnum):
    REQUIRED = "required"
    NONE = "none"
    OPTIONAL = "optional"


class Audience(StrEnum):
    PUBLIC = "public"
    OWNER = "owner"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """One type of the catalogue. A status type has `source`, the type it is calculated from."""

    name: str
    school_year: YearRule
    id_format: str
    audience: Audience
    student: str | None = None
    shared_when: str | None = None
    association: Mapping[str, str] | None = None
    schema: Mapping[str, Any] | None = None
    validator: Validator | None = None
    rules: RuleSet | None = None
    source: str | None = None

    def canonical_id(self, text: str) -> str | None:
        """The id as it is stored (UUIDs in lower case), or None if it has not this type's form."""
        text = text.lower() if self.id_format == "uuid" else text
        return text if _ID_FORMS[self.id_format].fullmatch(text) else None

    @property
    def id_words(self) -> str:
        return _ID_WORDS[self.id_format]

    def student_of(self, record_id: str, body: Mapping[str, Any]) -> str | None:
        """The student that a record names, if its type says where."""
        if self.student is None:
            return None
        return id_or_none(record_id if self.student == "@id" else body.get(self.student))


class Catalogue:
    """All types by name; names are found in any spelling of their case."""

    def __init__(self, types: Iterable[TypeDefinition], open_school_years: tuple[int, int] | None = None) -> None:
        self.types = {definition.name: definition for definition in types}
        self.open_school_years = open_school_years
        self._by_folded = {name.lower(): definition for name, definition in self.types.items()}
        looked_at = {name for definition in self.types.values() for name in _looked_at(definition.rules)}
        self._triggering = looked_at | {name for name, definition in self.types.items() if definition.rules}

    def raises_triggers(self, name: str) -> bool:
        """Whether a change of a record of this type can change some status."""
        return name in self._triggering

    def dependants_of(self, name: str) -> list[str]:
        """The types whose rules look at all records of this type that name the same student."""
        return [d.name for d in self.types.values() if d.rules is not None and name in d.rules.of_student]

    def resolve(self, text: str) -> tuple[NotificationType, TypeDefinition]:
        """The type meant by `Type` or `Type.YYYY`, in canonical spelling.

        Raises FixRequest: 3005 unknown type, 3006 year not expected, 3008 year missing.
        """
        asked, definition = self.resolve_in_any_year(text)
        if definition.school_year is YearRule.REQUIRED and asked.school_year is None:
            raise error(Code.YEAR_MISSING, f"{definition.name} takes a school year: {definition.name}.YYYY")
        return asked, definition

    def resolve_in_any_year(self, text: str) -> tuple[NotificationType, TypeDefinition]:
        """As `resolve`, but the year may be left out: ids are unique per type across years."""
        try:
            asked = NotificationType.parse(text)
        except ValueError as fault:
            raise error(Code.UNKNOWN_TYPE, str(fault)) from fault
        definition = self._by_folded.get(asked.name.lower())
        if definition is None:
            raise error(Code.UNKNOWN_TYPE, f"there is no notification type {asked.name}")
        if definition.school_year is YearRule.NONE and asked.school_year is not None:
            raise error(Code.UNEXPECTED_YEAR, f"{definition.name} takes no school year")
        return NotificationType(definition.name, asked.school_year), definition

    def find(self, text: str) -> tuple[NotificationType, TypeDefinition] | HomeroomError:
        """As `resolve`, with the error returned, for those who gather all faults of a request."""
        try:
            return self.resolve(text)
        except HomeroomError as fault:
            return fault

    def year_is_open(self, school_year: int | None, this_year: int) -> bool:
        """Whether records of that school year may be written (9030)."""
        if school_year is None:
            return True
        first, last = self.open_school_years or (this_year - 3, this_year + 1)
        return first <= school_year <= last


def shipped_folder(name: str) -> Path:
    """Where a catalogue that ships lies, with its schemas; CatalogueError if none has this name."""
    if not _ships(name):
        names = sorted(folder.name for folder in _SHIPPED.iterdir() if _ships(folder.name))
        raise CatalogueError(f"no catalogue {name!r} ships, but {' and '.join(names)}")
    return _SHIPPED / name


def _ships(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9_]+", name) is not None and (_SHIPPED / name / "catalogue.toml").exists()


def load_catalogue(name: str) -> Catalogue:
    """The catalogue that ships under this name, or of the TOML file at this path.

    Raises CatalogueError with every fault: unknown members, wrong values, schemas or rules that do not load.
    """
    path = shipped_folder(name) / "catalogue.toml" if _ships(name) else Path(name)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise CatalogueError(f"the catalogue {path} cannot be read: {fault}") from fault
    faults: list[str] = []
    types = document.get("types")
    unknown = set(document) - {"types", "open_school_years"}
    faults += [f"{member}: unknown at the top" for member in sorted(unknown)]
    if not isinstance(types, dict) or not types:
        faults.append("types: a catalogue names at least one type")
        types = {}
    window = document.get("open_school_years")
    if window is not None and not _is_window(window):
        faults.append("open_school_years: takes two years, the first not above the last")
    definitions = [
        definition
        for type_name, members in types.items()
        for definition in _read_type(type_name, members, path.parent, faults)
    ]
    faults += _twice(definitions)
    if faults:
        raise CatalogueError(f"the catalogue {path} does not hold together:\n" + "\n".join(f"  {f}" for f in faults))
    return Catalogue(definitions, tuple(window) if window else None)


def _is_window(window: object) -> bool:
    return (
        isinstance(window, list)
        and len(window) == 2
        and all(type(year) is int for year in window)
        and window[0] <= window[1]
    )


def _read_type(name: str, members: object, folder: Path, faults: list[str]) -> list[TypeDefinition]:
    """The type and, if it has one, its status type; what is wrong goes to `faults`."""
    before = len(faults)
    if not _TYPE_NAME.fullmatch(name):
        faults.append(f"types.{name}: a name is a letter, then letters or digits")
    if not isinstance(members, dict):
        faults.append(f"types.{name}: takes a table")
        return []
    faults += [f"types.{name}.{member}: unknown" for member in sorted(set(members) - _MEMBERS)]
    faults += [
        f"types.{name}.{member}: {members.get(member)!r} is none of {', '.join(allowed)}"
        for member, allowed in (
            ("school_year", list(YearRule)),
            ("id_format", list(_ID_FORMS)),
            ("audience", list(Audience)),
        )
        if members.get(member) not in allowed
    ]
    faults += [
        f"types.{name}.{member}: takes a text"
        for member in ("student", "shared_when", "schema")
        if not isinstance(members.get(member, ""), str)
    ]
    needs_student = [m for m in ("shared_when", "association") if m in members]
    if members.get("audience") == Audience.STUDENT:
        needs_student.append('audience "student"')
    if needs_student and "student" not in members:
        faults.append(f"types.{name}.student: needed for {', '.join(needs_student)}")
    association = members.get("association")
    if association is not None and (
        not isinstance(association, dict) or set(association) != {"school", "start", "end"}
    ):
        faults.append(f"types.{name}.association: takes school, start and end")
    schema, validator = _read_schema(name, members.get("schema"), folder, faults)
    rules = _read_rules(name, members.get("status", False), faults)
    if len(faults) > before:
        return []
    definition = TypeDefinition(
        name=name,
        school_year=YearRule(members["school_year"]),
        id_format=members["id_format"],
        audience=Audience(members["audience"]),
        student=members.get("student"),
        shared_when=members.get("shared_when"),
        association=association,
        schema=schema,
        validator=validator,
        rules=rules,
    )
    return [definition] if rules is None else [definition, _status_of(definition)]


def _status_of(source: TypeDefinition) -> TypeDefinition:
    return TypeDefinition(
        name=source.name + STATUS_SUFFIX,
        school_year=source.school_year,
        id_format=source.id_format,
        audience=source.audience,
        source=source.name,
    )


def _read_schema(
    name: str, file: object, folder: Path, faults: list[str]
) -> tuple[Mapping[str, Any] | None, Validator | None]:
    if not isinstance(file, str):
        return None, None
    try:
        schema = orjson.loads((folder / file).read_bytes())
        return schema, compile_schema(schema)
    except (OSError, ValueError, SchemaError) as fault:
        faults.append(f"types.{name}.schema: {file} is no JSON Schema that can be used: {fault}")
        return None, None


def _read_rules(name: str, status: object, faults: list[str]) -> RuleSet | None:
    match status:
        case False:
            return None
        case True:
            return NO_RULES
        case str():
            try:
                rules = importlib.import_module(status).RULES
            except Exception as fault:  # whatever a module of somebody else's raises
                faults.append(f"types.{name}.status: {status} is no module with RULES: {type(fault).__name__}: {fault}")
                return None
            if isinstance(rules, RuleSet):
                return rules
    faults.append(f"types.{name}.status: takes true or the name of a module whose RULES is a RuleSet")
    return None


def _looked_at(rules: RuleSet | None) -> set[str]:
    return set() if rules is None else {*rules.of_student, *rules.referenced}


def _twice(definitions: Iterable[TypeDefinition]) -> list[str]:
    seen: set[str] = set()
    faults = []
    for definition in definitions:
        if definition.name.lower() in seen:
            faults.append(f"types.{definition.name}: there are two types of this name")
        seen.add(definition.name.lower())
    return faults
