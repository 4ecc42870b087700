"""Measure one adapter in the runtime: on rows, and on its own probe."""

from collections.abc import Mapping

import torch

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.bases.load import Base, load_base
from adapterhub.data.split import read_test_rows
from adapterhub.errors import InvalidFolder
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.shared_base import SharedBase
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Evaluation, Example, TokenSequence

MEASURING = RuntimeConfig(dtype="float32")
"""Figures are measured in the type that they were recorded in, whatever serving uses."""
PROBE_TOLERANCE = 1e-3
"""Between machines: float32 sums are ordered otherwise on other processors; a wrong base differs by far more."""


def evaluate_adapter(folder: AdapterFolder, data: str, *, base: str, settings: Settings,
                     columns: Mapping[str, str]) -> Evaluation:
    """Measure a folder on a file's rows through the runtime. Raises DataError, BaseMismatch, InvalidFolder."""
    task, manifest = find_task(folder.manifest.task), folder.manifest
    rows = read_test_rows(data, columns=task.columns, given=columns)
    opened = load_base(base, cache=settings.cache)
    examples = task.encode(rows, opened.tokenizer, manifest.labels, manifest.head.max_length)
    return task.evaluate(_compute(folder, opened, examples), examples, manifest.labels)


def verify_probe(folder: AdapterFolder, base: Base) -> float | None:
    """Return the largest difference to the recorded probe outputs, None where none were recorded.

    Raises InvalidFolder where it is too large, or no number.
    """
    if not folder.manifest.probe:
        return None
    examples = [Example(sequences=[TokenSequence(input_ids=row.input_ids, token_type_ids=[0] * len(row.input_ids))])
                for row in folder.manifest.probe]
    outputs = _compute(folder, base, examples)
    largest = 0.0
    for row, output in zip(folder.manifest.probe, outputs, strict=True):
        found, recorded = output[0].flatten(), torch.tensor(row.outputs)
        if found.shape != recorded.shape:
            raise InvalidFolder(str(folder.path), [f"its probe has {len(recorded)} outputs, the runtime {len(found)}"])
        difference = float((found - recorded).abs().max() / recorded.abs().max().clamp(min=1.0))
        if not difference <= PROBE_TOLERANCE:  # NaN is no difference that could be small
            raise InvalidFolder(str(folder.path), [f"its probe differs by {difference:.1e} from what was recorded"],
                                hint="It does not compute what it did when it was made; do not serve it.")
        largest = max(largest, difference)
    return largest


def _compute(folder: AdapterFolder, base: Base, examples: list[Example]) -> list[list[torch.Tensor]]:
    shared = SharedBase(base, MEASURING)
    adapter = shared.adapters.load(folder, in_use=())
    return shared.compute([(adapter, example) for example in examples])
