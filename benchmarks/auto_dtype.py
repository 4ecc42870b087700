"""What the automatic type of numbers gains over PEFT as it comes (float32), on real rows with a real adapter.

The shipped banking77 adapter answers the test rows of Banking77: the runtime with `auto`, PEFT's model with the
tokenizer's own padding, both from texts, both a request of 256 rows at a time; PEFT computes it in batches of 32 as the
rows come. Needs ADAPTERHUB_DATA, and a processor with native bfloat16 for the target.

What bound holds, and why. AVX512-BF16 multiplies twice as many numbers per instruction as float32; packed weights save
reordering them each time; rows of like length together save the padding of these short texts, which is half of what
a batch of 32 as they come computes. AMX would multiply faster still. Labels differ only where two of the 77 are as
likely as bfloat16's rounding (3 digits) can tell.
"""

import warnings
from collections.abc import Sequence
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
QUICK_STEP = 4
"""A quick run takes every fourth row."""
_OURS, _THEIRS = "auto", "PEFT in float32"


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
    texts = texts[::QUICK_STEP] if options.is_quick else texts
    requests = [texts[i:i + ROWS_PER_REQUEST] for i in range(0, len(texts), ROWS_PER_REQUEST)]
    compared = Compared(runtime, stock)
    for _ in range(1 if options.is_quick else 3):
        for request in requests:
            compared.answer(request)
    runtime.close()
    return compared.figures()


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


class Compared:
    """Both in turn on each request, their times and their labels."""

    def __init__(self, runtime: Runtime, stock: StockPeft) -> None:
        self._runtime, self._stock = runtime, stock
        self._seconds: dict[str, list[float]] = {_OURS: [], _THEIRS: []}
        """For a row."""
        self._is_same: list[bool] = []
        self._warm_up = True

    def answer(self, texts: Sequence[str]) -> None:
        """Answer one request by both."""
        found: dict[str, list[str]] = {}
        rows = [(ADAPTER, text) for text in texts]

        def ours() -> None:
            found[_OURS] = [answer.result["label"] for answer in self._runtime.predict(rows)]

        def theirs() -> None:
            found[_THEIRS] = self._stock.labels(texts)

        if self._warm_up:
            self._runtime.predict(rows[:PEFT_BATCH])
            self._stock.labels(texts[:PEFT_BATCH])
            self._warm_up = False
        for name, seconds in alternate({_OURS: ours, _THEIRS: theirs}, n_rounds=1, n_warmups=0).items():
            self._seconds[name].append(seconds[0] / len(texts))
        self._is_same += [a == b for a, b in zip(found[_OURS], found[_THEIRS], strict=True)]

    def figures(self) -> list[Figure]:
        """Return rows per second of both, their ratio, and how often the labels agree."""
        has_target = has_native_bfloat16(device_of("auto"))
        rates = [median_figure(f"{name}: rows per second", [1 / value for value in values], "rows/s")
                 for name, values in self._seconds.items()]
        same = sum(self._is_same)
        return [*rates, ratio_figure("auto over PEFT, rows per second", self._seconds[_THEIRS], self._seconds[_OURS],
                                     at_least=LEAST_SPEED if has_target else None,
                                     note="" if has_target else "no target: no native bfloat16 here"),
                Figure(name="same label as PEFT in float32", value=same / len(self._is_same), unit="share",
                       at_least=LEAST_AGREEMENT, note=f"{same} of {len(self._is_same)} test rows")]


if __name__ == "__main__":
    run("auto_dtype", measure)
