"""What the automatic type of numbers gains over PEFT as it comes (float32), on real rows with a real adapter.

The shipped banking77 adapter answers the test rows of Banking77: the runtime with `auto`, PEFT's model with the
tokenizer's own padding, both from texts, both a request of 256 rows at a time; PEFT computes it in batches of 32 as the
rows come. Needs ADAPTERHUB_DATA, and a processor with native bfloat16 for the target.

What bound holds, and why. AVX512-BF16 multiplies twice as many numbers per instruction as float32; packed weights save
reordering them each time; rows sorted by length save a third of the padding of these short texts. What is the same on
both sides, tokens and head, is a tenth. AMX would give more than twice. Labels differ only where two of the 77 are as
likely as bfloat16's rounding (3 digits) can tell.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from adapterhub.bases.load import Base, load_base
from adapterhub.data.read import read_rows
from adapterhub.errors import AdapterNotFound, DataError
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.device import device_of, has_native_bfloat16
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.tasks.text_classification import TextClassification
from benchmarks.alternation import alternate, ratio_figure
from benchmarks.report import Figure, Options, median_figure, run

ADAPTER = "support/banking77"
ROWS_PER_REQUEST = 256
PEFT_BATCH = 32
LEAST_SPEED = 2.5
LEAST_AGREEMENT = 0.995


def measure(options: Options) -> list[Figure]:
    """Time Banking77's test rows with dtype auto beside PEFT in float32, and compare the labels."""
    settings = Settings.from_environment()
    if settings.data is None:
        raise DataError("There is no data to measure on.", hint="Set ADAPTERHUB_DATA to the folder that holds data/.")
    if settings.shipped_registry is None:
        raise AdapterNotFound(ADAPTER, where="this install: it has no shipped registry")
    rows = read_rows(settings.data / "data" / "banking77" / "test.jsonl", columns=TextClassification.columns, given={})
    texts = [str(row["text"]) for row in rows]
    base, registry = load_base("embedded", cache=settings.cache), Registry(settings.shipped_registry)
    folder = registry.local_path(ADAPTER)
    assert folder is not None, "the shipped registry is a folder"
    runtime = Runtime(base, registry, config=RuntimeConfig(dtype="auto"))
    stock = StockPeft(base, folder, registry.read(ADAPTER).manifest.labels)
    requests = [texts[i:i + ROWS_PER_REQUEST] for i in range(0, len(texts), ROWS_PER_REQUEST)]
    return [*_speed(runtime, stock, requests, n_rounds=2 if options.is_quick else 12),
            _agreement(runtime, stock, texts)]


class StockPeft:
    """The adapter as its card says to use it."""

    def __init__(self, base: Base, folder: Path, labels: Sequence[str]) -> None:
        model = base.load_with_head(AutoModelForSequenceClassification, n_labels=len(labels))
        self._tokenizer, self._labels = base.tokenizer, labels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's about a property that transformers renamed
            self._model = PeftModel.from_pretrained(model, str(folder)).eval()

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Return each text's label."""
        found: list[str] = []
        for start in range(0, len(texts), PEFT_BATCH):
            encoded = self._tokenizer(list(texts[start:start + PEFT_BATCH]), padding=True, truncation=True,
                                      return_tensors="pt")
            with torch.inference_mode():
                best = self._model(**encoded).logits.argmax(dim=-1).tolist()
            found += [self._labels[i] for i in best]
        return found


def _speed(runtime: Runtime, stock: StockPeft, requests: Sequence[Sequence[str]], *, n_rounds: int) -> list[Figure]:
    ours: list[float] = []
    theirs: list[float] = []
    for texts in requests:  # each request by both in turn; the first also warms up
        rows = [(ADAPTER, text) for text in texts]
        seconds = alternate({"auto": partial(runtime.predict, rows), "PEFT": partial(stock.labels, texts)},
                            n_rounds=n_rounds, n_warmups=1 if texts is requests[0] else 0)
        ours += [value / len(texts) for value in seconds["auto"]]
        theirs += [value / len(texts) for value in seconds["PEFT"]]
    has_target = has_native_bfloat16(device_of("auto"))
    return [median_figure("auto: rows per second", [1 / value for value in ours], "rows/s"),
            median_figure("PEFT in float32: rows per second", [1 / value for value in theirs], "rows/s"),
            ratio_figure("auto over PEFT, rows per second", theirs, ours, at_least=LEAST_SPEED if has_target else None,
                         note="" if has_target else "no target: this processor has no native bfloat16")]


def _agreement(runtime: Runtime, stock: StockPeft, texts: Sequence[str]) -> Figure:
    ours = [answer.result["label"] for answer in runtime.predict([(ADAPTER, text) for text in texts])]
    theirs = stock.labels(texts)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return Figure(name="same label as PEFT in float32", value=same / len(texts), unit="share", n_runs=1,
                  at_least=LEAST_AGREEMENT, note=f"{same} of {len(texts)} test rows")


if __name__ == "__main__":
    run("auto_dtype", measure)
