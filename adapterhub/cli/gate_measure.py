"""How a gate measures at the command line: the runtime answers the pinned rows with the adapter's own base."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.registry import Evaluate
from adapterhub.settings import Settings


def measure_by_runtime(settings: Settings, base: str | None = None) -> Evaluate:
    """Return what measures an adapter on a gate's rows; `base` overrides the one that the adapter names."""

    def evaluate(folder: AdapterFolder, rows: bytes, file: str) -> Mapping[str, float]:
        from adapterhub.runtime.measure import evaluate_adapter  # heavy: only where there is a gate

        with tempfile.TemporaryDirectory() as place:
            data = Path(place) / file
            data.write_bytes(rows)
            return evaluate_adapter(folder, str(data), base=base or folder.manifest.base.id, settings=settings,
                                    columns={}).metrics
    return evaluate
