"""What is told of a type while it is loaded and followed: made of what the replica reports. Pure."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from homeroom.command.wording import counted, duration
from homeroom.replica.ledger import Progress
from homeroom.replica.machine import Phase, TypeState, What
from homeroom.replica.storage import now


class Standing(StrEnum):
    """How a type stands, for people."""

    LOADING = "loading"
    CHECKING = "checking"
    IN_STEP = "in step"
    REPAIRING = "repairing"
    BEHIND = "behind"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Load:
    """A first load since `begun_seconds`, when the version `begun` had been reached; `records` came after that."""

    begun_seconds: float
    begun: int
    records: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """One type since the command began. `since`: the time of day of its standing; `changes`: applied while followed."""

    name: str
    state: TypeState = field(default_factory=TypeState)
    since: str = ""
    loaded: int = 0
    load: Load | None = None
    changes: int = 0
    differences: bool = False


def standing(state: TypeState) -> Standing:
    if state.phase is Phase.HALTED:
        return Standing.REFUSED
    if state.phase in (Phase.EMPTY, Phase.LOADING):
        return Standing.LOADING
    if state.trouble:
        return Standing.BEHIND
    if state.phase in (Phase.LISTING, Phase.REPAIRING):
        return Standing.REPAIRING
    return Standing.CHECKING if state.in_doubt else Standing.IN_STEP


def accounted(account: Account, progress: Progress, seconds: float, clock: str) -> Account:
    """The account after something happened at `seconds`, which was `clock` by the time of day."""
    state = progress.state
    since = account.since if standing(state) is standing(account.state) and account.since else clock
    after = replace(account, state=state, since=since)
    if progress.what not in (What.WINDOW, What.BLOCK, What.BOOKMARK):
        return replace(after, changes=account.changes + progress.applied)
    loaded = account.loaded + progress.applied
    if account.load is None:
        return replace(after, loaded=loaded, load=Load(seconds, state.cursor))
    load = account.load
    moved = replace(load, records=load.records + progress.applied, seconds=seconds - load.begun_seconds)
    return replace(after, loaded=loaded, load=moved)


def told(account: Account) -> str:
    """A type on one line."""
    state = account.state
    match standing(state):
        case Standing.LOADING:
            return _loading(account)
        case Standing.CHECKING:
            return f"checking since {account.since}{_applied(account)}"
        case Standing.IN_STEP:
            return f"in step since {account.since}{_applied(account)}"
        case Standing.REPAIRING:
            return f"repairing since {account.since}: what is held differs from the Core"
        case Standing.BEHIND:
            return f"behind since {account.since}: {state.trouble}"
        case Standing.REFUSED:
            return f"refused since {account.since}: {state.trouble}"


def event(progress: Progress) -> dict[str, str | int | bool]:
    """The same for machines."""
    state = progress.state
    return {
        "at": now(),
        "type": progress.type,
        "event": progress.what.value,
        "standing": standing(state).value,
        "cursor": state.cursor,
        "until": state.until,
        "applied": progress.applied,
        "trouble": state.trouble,
    }


def _loading(account: Account) -> str:
    state, load = account.state, account.load
    parts = [counted(account.loaded, "record")]
    if load is not None and load.records and load.seconds > 0:
        parts.append(f"{load.records / load.seconds:,.0f}/s")
    if state.until:
        parts.append(f"{100 * state.cursor // state.until} % of the versions")
        left = _seconds_left(state, load)
        if left is not None:
            parts.append(f"{duration(left)} left")
    if state.trouble:
        parts.append(f"held up: {state.trouble}")
    return f"loading: {', '.join(parts)}"


def _seconds_left(state: TypeState, load: Load | None) -> float | None:
    """At the speed so far; None before there is one."""
    if load is None or load.seconds <= 0 or state.cursor <= load.begun:
        return None
    return load.seconds * (state.until - state.cursor) / (state.cursor - load.begun)


def _applied(account: Account) -> str:
    parts = []
    if account.loaded:
        parts.append(f"{counted(account.loaded, 'record')} loaded")
    if account.changes:
        parts.append(f"{counted(account.changes, 'change')} applied")
    return "".join(f", {part}" for part in parts)
