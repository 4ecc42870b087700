"""What the tests of generation share: each family's base with its registry, made once."""

from collections.abc import Callable, Iterator

import pytest
from generation_bed import Bed, make_bed


@pytest.fixture(scope="session")
def bed_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bed]:
    beds: dict[str, Bed] = {}

    def build(family: str) -> Bed:
        if family not in beds:
            beds[family] = make_bed(tmp_path_factory.mktemp(family), family)
        return beds[family]
    return build


@pytest.fixture
def llama(bed_of: Callable[[str], Bed]) -> Iterator[Bed]:
    yield bed_of("llama")
