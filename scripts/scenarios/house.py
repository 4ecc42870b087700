"""One process, one base, and all adapters of a scenario resident beside it; rows of any of them in one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterhub.demo.show import Screen
from adapterhub.progress import progress_bar, waiting
from adapterhub.registry import Version
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings

Embeddings = NDArray[np.float32]
BARE = None
"""The reference of the base's own embedding, without an adapter."""
_ROWS_AT_ONCE = 256


class House:
    """A runtime whose adapters stay in their slots."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.versions: list[Version] = []

    def pin(self, reference: str) -> Version:
        """Load an adapter and keep it. Raises AdapterNotFound, BaseMismatch, InvalidFolder."""
        self.versions.append(self.runtime.pin(reference))
        return self.versions[-1]

    def ask(self, rows: Sequence[tuple[str | None, Any]]) -> list[dict[str, Any]]:
        """Answer rows of (reference, row), many adapters in one pass; texts longer than the base reads are cut."""
        results: list[dict[str, Any]] = []
        with progress_bar("answering rows", len(rows)) as progress:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                answers = self.runtime.predict(rows[start:start + _ROWS_AT_ONCE], truncate=True)
                results += [answer.result for answer in answers]
                progress.update(len(results))
        return results

    def embed(self, reference: str | None, texts: Sequence[str]) -> Embeddings:
        """Return each text's unit embedding [N, I]."""
        return embeddings_of(self.ask([(reference, text) for text in texts]))


@contextmanager
def open_house(references: Sequence[str], settings: Settings, screen: Screen) -> Iterator[House]:
    """Load the embedded base and the adapters, say what is resident, and close it all at the end."""
    with waiting("loading the base"):
        house = House(Runtime("embedded", settings=settings))
    try:
        for reference in references:
            house.pin(reference)
        statistics = house.runtime.statistics()
        names = ", ".join(_short(version.reference) for version in house.versions)
        screen.say(f"One base, {house.runtime.base.identity.fingerprint[:12]}; {statistics.n_resident} adapter"
                   f"{'s' * (statistics.n_resident != 1)} in {statistics.slots_bytes / 1e6:.1f} MB beside it: {names}.")
        yield house
    finally:
        house.runtime.close()


def embeddings_of(results: Sequence[dict[str, Any]]) -> Embeddings:
    """Return the embeddings [N, I] that are in answers."""
    return np.array([result["embedding"] for result in results], dtype=np.float32)


def _short(reference: str) -> str:
    """Return a folder's own name, and a published reference as it is."""
    return Path(reference).name if Path(reference).is_absolute() else reference
