"""What several tests of merges open."""

from collections.abc import AsyncIterator

import pytest

from homeroom_merge.testing import MemorySis
from homeroom_server.settings import Settings
from tests.merge.pupils import School, opened_school
from tests.merge.written import Opened, agreed


@pytest.fixture
def opened(database_of_test: str, settings: Settings) -> Opened:
    """A Core and a SIS of the test's."""
    return lambda sis, entity="Student": opened_school(database_of_test, settings, sis, entity)


@pytest.fixture
async def school(opened: Opened) -> AsyncIterator[School]:
    """Two pupils on whom both sides agree, in a database."""
    async with opened(MemorySis()) as school:
        await agreed(school, "r1", "r2")
        yield school
