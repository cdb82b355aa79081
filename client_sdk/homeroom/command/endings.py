"""How a command ends: its exit code, and what is said on stderr so that somebody can act. Pure."""

from collections.abc import Sequence
from enum import IntEnum

from homeroom.errors import FixRequest, HomeroomError, StopCalling
from homeroom.replica.storage import StorageError, StorageInUse
from homeroom.replica.verification import Outcome, Verdict


class Ending(IntEnum):
    """Exit codes; `arguments.py` documents them in the help."""

    FINE = 0
    DIFFERS = 1
    WRONG_USE = 2
    BEHIND = 3
    UNREACHABLE = 4
    PERSON = 5
    FILE = 6


class WrongUse(Exception):
    """The command was not used as it can be; one line for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


Failure = HomeroomError | StorageError | WrongUse


def ending_of(failure: Failure) -> Ending:
    """The exit code of a command that failed."""
    match failure:
        case WrongUse() | FixRequest():
            return Ending.WRONG_USE
        case StopCalling():
            return Ending.PERSON
        case HomeroomError():
            return Ending.UNREACHABLE
        case StorageError():
            return Ending.FILE


def ending_of_verdicts(verdicts: Sequence[Verdict]) -> Ending:
    """The exit code of a comparison: the worst that was found."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if outcomes & {Outcome.DIFFERS, Outcome.DAMAGED}:
        return Ending.DIFFERS
    if Outcome.REFUSED in outcomes:
        return Ending.PERSON
    return Ending.BEHIND if outcomes & {Outcome.BEHIND, Outcome.NOT_LOADED} else Ending.FINE


def explained(failure: Failure) -> Sequence[str]:
    """What happened and what to do, a line each."""
    match failure:
        case WrongUse():
            return failure.faults
        case FixRequest():
            return [str(failure), "mend the request: types are named as in the Core's catalogue, Type or Type.YYYY"]
        case StopCalling():
            return [f"{failure.title} ({failure})", "a person must act: look at the key, its client and its rights"]
        case HomeroomError():
            return [failure.detail, "what is in the file stays as it is; run this again when the Core can be reached"]
        case StorageInUse():
            return [str(failure), "leave it running: a sync also repairs by itself; `status` shows how it stands"]
        case StorageError():
            return [str(failure)]
