"""How one notification type of a replica gets from nothing to being in step: a pure state machine.

`advance(state, happening)` is all there is; what each phase then does is the work of `homeroom.replica.loop`.
docs/replica.md draws it, and a test holds the drawing against the table below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Phase(StrEnum):
    """What is being done about a type."""

    EMPTY = "empty"
    LOADING = "loading"
    FOLLOWING = "following"
    BRINGING = "bringing"
    LISTING = "listing"
    REPAIRING = "repairing"
    HALTED = "halted"


class What(StrEnum):
    """What can happen to a type."""

    WINDOW = "window"
    """A snapshot began: `until` is the end of its window."""
    BLOCK = "block"
    """Records of a snapshot were stored, the last at version `cursor`."""
    BOOKMARK = "bookmark"
    """The snapshot's last line came."""
    NOTHING = "nothing"
    """Nothing is above the cursor, which moves to `cursor`. With an `epoch`: and the version hash agreed."""
    NEWER = "newer"
    """A delta was listed."""
    PAGE = "page"
    """Part of a delta was stored, up to version `cursor`."""
    BROUGHT = "brought"
    """All of it was: the cursor moves to `cursor`."""
    STOPPED = "stopped"
    """Get stopped at a record that has moved on; what came before it is stored up to `cursor`."""
    DIFFERS = "differs"
    """The version hash differs, and the full list is there to compare with."""
    DIFFERS_STILL = "differs still"
    """It differs although the list was compared, or the list is too long to come at once."""
    REPAIRED = "repaired"
    """What differed was fetched or dropped. `cursor` is that of a full list, or 0."""
    UNSETTLED = "unsettled"
    """Reconciliation came to no end."""
    NEW_EPOCH = "new epoch"
    """An answer came out of another history of the Core's database."""
    OTHER_HISTORY = "other history"
    """2003: the Core never gave out the version that the cursor or the window names."""
    UNREACHABLE = "unreachable"
    """The Core, the network or the local disk failed for now."""
    REFUSED = "refused"
    """The Core will not serve this type; a person must act."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, with the numbers that belong to it."""

    what: What
    cursor: int = 0
    until: int = 0
    epoch: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class TypeState:
    """Where a type stands.

    `cursor`: every change up to it is stored (while loading: every record of the window up to it). `until`: the end
    of the window of a first load. `epoch`: the history that the cursor belongs to. `in_doubt`: a hash must agree
    before this may be called in step. `other_epoch`: the Core's history has changed since one did. `repairs`: how many
    in a row have not made it agree.
    """

    phase: Phase = Phase.EMPTY
    cursor: int = 0
    until: int = 0
    epoch: str = ""
    in_doubt: bool = True
    other_epoch: bool = False
    repairs: int = 0
    trouble: str = ""


_E, _L, _F, _B, _I, _R, _H = Phase

# fmt: off
TABLE: Mapping[What, tuple[Phase, ...]] = {
    #                   empty loading following bringing listing repairing halted
    What.WINDOW:        (_L,   _L,     _F,       _B,      _I,     _R,       _H),
    What.BLOCK:         (_E,   _L,     _F,       _B,      _I,     _R,       _H),
    What.BOOKMARK:      (_E,   _F,     _F,       _B,      _I,     _R,       _H),
    What.NOTHING:       (_E,   _L,     _F,       _F,      _F,     _F,       _H),
    What.NEWER:         (_E,   _L,     _B,       _B,      _B,     _B,       _H),
    What.PAGE:          (_E,   _L,     _F,       _B,      _I,     _R,       _H),
    What.BROUGHT:       (_E,   _L,     _F,       _F,      _I,     _R,       _H),
    What.STOPPED:       (_E,   _L,     _F,       _F,      _I,     _R,       _H),
    What.DIFFERS:       (_E,   _L,     _I,       _I,      _I,     _I,       _H),
    What.DIFFERS_STILL: (_E,   _L,     _R,       _R,      _R,     _R,       _H),
    What.REPAIRED:      (_E,   _L,     _F,       _B,      _F,     _F,       _H),
    What.UNSETTLED:     (_E,   _L,     _F,       _B,      _F,     _I,       _H),
    What.NEW_EPOCH:     (_E,   _E,     _F,       _B,      _I,     _R,       _H),
    What.OTHER_HISTORY: (_E,   _E,     _F,       _F,      _F,     _F,       _H),
    What.UNREACHABLE:   (_E,   _L,     _F,       _F,      _F,     _F,       _H),
    What.REFUSED:       (_H,   _H,     _H,       _H,      _H,     _H,       _H),
}
# fmt: on
"""The next phase, for every event and every phase. An event that belongs to another phase changes nothing."""


def opened(*, loaded: bool, cursor: int, until: int, epoch: str) -> TypeState:
    """The state of a type as a file holds it: in doubt, for others may have written to the file meanwhile.

    Loaded and of no epoch: its history has ended, and no hash has agreed since.
    """
    phase = Phase.FOLLOWING if loaded else Phase.LOADING if until else Phase.EMPTY
    return TypeState(phase, cursor, until, epoch, other_epoch=loaded and not epoch)


def advance(state: TypeState, happening: Happening) -> TypeState:
    """The state after something happened. Never raises; the cursor falls only where a history has ended."""
    phase = TABLE[happening.what][list(Phase).index(state.phase)]
    after = replace(state, phase=phase, trouble="")
    match happening.what:
        case What.WINDOW if phase is Phase.LOADING:
            return replace(after, until=happening.until, epoch=happening.epoch)
        case What.BLOCK if phase is Phase.LOADING:
            return replace(after, cursor=happening.cursor)
        case What.BOOKMARK if state.phase is Phase.LOADING:
            return replace(after, cursor=state.until, until=0, in_doubt=True)
        case What.NOTHING if phase is Phase.FOLLOWING:
            return _proved(_moved(after, happening.cursor), happening.epoch)
        case What.PAGE | What.BROUGHT | What.STOPPED if state.phase is Phase.BRINGING:
            return _moved(after, happening.cursor)
        case What.REPAIRED if phase is Phase.FOLLOWING:
            return replace(_moved(after, happening.cursor), in_doubt=True, repairs=state.repairs + 1)
        case What.NEW_EPOCH:
            return replace(_begun_anew(after), in_doubt=True, other_epoch=True)
        case What.OTHER_HISTORY if phase is not Phase.HALTED:
            return replace(after, cursor=0, until=0, epoch="", in_doubt=True, other_epoch=True)
        case What.UNREACHABLE | What.REFUSED if state.phase is not Phase.HALTED:
            return replace(after, trouble=happening.trouble)
        case _:
            return replace(after, trouble=state.trouble) if phase is state.phase else after


def _moved(state: TypeState, cursor: int) -> TypeState:
    return replace(state, cursor=max(state.cursor, cursor))


def _proved(state: TypeState, epoch: str) -> TypeState:
    """With an epoch: what is held is what that history of the Core has."""
    return replace(state, epoch=epoch, in_doubt=False, other_epoch=False, repairs=0) if epoch else state


def _begun_anew(state: TypeState) -> TypeState:
    """A first load that has not come to its end begins again."""
    return replace(state, cursor=0, until=0) if state.phase is Phase.EMPTY else state
