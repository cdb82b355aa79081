"""What a case is, and what cases share: records with which they begin, and orders for a client that writes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from homeroom_server.conformance.client.scripted_core import ENROLMENT, Json
from homeroom_server.conformance.client.stage import Stage


@dataclass(frozen=True, slots=True)
class Case:
    """A script over a stage: it returns if the client does what is wanted, else raises CaseFailedError.

    `section`: of docs/protocol.md's contract. `writes`: it has the client write.
    """

    name: str
    title: str
    section: str
    script: Callable[[Stage], Awaitable[None]]
    types: Sequence[str] = (ENROLMENT,)
    writes: bool = False


def record_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def enrolment(number: int, credits_attempted: int = 5) -> Json:
    """The body of a course enrolment that its schema takes."""
    return {
        "stateProvinceId": f"{100_000_000 + number}",
        "courseCode": "MAT1791",
        "sectionRefId": record_id(900_000 + number),
        "courseEnrolmentStatus": "Registered",
        "creditsAttempted": credits_attempted,
    }


def change(stage: Stage, number: int, credits_attempted: int = 6) -> int:
    """Others write a record; its version."""
    return stage.core.write(record_id(number), enrolment(number, credits_attempted))


async def loaded(stage: Stage, count: int) -> None:
    """The client starts, with an empty store, and loads the first `count` records."""
    for number in range(1, count + 1):
        change(stage, number, 5)
        stage.core.pass_by()
    stage.begin()
    await stage.in_step(f"starting with an empty store, it loads {count} records")


def order(stage: Stage, *records: Json, name: str = ENROLMENT) -> None:
    """Have the client submit records; which version each is a change of is for the client to know."""
    stage.tell({"do": "submit", "notificationType": name, "records": list(records)})


def written(number: int, credits_attempted: int = 7) -> Json:
    """A record for an order."""
    return {"id": record_id(number), "body": enrolment(number, credits_attempted)}


async def stored(stage: Stage, number: int, credits_attempted: int) -> None:
    """Return when the write of this value was accepted; one that is rejected fails the case."""

    def accepted() -> bool:
        row = stage.core.streams[ENROLMENT].get(record_id(number))
        stored = row is not None and row.body["creditsAttempted"] == credits_attempted
        refusal = None if stored else _refusal(stage, number, credits_attempted)
        if refusal:
            stage.fail(refusal)
        return stored

    await stage.until(accepted, told_to_submit(number))


def told_to_submit(number: int) -> str:
    return (
        f"told to by a line on its standard input, it submits {record_id(number)} as a change of the version it holds"
    )


def _refusal(stage: Stage, number: int, credits_attempted: int) -> str:
    """Why the last Submit of that value was not accepted; empty if there was none."""
    for call, record in reversed(stage.submitted(record_id(number))):
        if record.get("body", {}).get("creditsAttempted") == credits_attempted and call.answer is not None:
            row = stage.core.streams[ENROLMENT].get(record_id(number))
            expected, standing = record.get("expectedVersion", 0), 0 if row is None else row.version
            if call.answer.status == HTTPStatus.OK and expected != standing:
                return f"it submitted {record_id(number)} with expectedVersion {expected}; the record's is {standing}"
    return ""
