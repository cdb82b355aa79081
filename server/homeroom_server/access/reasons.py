"""Why an organisation sees a record, or does not, in words for an operator. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from homeroom_server.access.associations import BEFORE_ALL_DAYS, Association, Creation, Enrolment, exit_day
from homeroom_server.access.facts import Facts
from homeroom_server.access.rules import TypeAccess
from homeroom_server.store.access_explained import ObservedRecord, Observer


class Timing(StrEnum):
    COUNTS = "counts"
    NOT_YET = "not yet"
    OVER = "over"


_VERBS = {Timing.COUNTS: "is", Timing.NOT_YET: "will be", Timing.OVER: "was"}


@dataclass(frozen=True, slots=True)
class Reason:
    """One way to the record. `through`: the organisation itself, or its school; `counts`: it is enough by itself."""

    cause: str
    through: str
    words: str
    counts: bool = True
    source: str = ""
    begins_on: date | None = None
    ends_on: date | None = None


def reasons_for(
    observer: Observer, type_name: str, rule: TypeAccess | None, record: ObservedRecord, facts: Facts, day: date
) -> list[Reason]:
    """Every reason that counts on that day, did, or will. `rule`: None if the type is public."""
    if rule is None:
        return [Reason("public", observer.code, f"everybody sees records of type {type_name}")]
    if observer.is_ministry:
        return [Reason("ministry", observer.code, "it is the ministry, which sees everything")]
    found = []
    if rule.by_owner and record.owner in observer.below:
        found.append(Reason("owner", record.owner, f"{_subject(observer, record.owner)} owns the record"))
    if rule.open or rule.shared_when is not None:
        found += _by_association(observer, rule, record, facts, day)
    return found


def rule_in_words(rule: TypeAccess | None, record: ObservedRecord) -> str:
    """Who sees such a record at all."""
    if rule is None:
        return "Everybody sees it."
    associated = f"organisations associated with student {record.student}" if record.student else ""
    seers = [f"its owner {record.owner}".rstrip()] if rule.by_owner else []
    if associated and rule.open:
        seers.append(associated)
    elif associated and rule.shared_when is not None:
        seers.append(f"{associated} while its member {rule.shared_when} is true")
    return f"It is seen by {', '.join([*seers, 'the authorities of these'])} and the ministry."


def _by_association(
    observer: Observer, rule: TypeAccess, record: ObservedRecord, facts: Facts, day: date
) -> Iterator[Reason]:
    created = {creation.record_id: creation for creation in facts.creations}
    enrolled = {enrolment.record_id: enrolment for enrolment in facts.enrolments}
    associations = [a for a in facts.associations() if a.organization in observer.below]
    for association in associations:
        timing = timing_of(association, day)
        yield Reason(
            association.cause,
            association.organization,
            f"{_associated(observer, association.organization, association.student, timing)}: "
            f"{_because(association, created, enrolled, timing)}{_sharing(rule, record)}",
            counts=timing is Timing.COUNTS and (rule.open or record.shared),
            source=association.source,
            begins_on=None if association.begins_on == BEFORE_ALL_DAYS else association.begins_on,
            ends_on=association.ends_on,
        )
    lasting = {a.source for a in associations if a.cause == "created"}
    for creation in facts.creations:
        if creation.organization in observer.below and creation.record_id not in lasting:
            words = (
                f"{_associated(observer, creation.organization, creation.student, Timing.OVER)}: it created the student"
                f" on {creation.created_on}, which counted until the first enrolment"
            )
            yield Reason("created", creation.organization, words, counts=False, source=creation.record_id)


def timing_of(association: Association, day: date) -> Timing:
    """Where the day lies."""
    if association.begins_on > day:
        return Timing.NOT_YET
    return Timing.COUNTS if association.ends_on is None or association.ends_on >= day else Timing.OVER


def _subject(observer: Observer, through: str) -> str:
    return "it" if through == observer.code else f"its school {through}"


def _associated(observer: Observer, through: str, student: str, timing: Timing) -> str:
    return f"{_subject(observer, through)} {_VERBS[timing]} associated with student {student}"


def _because(
    association: Association, created: Mapping[str, Creation], enrolled: Mapping[str, Enrolment], timing: Timing
) -> str:
    ends_on, counts = association.ends_on, "counted" if timing is Timing.OVER else "counts"
    match association.cause:
        case "created":
            on = created[association.source].created_on
            return f"it created the student on {on} ({counts} until the first enrolment, at most until {ends_on})"
        case "enrolled":
            left = exit_day(enrolled[association.source])
            begun = "" if association.begins_on == BEFORE_ALL_DAYS else f"from {association.begins_on}"
            if left is None:
                still = "" if timing is Timing.NOT_YET else "still enrolled"
                days = "; ".join(each for each in (begun, still) if each)
            else:
                days = f"{begun} to {left}; {counts} until {ends_on}".lstrip()
            return f"enrolment record {association.source} ({days})"
        case "granted":
            return "it was granted this " + ("until revoked" if ends_on is None else f"until {ends_on}")
    raise AssertionError(f"no such cause: {association.cause}")


def _sharing(rule: TypeAccess, record: ObservedRecord) -> str:
    if rule.open:
        return ""
    if record.shared:
        return f"; the record is shared with such organisations because its member {rule.shared_when} is true"
    return f"; but the record is shared with such organisations only while its member {rule.shared_when} is true"
