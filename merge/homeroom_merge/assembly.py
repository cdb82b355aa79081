"""The composition root: settings and the hub's catalogue become what a group of runs is told."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from homeroom_merge.connectors.hub import Hub, open_hub, read_catalogue
from homeroom_merge.feed_secrets import secret_of, secrets_of_connector, stored_secrets
from homeroom_merge.group import Group
from homeroom_merge.progress import UNWATCHED, Progress
from homeroom_merge.refusal import RefusedError
from homeroom_merge.scrubbing import Scrubber
from homeroom_merge.settings.model import Entity, Settings, Stage
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.sis.forking import Forkserver
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.sis.sandboxed import SandboxedSis, opened_sandbox
from homeroom_merge.sis.side import Sis
from homeroom_merge.sources.choosing import source_of
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import NO_BASIS, Backups, Basis, Terms
from homeroom_merge.verification import Verifier

_RETRY_SECONDS = 60.0
_SCHEMAS_MAX = 1_000
"""So many are kept as they were read: a worker meets the same ones again with each run."""


class AssemblyError(RefusedError):
    """Settings that do not fit this machine or the hub; the message says what to do."""


@asynccontextmanager
async def opened(
    settings: Settings,
    connection: Conn,
    data_dir: Path,
    progress: Progress = UNWATCHED,
    basis: Basis = NO_BASIS,
    entities: Sequence[str] = (),
    schools: Sequence[str] = (),
    forkserver: Forkserver | None = None,
) -> AsyncIterator[Group]:
    """The group of a feed's enabled entities, or of those named, for all of its schools, or for those named.

    `data_dir`: where backups are kept if settings name no place. `forkserver`: connector and formatter run in
    processes of their own, which it forks.

    Raises AssemblyError, MissingSecretError, SealError, SourceError, SandboxError, HomeroomError,
    OSError.
    """
    if strangers := set(schools) - set(settings.feed.schools):
        known = ", ".join(settings.feed.schools)
        raise AssemblyError(f"the feed does not speak for {', '.join(sorted(strangers))}; it speaks for {known}")
    settings = replace(settings, backup=_with_place(settings.backup, data_dir))
    stored = await stored_secrets(connection, settings.feed.name)
    key, secrets = secret_of(settings, "hub_key", stored), secrets_of_connector(settings, stored)
    async with AsyncExitStack() as stack:
        hubs: dict[str, Hub] = {}
        for organization in settings.organizations:
            hub = open_hub(settings.hub.url, key, organization, _RETRY_SECONDS)
            hubs[organization] = await stack.enter_async_context(hub)
        catalogue = await read_catalogue(next(iter(hubs.values())))
        wanted = {name: each for name, each in settings.entity.items() if each.enabled}
        unknown = set(entities) - set(wanted)
        if unknown:
            raise AssemblyError(f"the settings enable no {', '.join(sorted(unknown))}")
        terms, sides = {}, {}
        fields, sis_of = await _sis(settings, secrets, stack, forkserver)
        for name, entity in wanted.items():
            if entities and name not in entities:
                continue
            if name not in fields:
                raise AssemblyError(f"{name}: the formatter {settings.feed.formatter} does not carry it; disable it")
            said = type_of(catalogue, entity)
            terms[name] = replace(
                _terms(settings, name, entity, said),
                basis=basis,
                only=frozenset(schools) if schools else None,
                scrub=Scrubber((key, *secrets.values())),
            )
            schema = orjson.dumps(said["schema"])
            verifiers = _verifier(schema, None), _verifier(schema, fields[name])
            sides[name] = Sides(hubs, sis_of(name), *verifiers)
        yield Group(connection, terms, sides, progress)


async def _sis(
    settings: Settings, secrets: Mapping[str, str], stack: AsyncExitStack, forkserver: Forkserver | None
) -> tuple[Mapping[str, frozenset[str]], Callable[[str], Sis]]:
    """The members that the SIS can carry, by entity, and how each entity is reached."""
    if forkserver is not None:
        sandbox = await stack.enter_async_context(opened_sandbox(settings, secrets, forkserver))
        return sandbox.fields, lambda name: SandboxedSis(sandbox, name)
    source = source_of(settings, secrets)
    if source.close is not None:
        stack.push_async_callback(source.close)
    fields = {name: frozenset(formatter.fields) for name, formatter in source.formatters.items()}
    return fields, lambda name: LocalSis(source.connector, source.formatters[name])


def _with_place(backups: Backups, data_dir: Path) -> Backups:
    """No percent signs for what is special in URLs: fsspec takes what follows the scheme as the path."""
    return backups if backups.place else replace(backups, place=f"file://{data_dir.expanduser().resolve()}/backups")


def type_of(catalogue: Mapping[str, Mapping[str, Any]], entity: Entity) -> Mapping[str, Any]:
    """What the hub says of an entity's type. Raises AssemblyError."""
    said = catalogue.get(entity.notification_type)
    if said is None:
        raise AssemblyError(f"the hub has no notification type {entity.notification_type}")
    if "source" in said:
        raise AssemblyError(f"{entity.notification_type} is calculated by the hub and is never merged")
    return {**said, "schema": said.get("schema", {"type": "object"})}


def types_by_year(name: str, entity: Entity, said: Mapping[str, Any]) -> Mapping[int | None, str]:
    """The notification types that hold an entity's records. Raises AssemblyError."""
    if said["schoolYear"] != "required":
        return {None: entity.notification_type}
    if not entity.school_years:
        raise AssemblyError(f"{name} is kept by school year: name the years, as in school_years = [2027]")
    return {year: f"{entity.notification_type}.{year}" for year in entity.school_years}


@lru_cache(maxsize=_SCHEMAS_MAX)
def _shape(schema: bytes) -> Shape:
    return Shape.of(orjson.loads(schema))


@lru_cache(maxsize=_SCHEMAS_MAX)
def _verifier(schema: bytes, carried: frozenset[str] | None) -> Verifier:
    return Verifier(orjson.loads(schema), carried)


def _terms(settings: Settings, name: str, entity: Entity, said: Mapping[str, Any]) -> Terms:
    stages, feed = entity.steps, settings.feed
    return Terms(
        feed.name,
        name,
        types_by_year(name, entity, said),
        frozenset(feed.schools),
        settings.organizations,
        _shape(orjson.dumps(said["schema"])),
        entity.rules(feed.zone, student_audience=said["audience"] == "student"),
        backups=settings.backup,
        student=said.get("student"),
        draws_uuids=said["idFormat"] == "uuid",
        policy=entity.delete_policy,
        limits=entity.guards,
        seasons=entity.seasons,
        feeds_before_delete=entity.absences,
        complete_every_hours=entity.complete_every_hours,
        awaiting_days=entity.awaiting_days,
        allow_empty=entity.allow_empty,
        fetches_hub=Stage.FETCH_HUB in stages,
        fetches_sis=Stage.FETCH_SIS in stages,
        persists_hub=Stage.PERSIST_HUB in stages,
        persists_sis=Stage.PERSIST_SIS in stages,
    )
