"""From a source of rows to what the loop reads: curated, encoded, with their labels, the parts as the run uses them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState

from adapterhub.bases.load import Base, load_base
from adapterhub.data.balance import oversample, weights_of
from adapterhub.data.curate import Curation, TrainingRows, read_curated
from adapterhub.data.digest import digest_of_parts
from adapterhub.data.labels import require_learned
from adapterhub.data.report import DataReport, PartReport
from adapterhub.data.split import PARTS, SplitPlan
from adapterhub.data.stream import read_streamed
from adapterhub.errors import DataError, InvalidConfig
from adapterhub.progress import ShowProgress, progress_bar
from adapterhub.settings import Settings
from adapterhub.tasks.class_weights import with_class_weights
from adapterhub.tasks.loading import require_fitting
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, Task
from adapterhub.training.arranged import Arranged
from adapterhub.training.config import TrainConfig
from adapterhub.training.encode import Encoded, Encoder, Lessons, lengths_of
from adapterhub.training.encoded_cache import EncodedCache
from adapterhub.training.example_file import ExampleFile
from adapterhub.training.lessons import arranged_lessons

CACHE_FOLDER = "encoded"
"""Below the settings' cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopInputs:
    """Encoded rows and what turns them into batches."""

    train: Sequence[Example]
    validation: Sequence[Example]
    """Empty: the last epoch is kept."""
    labels: list[str]
    pad_id: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each training example's longest sequence."""
        return self.train.lengths if isinstance(self.train, Arranged) else lengths_of(self.train)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that a run reads of its rows."""

    task: Task
    """With the weights of its classes, where they were asked for."""
    inputs: LoopInputs
    test: Sequence[Example]
    report: DataReport
    """With lengths."""
    digest: str
    """Of all rows in their parts, 64 hex digits."""


def read_data(config: TrainConfig, task: Task) -> TrainingRows:
    """Read, curate and divide a run's rows. Raises as `read_curated` or `read_streamed`; InvalidConfig as below."""
    if config.oversample and task.stratify_by is None:
        raise InvalidConfig(f"oversample draws rows of rare labels again, and rows of {task.name} have no single one.",
                            hint="Leave it out; class weights are for token-classification too.")
    read = read_streamed if config.stream else read_curated
    return read(config.data, columns=task.columns, given=config.columns,
                plan=SplitPlan(fractions=config.fractions, seed=config.seed, stratify_by=task.stratify_by),
                curation=Curation(label_names=config.label_map, is_cleaned=config.remove_duplicates,
                                  near_duplicates=config.near_duplicates))


def prepare(config: TrainConfig, task: Task, base: Base, data: TrainingRows, cache: Path,
            show: ShowProgress = progress_bar) -> Prepared:
    """Encode all parts, or take them from the settings' `cache`.

    Raises InvalidConfig for a base of a kind that the task cannot have; DataError for an unusable row, a label that
    training has not, or too great a length; UnknownName for a class weight of no label.
    """
    require_fitting(base, task)
    if config.length > base.max_length:
        raise DataError(f"max_length is {config.length}, the base reads at most {base.max_length} tokens.",
                        hint=f"Give --max-length {base.max_length}.")
    learned = PARTS[:1] if config.is_validated else PARTS[:2]
    labels = task.labels_of(data.rows_of(*learned))
    for part in data.report.parts:
        if part.name not in learned and part.labels:
            require_learned(labels, part.labels, part.name)
    encoder = Encoder(task=task, base=base, labels=labels, max_length=config.length,
                      cache=EncodedCache(cache / CACHE_FOLDER))
    with PartialState().main_process_first():  # the others find the rows in the cache
        encoded = {part: _encode(encoder, data, part, show, is_on_disk=config.stream,
                                 lessons=_lessons(config, task) if part in learned else None) for part in PARTS}
    order = None
    if config.oversample:
        order = oversample([label for part in learned for label in data.labels_of(part)], seed=config.seed)
    inputs = LoopInputs(train=_learned(config, task, [encoded[part].examples for part in learned], order),
                        validation=encoded["validation"].examples if config.is_validated else [], labels=labels,
                        pad_id=int(base.tokenizer.pad_token_id or 0))
    report = replace(data.report, parts=tuple(replace(part, lengths=encoded[part.name].lengths)
                                              for part in data.report.parts))
    return Prepared(task=_weighted(config, task, labels, [part for part in report.parts if part.name in learned]),
                    inputs=inputs, test=encoded["test"].examples, report=report, digest=digest_of_parts(data.digests))


def check_rows(config: TrainConfig, settings: Settings, show: ShowProgress = progress_bar) -> tuple[DataReport, int]:
    """Return what is found in a run's rows, with lengths, and the tokens that a text is cut at; nothing is trained.

    Raises as `read_data` and `prepare`, and BaseNotFound.
    """
    task = find_task(config.task)
    data = read_data(config, task)
    base = load_base(config.base, cache=settings.cache)
    if config.max_length is None:
        config = replace(config, max_length=min(config.length, base.max_length))
    return prepare(config, task, base, data, settings.cache, show).report, config.length


def _lessons(config: TrainConfig, task: Task) -> Lessons:
    return Lessons(name=f"lessons, packed {config.pack}, with prompts {config.learn_prompts}",
                   of=lambda examples: arranged_lessons(config, task.lessons(examples)))


def _encode(encoder: Encoder, data: TrainingRows, part: str, show: ShowProgress, *, is_on_disk: bool,
            lessons: Lessons | None) -> Encoded:
    rows, digest = data.rows_of(part), data.digests[part]
    with show(f"encoding {part}", len(rows)) as progress:
        if is_on_disk:
            return encoder.encode_to_disk(rows, digest, progress, lessons)
        return encoder.encode(rows, digest, progress)


def _learned(config: TrainConfig, task: Task, parts: Sequence[Sequence[Example]],
             order: Sequence[int] | None) -> Sequence[Example]:
    """Return what training learns one by one, of all parts and in the order of oversampling where there is one."""
    files = [part for part in parts if isinstance(part, ExampleFile)]
    if files:
        return Arranged(files, order)
    lessons = _lessons(config, task).of([example for part in parts for example in part])
    return lessons if order is None else [lessons[i] for i in order]


def _weighted(config: TrainConfig, task: Task, labels: list[str], parts: Sequence[PartReport]) -> Task:
    if config.class_weights is None:
        return task
    counts = {label: sum(part.labels.get(label, 0) for part in parts) for label in labels}
    return with_class_weights(task, weights_of(config.class_weights, counts, labels))
