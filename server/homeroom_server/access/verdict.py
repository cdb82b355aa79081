"""What is said about an organisation and a record: does it see it, why, and is that as it should be? Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from homeroom.protocol import NotificationType
from homeroom_server.access.calendar import AccessDay
from homeroom_server.access.reasons import Reason
from homeroom_server.store.access_explained import AccessEvent, ObservedRecord, Observer, Waiting


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything that is known. `record` is the one asked about; for a status, the reasons are those of its source.

    `forgets_nothing`: the record is so young that no revocation of it can have been collected.
    """

    observer: Observer
    asked: NotificationType
    record_id: str
    record: ObservedRecord
    student: str | None
    rule: str
    reasons: Sequence[Reason]
    waiting: Waiting
    access_day: AccessDay
    is_status: bool
    forgets_nothing: bool
    events: Sequence[AccessEvent]

    @property
    def seen_by_all_or_ministry(self) -> bool:
        return any(reason.cause in ("public", "ministry") for reason in self.reasons)

    @property
    def sees(self) -> bool:
        """What the stream says."""
        return self.seen_by_all_or_ministry or self.record.state in ("live", "deleted")

    @property
    def entitled(self) -> bool:
        """What the facts say."""
        return any(reason.counts for reason in self.reasons)

    @property
    def agrees(self) -> bool:
        """Nobody comes to see what is deleted."""
        return self.sees == self.entitled or (self.record.deleted and not self.sees)

    @property
    def is_pending(self) -> bool:
        """Something that may change the stream is still to be computed."""
        return (
            self.waiting.trigger
            or bool(self.waiting.moved)
            or (self.is_status and self.waiting.status)
            or self.access_day.day is None
        )


def as_json(found: Explained) -> dict[str, Any]:
    """The explanation, for machines and for those who print it."""
    return {
        "organization": found.observer.code,
        "notificationType": str(found.asked),
        "id": found.record_id,
        "student": found.student,
        "owner": found.record.owner,
        "sees": found.sees,
        "entitled": found.entitled,
        "agrees": found.agrees,
        "pending": found.is_pending,
        "state": _state(found),
        "coreVersion": found.record.version if found.seen_by_all_or_ministry else found.record.state_version,
        "verdict": verdict(found),
        "rule": found.rule,
        "reasons": [_reason_as_json(reason) for reason in found.reasons],
        "notes": notes(found),
        "accessDay": _iso(found.access_day.day),
        "lookedAtAgainOn": None if found.waiting.trigger else _iso(found.waiting.due_on),
        "events": [
            {
                "at": event.happened_at.isoformat(timespec="seconds"),
                "organization": event.organization,
                "begun": event.begun,
                "cause": event.cause,
                "source": event.source,
            }
            for event in found.events
        ],
    }


def verdict(found: Explained) -> str:
    """The answer in a sentence."""
    code, name = found.observer.code, f"{found.asked} {found.record_id}"
    match _state(found):
        case "live":
            return f"{code} sees {name}."
        case "deleted":
            return f"{code} knows {name} as deleted."
        case "revoked":
            return f"{code} no longer sees {name}, since version {found.record.state_version} (revoked)."
    if found.forgets_nothing:
        return f"{code} does not see {name}, and never did."
    return f"{code} does not see {name}: it never did, or lost it longer ago than revocations are kept."


def notes(found: Explained) -> list[str]:
    """What else an operator should know: what is still to come, and what does not fit together."""
    waiting, day = found.waiting, found.access_day
    said = []
    if waiting.trigger:
        said.append(f"Access to student {found.student} waits to be computed: within seconds, while a node runs.")
    said += [f"{code} has moved among the organisations; its records are being looked at." for code in waiting.moved]
    if found.is_status and waiting.status:
        said.append("The status waits to be calculated; it is shown to whoever gained its source when it is written.")
    if day.day is None:
        said.append("No node has begun a day yet: access is computed from then on.")
    elif day.held:
        said.append(
            f"The access day is held at {day.day} (today is {day.today}): {day.lapsing} of {day.active} associations"
            " would lapse. See homeroom access-day."
        )
    elif day.is_behind:
        said.append(f"The access day is {day.day}, today is {day.today}: a node moves it on within seconds.")
    if found.record.deleted and not found.sees:
        said.append("The record is deleted: nobody comes to see it any more.")
    if not found.agrees:
        said.append(_disagreement(found))
    return said


def _disagreement(found: Explained) -> str:
    shown, said = ("shows", "it should not") if found.sees else ("does not show", "it should")
    why = "a moment of transition" if found.is_pending else "nothing waits that would change it, so this is a fault"
    return f"Its stream {shown} the record, the reasons say that {said}: {why}."


def _state(found: Explained) -> str | None:
    if found.seen_by_all_or_ministry:
        return "deleted" if found.record.deleted else "live"
    return found.record.state


def _reason_as_json(reason: Reason) -> dict[str, Any]:
    return {
        "cause": reason.cause,
        "through": reason.through,
        "source": reason.source,
        "beginsOn": _iso(reason.begins_on),
        "endsOn": _iso(reason.ends_on),
        "counts": reason.counts,
        "words": reason.words,
    }


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
