"""From the types that somebody wants to the types that are kept (protocol 1 and 5). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeroom.errors import Code, Fault, error
from homeroom.protocol import NotificationType
from homeroom.replica.storage import Kind


def kinds_of(wanted: Sequence[str], catalogue: Sequence[Mapping[str, Any]]) -> Sequence[Kind]:
    """What is kept for the types wanted, sources before their statuses. Raises FixRequest naming every wrong one.

    A status brings its source: `CourseEnrolmentStatus.2027` alone keeps `CourseEnrolment.2027` too.
    """
    by_name = {entry["name"].lower(): entry for entry in catalogue}
    faults: list[Fault] = []
    found: dict[str, Kind] = {}
    for text in wanted:
        try:
            parsed = NotificationType.parse(text)
        except ValueError as fault:
            faults.append(Fault(text[:80], str(fault)))
            continue
        entry = by_name.get(parsed.name.lower())
        wrong = "is not in the Core's catalogue" if entry is None else _wrong_year(entry, parsed.school_year)
        if entry is None or wrong:
            faults.append(Fault(text, wrong))
            continue
        for kind in _kinds(entry, parsed.school_year, by_name):
            known = found.get(kind.name)
            found[kind.name] = kind if known is None or kind.followed else known
    if faults:
        detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
        raise error(Code.UNKNOWN_TYPE, detail, faults)
    return sorted(found.values(), key=lambda kind: (kind.source is not None, kind.name))


def known_kinds(wanted: Sequence[str], kept: Sequence[Kind]) -> Sequence[Kind] | None:
    """The same from what a file keeps already; None if it lacks one."""
    by_name = {kind.name.lower(): kind for kind in kept}
    if not all(text.lower() in by_name for text in wanted):
        return None
    followed = {text.lower() for text in wanted}
    sources = {(by_name[name].source or "").lower() for name in followed}
    chosen = [by_name[name] for name in followed | sources if name in by_name]
    kinds = [Kind(k.name, k.source, k.name.lower() in followed, k.members) for k in chosen]
    return sorted(kinds, key=lambda kind: (kind.source is not None, kind.name))


def _kinds(entry: Mapping[str, Any], school_year: int | None, by_name: Mapping[str, Any]) -> Sequence[Kind]:
    name = str(NotificationType(entry["name"], school_year))
    if "source" not in entry:
        return [Kind(name, members=_members(entry))]
    source = str(NotificationType(entry["source"], school_year))
    return [
        Kind(source, followed=False, members=_members(by_name.get(entry["source"].lower(), {}))),
        Kind(name, source, members=("alerts",)),
    ]


def _members(entry: Mapping[str, Any]) -> tuple[str, ...]:
    properties = entry.get("schema", {}).get("properties", {})
    return tuple(properties) if isinstance(properties, dict) else ()


def _wrong_year(entry: Mapping[str, Any], school_year: int | None) -> str:
    if entry["schoolYear"] == "required" and school_year is None:
        return "needs a school year, as in Type.2027"
    if entry["schoolYear"] == "none" and school_year is not None:
        return "takes no school year"
    return ""
