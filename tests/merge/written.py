"""What tests of writes to a SIS share: pupils on whom both sides agree, and what nights make of them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from homeroom_merge.rules import Rules
from homeroom_merge.testing import Fault, MemorySis
from homeroom_merge.values import Json
from tests.merge.pupils import Pupils, School

FIVE_TIMES: list[Fault] = ["transient"] * 5
Opened = Callable[..., AbstractAsyncContextManager[School]]
_BASES = "select hub_id, base_hub = hub_seen as moved from homeroom_merge.record"


def sis_of(school: School) -> MemorySis:
    assert isinstance(school.sis, MemorySis)
    return school.sis


async def agreed(school: School, *keys: str) -> None:
    for key in keys:
        put(school, key, first="Ada", last="Bear")
    sis_of(school).export()
    await school.merge()
    assert set(await school.hub()) == set(keys)


def put(school: School, key: str, **cells: object) -> None:
    sis_of(school).put(school.entity, key, **{"school": "S.91", **cells})


def shown(school: School) -> dict[str, Json]:
    """What is in the SIS, read by its formatter."""
    return {key: Pupils().read(row).body for key, row in sis_of(school).rows[school.entity].items()}


async def outcome(school: School, key: str, rules: Rules | None = None) -> tuple[str, str]:
    """What a night makes of a record; `nothing` if nothing was planned for it."""
    return (await school.outcomes(await school.merge(rules))).get(key, ("nothing", ""))


async def has_moved_base(school: School, key: str) -> bool:
    rows = await school.own.fetch(_BASES)
    return {row["hub_id"]: bool(row["moved"]) for row in rows}[key]
