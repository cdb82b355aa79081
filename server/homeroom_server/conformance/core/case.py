"""What a case is, and how it says that a promise was broken or could not be tried."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from homeroom_server.conformance.core.world import World

Trial = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One promise of the protocol, and how it is tried. The name stays: reports are compared by it."""

    name: str
    title: str
    section: str
    trial: Trial


def case(section: str) -> Callable[[Trial], Case]:
    """Make a case of a function: its name is the case's, its docstring what must hold."""

    def made(trial: Trial) -> Case:
        name = getattr(trial, "__name__").replace("_", "-")  # noqa: B009 - a Callable need not have one
        title = " ".join(inspect.cleandoc(trial.__doc__ or "").split())
        return Case(name, title, section, trial)

    return made
