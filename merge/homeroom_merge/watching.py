"""The SIS of a run while it is fetched: counted for those who look on, and held to the schools that it is for."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from homeroom_merge.connectors.connector import Coverage
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.plan import Kind
from homeroom_merge.sis.side import Draft, Outcome, Placed, Shown, Sis, Standing
from homeroom_merge.values import Json

Told = Callable[[int], None]
"""Called with how many more records have come."""


class Watched:
    """A SIS that tells how many records come. `only`: absence is believed of these schools alone; None: of all."""

    def __init__(self, inner: Sis, told: Told, only: frozenset[str] | None = None) -> None:
        self._inner, self._told, self._only = inner, told, only
        self.abilities, self.fields = inner.abilities, inner.fields

    async def fetch(self, cursor: str | None) -> Shown:
        """What the SIS gives, which is to be read to its end."""
        shown = await self._inner.fetch(cursor)
        shown.records = self._counted(shown, shown.records)
        return shown

    async def look(self, keys: Sequence[str]) -> list[Standing]:
        return await self._inner.look(keys)

    async def anticipated(self, hub_id: str, body: Json) -> Reading:
        return await self._inner.anticipated(hub_id, body)

    async def draft(self, kind: Kind, key: str, body: Json | None, standing: Standing | None) -> Draft | str:
        return await self._inner.draft(kind, key, body, standing)

    async def write(self, draft: Draft) -> Outcome:
        return await self._inner.write(draft)

    def printed(self) -> str:
        return self._inner.printed()

    async def _counted(self, shown: Shown, records: AsyncIterator[Placed]) -> AsyncIterator[Placed]:
        async for each in records:
            self._told(1)
            yield each
        if self._only is not None:
            shown.coverage = narrowed(shown.coverage, self._only)


def narrowed(coverage: Coverage, only: frozenset[str]) -> Coverage:
    """A fetch that speaks of these schools and no other."""
    pairs = frozenset((school, None) for school in only) if coverage.pairs is None else coverage.pairs
    return replace(coverage, pairs=frozenset((school, year) for school, year in pairs if school in only))
