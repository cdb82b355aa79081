"""`homeroom-replica verify`: holds a file against the Core."""

import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import orjson

from homeroom.command.configuration import Configuration, open_to_read
from homeroom.command.endings import Ending, ending_of_verdicts
from homeroom.command.tables import laid_out, shown
from homeroom.command.wording import counted
from homeroom.replica import verification
from homeroom.replica.ledger import InThread
from homeroom.replica.storage import Damage, StorageError
from homeroom.replica.verification import Outcome, Verdict

_IDS_SHOWN = 5


async def verify(configuration: Configuration, as_json: bool) -> Ending:
    """Write a verdict on each type on stdout."""
    with closing(open_to_read(configuration.file)) as storage:
        async with configuration.client() as client:
            verdicts = await verification.verify(client, storage, InThread())
    if not verdicts:
        raise StorageError(f"{configuration.file} keeps no types yet; `homeroom-replica sync` brings them")
    if as_json:
        document = {"types": [verdict_as_json(verdict) for verdict in verdicts]}
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in verdict_lines(verdicts)))
    return ending_of_verdicts(verdicts)


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """The verdicts for people, and what to do."""
    rows = []
    for verdict in verdicts:
        name = f"{verdict.type} with {verdict.source}" if verdict.source else verdict.type
        rows.append([name, verdict.outcome.value, shown("; ".join(particulars(verdict)))])
    outcomes = {verdict.outcome for verdict in verdicts}
    lines = laid_out(["type", "result", "particulars"], rows)
    if outcomes & {Outcome.DIFFERS, Outcome.DAMAGED}:
        lines += ["", "to mend it: `homeroom-replica repair`; a sync that runs repairs by itself what its hash shows"]
    elif outcomes & {Outcome.BEHIND, Outcome.NOT_LOADED}:
        lines += ["", "to catch up: `homeroom-replica sync`"]
    return lines


def particulars(verdict: Verdict) -> list[str]:
    """What there is to say beyond the outcome."""
    found = []
    if verdict.behind:
        found.append(f"{'' if verdict.complete else 'at least '}{counted(verdict.behind, 'change')} behind")
    if verdict.outcome is Outcome.DIFFERS and not verdict.detail:
        found.append("the version hash is not the Core's")
    found += _damage(verdict.type, verdict.damage)
    if verdict.source is not None:
        found += _damage(verdict.source, verdict.source_damage)
    if verdict.sources_missing:
        found.append(f"{verdict.source}: {_some(verdict.sources_missing)} missing or older than its status")
    return [*found, verdict.detail] if verdict.detail else found


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "type": verdict.type,
        "source": verdict.source,
        "result": verdict.outcome.value,
        "behind": verdict.behind,
        "complete": verdict.complete,
        "damage": _damage_as_json(verdict.damage),
        "sourceDamage": _damage_as_json(verdict.source_damage),
        "sourcesMissing": list(verdict.sources_missing),
        "detail": verdict.detail,
    }


def _damage(name: str, damage: Damage) -> list[str]:
    found = []
    if damage.altered:
        found.append(f"{name}: {_some(damage.altered)} altered by other hands")
    if damage.rows_missing:
        found.append(f"{name}: {counted(damage.rows_missing, 'row')} taken away by other hands")
    if damage.rows_added:
        found.append(f"{name}: {counted(damage.rows_added, 'row')} added by other hands")
    return found


def _damage_as_json(damage: Damage) -> dict[str, Any]:
    return {"altered": list(damage.altered), "rowsMissing": damage.rows_missing, "rowsAdded": damage.rows_added}


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - _IDS_SHOWN
    return ", ".join(ids[:_IDS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
