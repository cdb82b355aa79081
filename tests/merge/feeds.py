"""Feeds of Ed-Fi folders into a Core with the roster catalogue."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg

from homeroom import Client
from homeroom_merge.connectors.edfi import EdfiFolder
from homeroom_merge.connectors.hub import Hub
from homeroom_merge.formatters.edfi import edfi_formatters, load_codes
from homeroom_merge.group import Group
from homeroom_merge.rules import Rules
from homeroom_merge.shape import Shape
from homeroom_merge.sides import Sides
from homeroom_merge.sis.local import LocalSis
from homeroom_merge.store import connection as state
from homeroom_merge.store import schema
from homeroom_merge.terms import Backups, Terms
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier
from tests.conftest import Core

IN_MEMORY = Backups("memory://backups")
OF_A_YEAR = ("Section", "StaffSection", "StudentSchoolEnrolment", "CourseEnrolment")


@asynccontextmanager
async def opened_state(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The pipeline's state in a database, made if need be."""
    own = await state.connect(database_url)
    await schema.apply(own)
    yield own
    await own.close()


async def group_of(
    client: Client,
    own: asyncpg.Connection,
    folder: Path,
    entities: Sequence[str],
    schools: frozenset[str],
    acts_as: str,
    feed: str = "district",
) -> Group:
    """A feed that reads a folder of interchange files and speaks for these schools."""
    catalogue = (await client.notification_types()).notification_types
    schemas = {each["name"]: each["schema"] for each in catalogue if each["name"] in entities}
    students = {each["name"]: each.get("student") for each in catalogue}
    formatters, hubs = edfi_formatters(load_codes()), {acts_as: Hub(client)}
    terms, sides = {}, {}
    for entity in entities:
        verifiers = Verifier(schemas[entity]), Verifier(schemas[entity], formatters[entity].fields)
        terms[entity] = replace(_terms(feed, entity, schemas[entity], schools, acts_as), student=students[entity])
        sides[entity] = Sides(hubs, LocalSis(EdfiFolder(folder), formatters[entity]), *verifiers)
    return Group(own, terms, sides)


def _terms(feed: str, entity: str, said: Mapping[str, object], schools: frozenset[str], acts_as: str) -> Terms:
    types: dict[int | None, str] = {2022: f"{entity}.2022"} if entity in OF_A_YEAR else {None: entity}
    return Terms(feed, entity, types, schools, (acts_as,), Shape.of(said), Rules(entity), backups=IN_MEMORY)


async def on_the_hub(core: Core, *types: str) -> dict[str, Json]:
    """The bodies that the Core has, by id."""
    async with core.client_with(await core.key("O.1")) as client:
        lines = [line for name in types async for line in client.snapshot(name)]
    return {line["id"]: line["body"] for line in lines if "id" in line}
