"""Where trials are run: rows read and encoded once, one base in memory, one run of settings after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapterhub.bases.load import load_base
from adapterhub.bases.processor import keep_few_kernels
from adapterhub.data.digest import digest_of_parts
from adapterhub.errors import DataError
from adapterhub.progress import ShowProgress
from adapterhub.searching.kept_base import KeptBase, keep_base
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import evaluate_model
from adapterhub.training.loop import run_loop, seed_everything
from adapterhub.training.methods import TrainedModel, build_model
from adapterhub.training.outcome import Outcome, chosen_metric
from adapterhub.training.prepare import Prepared, prepare, read_data
from adapterhub.training.run import settled
from adapterhub.training.watch import Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBed:
    """Everything that all trials of a search share."""

    config: TrainConfig
    """The settings that no trial changes; its metric is the one that trials are judged by."""
    base: KeptBase
    prepared: Prepared
    data: str
    """Digest of the rows in their parts."""

    @property
    def metric(self) -> str:
        """What is made best, on the validation rows; never on the test rows, which stay unseen until the end."""
        assert self.config.metric is not None, "it is chosen when the bed is made"
        return self.config.metric

    def run(self, config: TrainConfig, watchers: Sequence[Watcher]) -> Outcome:
        """Train with a trial's settings, and write nothing. What a watcher raises ends it. Raises TrainingError."""
        inputs, task = self.prepared.inputs, self.prepared.task
        plan = config.plan_for(len(inputs.train))
        config = replace(config, epochs=plan.n_epochs, batch_size=plan.batch_size)
        return run_loop(config, self.build(config), task, inputs, watchers)

    def build(self, config: TrainConfig) -> TrainedModel:
        """Build a trial's model. Raises InvalidConfig where the base has not its targets, or cannot do its method."""
        inputs = self.prepared.inputs
        seed_everything(config.seed)
        return build_model(config, self.base, self.prepared.task, inputs.labels,
                           n_steps=config.plan_for(len(inputs.train)).n_steps)


def make_bed(config: TrainConfig, settings: Settings, show: ShowProgress) -> TrialBed:
    """Read and encode the rows, load the base, and choose the metric. Raises as `run_training`, before any trial.

    DataError where there are no validation rows: a search has nothing else to judge by.
    """
    keep_few_kernels()
    task = find_task(config.task)
    data = read_data(config, task)
    base = keep_base(load_base(config.base, cache=settings.cache))
    config = settled(config, base)
    prepared = prepare(config, task, base, data, settings.cache, show)
    inputs = prepared.inputs
    if not inputs.validation:
        raise DataError(f"{config.data} has no validation rows, so no trial could be judged.",
                        hint="Give a folder with a validation part, or fractions with a second share above 0.")
    bed = TrialBed(config=replace(config, epochs=config.plan_for(len(inputs.train)).n_epochs), base=base,
                   prepared=prepared, data=digest_of_parts(data.digests))
    evaluation = evaluate_model(bed.build(config).model, prepared.task, inputs.validation, inputs.labels, inputs.pad_id)
    return replace(bed, config=replace(bed.config, metric=chosen_metric(config, prepared.task, evaluation)))
