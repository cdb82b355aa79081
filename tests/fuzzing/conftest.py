"""The node that is fuzzed: one for all tests of a process, as they only ask what it must answer to anybody."""

from collections.abc import Iterator

import pytest

from tests.fuzzing.target import Target, running_target


@pytest.fixture(scope="session")
def target(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(postgres_url, tmp_path_factory.mktemp("target")) as target:
        yield target
        target.assert_is_well()
