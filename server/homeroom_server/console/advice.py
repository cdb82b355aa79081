"""What is wrong with a client, in words, and what to do about it."""

from datetime import datetime

from homeroom.errors import MEANINGS, Code, Meaning
from homeroom_merge.console.frame.rendering import ago
from homeroom_server.store.client_traffic import OfLate
from homeroom_server.store.followers import BEHIND_MAX, Follower
from homeroom_server.store.registry import SeenClient

STATES = {
    "mismatch": "other hash",
    "silent": "not heard of",
    "cut": "waits are cut",
    "failing": "calls refused",
    "behind": "behind",
    "inStep": "in step",
}
_TO_DO = {
    "fix": "What it sends is wrong: the detail of the answer, in its own log, says what. Its makers have to mend it.",
    "retry": "It is to try again later, and does if it is well made. If that goes on, look how the nodes are.",
    "resync": "It has to compare what it holds and go on from there: a replica of our SDK does.",
    "stop": "A person has to act: look at its role, its organisations and for which of them it calls.",
}


def said_of(each: Follower, now: datetime) -> str:
    """How a stream stands, and what to do; nothing of one that is in step."""
    match each.state:
        case "mismatch":
            since = ago(each.mismatch_since or now, now)
            return (
                f"Its hash differs from ours, first seen {since}, {each.mismatch_count:,} in all: it holds something "
                "else than it may see. It is told all there is, to repair itself; if that does not help, "
                "homeroom explain-mismatch says which records differ."
            )
        case "silent":
            return (
                f"It last asked {ago(each.asked_at, now)}: it has stopped, or cannot get here. "
                "Look whether it runs, and whether its key and network still hold."
            )
        case "cut":
            return said_of_cuts(each.waits_cut, each.cut_seconds)
        case "failing":
            return said_of_refusals(each.calls, each.refused, each.refused_code)
        case "behind":
            many = f"{BEHIND_MAX:,} or more" if each.behind == BEHIND_MAX else f"{each.behind:,}"
            oldest = ago(each.behind_since or now, now)
            return f"It has not taken {many} changes, the oldest from {oldest}; it asks, so it may be on its way."
    return ""


def said_of_client(client: SeenClient, late: OfLate | None, now: datetime) -> list[str]:
    """What is wrong with it as a whole, its streams apart; nothing of one that is well."""
    said = []
    if client.disabled_at is not None:
        said.append(
            f"It was disabled {ago(client.disabled_at, now)} and is refused. homeroom client enable lets it call again."
        )
    if not client.keys:
        said.append("It has no key that works. homeroom client rotate makes one.")
    if client.asked_at is None:
        said.append("It has never asked for anything: look whether it runs, and whether it has its key.")
    if late is not None and late.is_cut:
        said.append(said_of_cuts(late.waits_cut, late.cut_seconds))
    if late is not None and late.is_failing:
        said.append(said_of_refusals(late.calls, late.refused, late.refused_code))
    return said


def said_of_cuts(waits_cut: int, cut_seconds: float | None) -> str:
    return (
        f"Something between us cuts its waits after about {cut_seconds or 0:.0f} s, a proxy's time-out most likely: "
        f"raise it above 340 s. {waits_cut:,} were cut within the last two hours."
    )


def said_of_refusals(calls: int, refused: int, code: int | None) -> str:
    meaning = _meaning(code)
    to_do = "" if meaning is None else f" {_TO_DO[meaning.action]}"
    counted = f"{refused:,} of its {calls:,} calls within the last two hours were refused"
    return f"{counted}, the last one with {title_of(code)}.{to_do}"


def title_of(code: int | None) -> str:
    """A problem's code with its title."""
    meaning = _meaning(code)
    return str(code) if meaning is None else f"{code} ({meaning.title})"


def _meaning(code: int | None) -> Meaning | None:
    """None: it is of another version of the Core."""
    try:
        return MEANINGS[Code(code or 0)]
    except ValueError:
        return None
