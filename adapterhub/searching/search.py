"""A search's recipe: trials within a budget, the best one's settings trained on all rows, and the study beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from adapterhub.adapter.directions import LOWER_IS_BETTER
from adapterhub.errors import TrainingError
from adapterhub.files import canonical_json, require_free, write_atomic
from adapterhub.making import make_adapter
from adapterhub.progress import ShowProgress, progress_bar
from adapterhub.searching.bed import TrialBed, make_bed
from adapterhub.searching.space import Choice, Space, with_params
from adapterhub.searching.study import TrialFacts, facts_of, make_pruner, open_study, suggest
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.config_file import config_to_plain
from adapterhub.training.run import TrainResult
from adapterhub.training.watch import EpochFacts, StepFacts

FOLDER_SUFFIX, TRIALS_FILE = ".search", "trials.json"
_NO_MATTER = frozenset({"output", "trackers", "checkpoint_seconds", "licence", "source", "name"})
"""Settings that a search may be taken up with changed: none of them moves a trial's value."""
Tell = Callable[[Sequence[TrialFacts]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a search ends; trials of earlier runs of it count, their minutes do not."""

    n_trials: int
    minutes: float | None = None
    """After which no trial begins; None: as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search came to."""

    metric: str
    is_lower_better: bool
    trials: list[TrialFacts]
    best: TrialFacts
    study: Path
    """The folder with `study.db` and `trials.json`."""
    is_stopped: bool
    """Somebody stopped it; the same command goes on, and nothing is trained yet."""
    trained: TrainResult | None = None
    """The best settings on training and validation rows; None where it was stopped."""


class NoTrialEnded(TrainingError):
    """A search in which no trial came to its end."""


def search(config: TrainConfig, space: Space, budget: Budget, settings: Settings, *, pruner: str = "median",
           tell: Tell = lambda trials: None, show: ShowProgress = progress_bar) -> SearchResult:
    """Try settings until the budget is used, then train with the best on all rows but the test rows.

    Ctrl-C ends the trial that runs and keeps the study; the same call goes on. `tell` is given the trials whenever one
    moves. Raises as `run_training`; NoTrialEnded where no trial came to its end.
    """
    require_free(config.output)
    space.require_fit(config)
    bed = make_bed(config, settings, show)
    _require_buildable(bed, space)
    place, is_lower_better = study_folder(config.output), bed.metric in LOWER_IS_BETTER
    asked = {"rows": bed.data, "base": bed.base.identity.fingerprint, "metric": bed.metric, "pruner": pruner,
             "space": space.as_plain(), "setting": {name: value for name, value in config_to_plain(config).items()
                                                    if name not in _NO_MATTER and name not in space.dimensions}}
    with open_study(place, asked, is_lower_better=is_lower_better,
                    pruner=make_pruner(pruner, bed.config.epochs or 1)) as study:
        is_stopped = _Trials(study=study, bed=bed, space=space, tell=tell).run(budget)
        trials = facts_of(study)
        write_atomic(place / TRIALS_FILE, canonical_json([asdict(trial) for trial in trials]))
        ended = [trial for trial in trials if trial.state == "complete"]
        if not ended:
            raise NoTrialEnded(f"None of {len(trials)} trials came to its end"
                               f"{': ' + trials[-1].fault if trials and trials[-1].fault else '.'}",
                               hint="Go on with the same command, or give lower rates with --space.")
        best = (min if is_lower_better else max)(ended, key=lambda trial: trial.value or 0.0)
    trained = None if is_stopped else _train_best(config, best, bed, settings, show)
    return SearchResult(metric=bed.metric, is_lower_better=is_lower_better, trials=trials, best=best, study=place,
                        is_stopped=is_stopped, trained=trained)


def study_folder(output: Path) -> Path:
    """Return where the study of an output lies: beside it."""
    return output.with_name(output.name + FOLDER_SUFFIX)


def _require_buildable(bed: TrialBed, space: Space) -> None:
    """Build a model for each choice of targets and of method, so that a name the base has not is told now."""
    for name in ("targets", "method"):
        own = space.dimensions.get(name)
        for value in own.values if isinstance(own, Choice) else ():
            bed.build(with_params(bed.config, {name: value}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    """The trials of one study, run one after another."""

    study: optuna.Study
    bed: TrialBed
    space: Space
    tell: Tell

    def run(self, budget: Budget) -> bool:
        """Run trials until the budget is used; say whether somebody stopped them."""
        started = time.monotonic()
        if not self._n_ended() and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.enqueue_trial(self._defaults())
        while (n_ended := self._n_ended()) < budget.n_trials:
            is_over = budget.minutes is not None and time.monotonic() - started > budget.minutes * 60
            if is_over and n_ended:
                return False
            # Drawn by what has ended, so that a search that was stopped draws on as if it had not been.
            self.study.sampler = optuna.samplers.TPESampler(seed=self.bed.config.seed + n_ended)
            if not self._run_one():
                return True
        return False

    def _n_ended(self) -> int:
        """Count the trials that say something: one that was stopped does not."""
        return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "fault" in trial.user_attrs
                   for trial in self.study.get_trials(deepcopy=False))

    def _run_one(self) -> bool:
        """Run one trial; return False where somebody stopped it."""
        trial = self.study.ask()
        params = suggest(trial, self.space, self.bed.config)
        watcher = _Judge(trial, self.bed.metric, lambda: self.tell(facts_of(self.study)))
        self.tell(facts_of(self.study))
        try:
            outcome = self.bed.run(with_params(self.bed.config, params), [watcher])
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except TrainingError as error:  # a rate that diverges is a finding, no reason to end the search
            trial.set_user_attr("fault", error.message)
            self.study.tell(trial, state=TrialState.FAIL)
        except BaseException:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            if outcome.is_interrupted:
                self.study.tell(trial, state=TrialState.FAIL)
                return False
            trial.set_user_attr("best_epoch", outcome.best_epoch)
            trial.set_user_attr("seconds", round(outcome.seconds, 2))
            self.study.tell(trial, outcome.best_value)
        self.tell(facts_of(self.study))
        return True

    def _defaults(self) -> dict[str, Any]:
        """Return the settings as they are without a search, where the space has them: the best is never worse."""
        config = self.bed.config
        plan = config.plan_for(len(self.bed.prepared.inputs.train))
        values = {"learning_rate": config.rate, "rank": config.used_rank, "batch_size": plan.batch_size,
                  "targets": config.targets, "method": config.method, "alpha": config.scaled_alpha,
                  "head_learning_rate": config.head_rate, "dropout": config.used_dropout,
                  "weight_decay": config.weight_decay, "warmup": config.warmup,
                  "schedule": config.schedule}
        return {name: values[name] for name, own in self.space.dimensions.items() if own.holds(values[name])}


class _Judge:
    """Watches a trial's epochs, tells them to the study, and ends the trial where the pruner says so."""

    def __init__(self, trial: optuna.Trial, metric: str, tell: Callable[[], None]) -> None:
        self._trial, self._metric, self._tell = trial, metric, tell

    def step_ended(self, facts: StepFacts) -> None:
        """Do nothing."""

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Report the metric. Raises optuna.TrialPruned."""
        self._trial.report(facts.metrics[self._metric], facts.epoch)
        self._tell()
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _train_best(config: TrainConfig, best: TrialFacts, bed: TrialBed, settings: Settings,
                show: ShowProgress) -> TrainResult:
    """Train with the best settings on training and validation rows, for the epochs that were best."""
    final = with_params(config, best.params)
    plan = final.plan_for(len(bed.prepared.inputs.train))
    return make_adapter(replace(final, epochs=best.best_epoch, batch_size=plan.batch_size, is_validated=False,
                                metric=None), settings, show)
