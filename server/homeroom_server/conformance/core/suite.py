"""The cases, one after the other, and what is left behind: nothing that lives."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType

import anyio
import httpx

from homeroom_server.conformance.core import (
    access,
    bulk,
    clearing,
    getting,
    hashes,
    hello,
    keys,
    limits,
    lists,
    problems,
    statuses,
    submitting,
    versions,
    waiting,
)
from homeroom_server.conformance.core.case import Case
from homeroom_server.conformance.core.discovery import Given, discover
from homeroom_server.conformance.core.expectation import BrokenPromiseError, NotTriedError
from homeroom_server.conformance.core.world import World
from homeroom_server.conformance.report import Outcome, Report, Verdict

CASE_SECONDS_MAX = 60.0
_CONNECTIONS_MAX = 16
_MODULES: Sequence[ModuleType] = (
    hello,
    keys,
    problems,
    limits,
    submitting,
    versions,
    lists,
    hashes,
    waiting,
    getting,
    statuses,
    access,
    bulk,
    clearing,
)
_LAST = clearing.own_records_are_deleted.name

CASES: Mapping[str, Case] = {
    found.name: found for module in _MODULES for found in vars(module).values() if isinstance(found, Case)
}
"""By name, in the order in which they are tried."""


async def try_core(
    url: str,
    given: Given,
    only: Collection[str] = (),
    told: Callable[[Verdict], None] = lambda _: None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Report:
    """Try the server at `url`, all cases or only those named; `told` hears each verdict as it comes.

    What was written is deleted at the end, whatever happens. Raises NotUsableError if it cannot begin.
    """
    begun_at = datetime.now(UTC)
    patience = CASE_SECONDS_MAX * given.patience
    connections = httpx.Limits(max_connections=_CONNECTIONS_MAX)
    async with httpx.AsyncClient(base_url=url, timeout=patience, limits=connections, transport=transport) as http:
        world = await discover(http, given)
        verdicts = []
        try:
            for case in CASES.values():
                if not only or case.name in only or case.name == _LAST:
                    verdicts.append(await _tried(case, world))
                    told(verdicts[-1])
        finally:
            with anyio.move_on_after(patience, shield=True):
                await clearing.delete_own(world)
    return Report("Core", url, begun_at, verdicts)


async def _tried(case: Case, world: World) -> Verdict:
    begun_at = time.monotonic()
    outcome, said = Outcome.PASSED, ""
    try:
        with anyio.fail_after(CASE_SECONDS_MAX * world.patience):
            await case.trial(world)
    except Exception as failure:
        cause = _first_of(failure)
        outcome = Outcome.SKIPPED if isinstance(cause, NotTriedError) else Outcome.FAILED
        said = _in_words(cause, world)
    return Verdict(case.name, case.title, case.section, outcome, said, time.monotonic() - begun_at)


def _first_of(failure: BaseException) -> BaseException:
    """What went wrong first, of all that several tasks ended with."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _in_words(failure: BaseException, world: World) -> str:
    """What was expected and seen; for answers of another form than the protocol's, what is wrong with them."""
    match failure:
        case NotTriedError() | BrokenPromiseError():
            return str(failure)
        case TimeoutError():
            words = "the case did not come to its end in time"
        case httpx.HTTPError():
            words = f"no answer came: {type(failure).__name__} {failure}"
        case KeyError() | TypeError() | ValueError() | IndexError() | AttributeError():
            words = f"an answer has not the form that the protocol gives it ({type(failure).__name__}: {failure})"
        case _:
            raise failure
    return "; ".join([words, *[f"the last was {caller.last}" for caller in world.callers if caller.last]])
