"""The demo's recipe: base, train, publish, one mixed pass, swap under requests, cost. Every figure is measured here."""

import shutil
import time
from contextlib import closing
from dataclasses import replace
from importlib.resources import as_file, files
from math import prod
from pathlib import Path

from rich.console import Console

from adapterhub.bases.embedded import EMBEDDED, WEIGHTS_SHA256
from adapterhub.bases.load import Base, load_base
from adapterhub.costs.figures import ArmFigures
from adapterhub.costs.scale import ModelSizes, ScaleLine, scale
from adapterhub.costs.turns import ArmSettings, run_arms
from adapterhub.demo.figures import DemoFigures, MixedFigures, SwapFigures, TrainedFigures
from adapterhub.demo.plan import ENTITIES, INTENTS, LEAST_SHIPPED, STREAM_TEXTS, DemoPlan, MixedRow
from adapterhub.demo.show import Screen, figures_of
from adapterhub.demo.stream import RequestStream
from adapterhub.errors import AdapterNotFound, DataError, PredictionError
from adapterhub.making import make_adapter
from adapterhub.progress import waiting
from adapterhub.registry import Registries, open_registries
from adapterhub.runtime.device import device_of, dtype_of
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult

_MARK = ".adapterhub-demo"


def run_demo(plan: DemoPlan, settings: Settings, *, is_quiet: bool = False) -> DemoFigures:
    """Run the six steps in `plan.output` and return what they measured; quiet prints to standard error.

    Raises DataError where the output holds something that is no earlier demo's; AdapterNotFound where the shipped
    registry has too few adapters; PredictionError where a request failed while the alias moved.
    """
    started = time.perf_counter()
    screen = Screen(Console(stderr=is_quiet))
    settings = replace(settings, registry=str(plan.output / "registry"))
    registries = open_registries(settings)
    _require_own(plan.output)
    rows = mixed_rows(plan, registries)
    _clear(plan.output)
    screen.title("1. The base")
    base = _open_base(plan, settings, screen)
    with as_file(files("adapterhub.examples")) as examples:
        tour = _Tour(plan, settings, registries, screen, examples)
        screen.title("2. Two adapters are trained")
        results = {INTENTS: tour.train(tour.intents_config()), ENTITIES: tour.train(tour.entities_config())}
        screen.title("3. Both are published, and production points to them")
        trained = [tour.publish(result, name) for name, result in results.items()]
        with waiting("loading the base into a runtime"):
            runtime = Runtime(base, registries, settings=settings)
        with closing(runtime):
            screen.title("4. One batch of mixed rows")
            slot_bytes = load_all(runtime, rows)
            mixed = tour.predict_mixed(runtime, rows)
            screen.title("5. A second version, under running requests")
            second, swap = tour.swap(runtime)
        screen.title("6. What it saved, both ways run here")
        adapter, full = tour.compare()
        dtype = dtype_of(runtime.config.dtype, device_of(runtime.config.device))
        lines = scale_of(base, adapter, full, slot_bytes=slot_bytes, number_bytes=dtype.itemsize)
        screen.scale(lines, str(dtype).removeprefix("torch."))
    seconds = time.perf_counter() - started
    screen.say(f"\nDone in {seconds:.0f} s. Everything lies in {plan.output}; look at it with: "
               f"adapterhub list --registry {plan.output / 'registry'}")
    return DemoFigures(base_fingerprint=base.identity.fingerprint, base_parameters=n_parameters(base),
                       trained=[*trained, second], mixed=mixed, swap=swap, adapter=adapter, full=full, scale=lines,
                       seconds=seconds)


class _Tour:
    """The steps, with what they share."""

    def __init__(self, plan: DemoPlan, settings: Settings, registries: Registries, screen: Screen,
                 examples: Path) -> None:
        self._plan, self._settings, self._registries, self._screen = plan, settings, registries, screen
        self._examples = examples

    def intents_config(self) -> TrainConfig:
        """Return the settings of the intents adapter's first version."""
        return self._config("text-classification", "intents.csv", "intents-1", epochs=self._plan.intents_epochs,
                            learning_rate=self._plan.intents_learning_rate)

    def entities_config(self) -> TrainConfig:
        """Return the settings of the entities adapter."""
        return self._config("token-classification", "entities.jsonl", "entities-1", epochs=self._plan.entities_epochs,
                            learning_rate=self._plan.entities_learning_rate)

    def train(self, config: TrainConfig) -> TrainResult:
        """Train an adapter and print its report on the test rows."""
        result = make_adapter(config, self._settings)
        outcome = result.outcome
        self._screen.evaluation(Path(config.data).name, result.evaluation)
        self._screen.say(f"{figures_of(result.evaluation)}; {result.n_trained:,} parameters trained in "
                         f"{outcome.n_steps} steps and {outcome.seconds:.0f} s, best epoch {outcome.best_epoch} of "
                         f"{outcome.epochs_done}.")
        return result

    def publish(self, result: TrainResult, name: str) -> TrainedFigures:
        """Publish a trained folder and point production to it."""
        assert result.folder is not None, "the demo trains adapters here"
        version = self._registries.publish(result.folder, name)
        self._registries.promote(version.reference, "production")
        self._screen.say(f"{version.reference}  sha256:{version.digest[:12]}  {version.size_bytes:,} bytes  "
                         f"<- {name}@production")
        return TrainedFigures(reference=version.reference, digest=version.digest, size_bytes=version.size_bytes,
                              trained_parameters=result.n_trained, seconds=result.outcome.seconds,
                              n_test_rows=result.evaluation.n_rows, metrics=result.evaluation.metrics)

    def predict_mixed(self, runtime: Runtime, rows: list[MixedRow]) -> MixedFigures:
        """Answer all rows in one call and count the passes through the base."""
        before, started = runtime.statistics().n_passes, time.perf_counter()
        answers = runtime.predict([(row.reference, row.row) for row in rows])
        seconds, n_passes = time.perf_counter() - started, runtime.statistics().n_passes - before
        figures = MixedFigures(answers=[answer.to_dict() for answer in answers], n_passes=n_passes, seconds=seconds,
                               n_adapters=len({answer.digest for answer in answers}))
        self._screen.mixed(rows, figures)
        return figures

    def swap(self, runtime: Runtime) -> tuple[TrainedFigures, SwapFigures]:
        """Train on to a second version; move production to it, and back, while requests run.

        Raises PredictionError where one of them failed.
        """
        plan, reference = self._plan, f"{INTENTS}@production"
        result = self.train(replace(self.intents_config(), output=plan.output / "intents-2",
                                    continue_from=plan.output / "intents-1", epochs=plan.second_epochs,
                                    learning_rate=plan.second_learning_rate))  # one seed: the same rows stay test rows
        with RequestStream(runtime, reference, STREAM_TEXTS) as stream:
            stream.wait_for(plan.requests_per_phase)
            second = self.publish(result, INTENTS)
            stream.wait_for(plan.requests_per_phase)
            move = self._registries.rollback(reference)
            self._screen.say(f"Rolled back: {reference} -> version {move.version}")
            stream.wait_for(plan.requests_per_phase)
        log = stream.log
        figures = SwapFigures(n_requests=len(log.versions) + len(log.failures), failures=log.failures,
                              phases=log.phases())
        self._screen.swap(figures)
        if log.failures:
            raise PredictionError(f"{len(log.failures)} requests failed while production moved: {log.failures[0]}")
        return second, figures

    def compare(self) -> tuple[ArmFigures, ArmFigures]:
        """Train the intents both ways, each in a fresh process, and print the figures side by side."""
        plan = self._plan
        arms = {plan.output / f"compared-{method}": ArmSettings(
            method=method, task="text-classification", data=self._examples / "intents.csv", base=plan.base,
            epochs=plan.compared_epochs, learning_rate=rate, batch_size=plan.batch_size, max_length=plan.max_length)
            for method, rate in (("lora", plan.adapter_learning_rate), ("full", plan.full_learning_rate))}
        adapter, full = run_arms(arms)
        self._screen.comparison(adapter, full)
        return adapter, full

    def _config(self, task: str, data: str, output: str, *, epochs: int, learning_rate: float) -> TrainConfig:
        plan = self._plan
        return TrainConfig(task=task, data=str(self._examples / data), output=plan.output / output, base=plan.base,
                           epochs=epochs, learning_rate=learning_rate, batch_size=plan.batch_size,
                           max_length=plan.max_length, licence="Apache-2.0",
                           source="written for adapterhub")


def mixed_rows(plan: DemoPlan, registries: Registries) -> list[MixedRow]:
    """Return the demo's own rows and those whose adapters are shipped.

    Raises AdapterNotFound where fewer than four are.
    """
    known = {listing.path for listing in registries.list()}
    found = [row for row in plan.shipped_rows if row.reference in known]
    missing = [row.reference for row in plan.shipped_rows if row.reference not in known]
    if len(found) < LEAST_SHIPPED:
        raise AdapterNotFound(missing[0], where=registries.where, why=(
            f"the demo answers with at least {LEAST_SHIPPED} shipped adapters and finds {len(found)}; "
            f"missing are {', '.join(missing)}"), hint="Make them with scripts/build_registry, or take a full clone.")
    return [*plan.own_rows, *found]


def load_all(runtime: Runtime, rows: list[MixedRow]) -> int:
    """Load every row's adapter ahead; return the bytes that the first took in memory, as the runtime counts them."""
    before = runtime.statistics().slots_bytes
    runtime.load(rows[0].reference)
    first_bytes = runtime.statistics().slots_bytes - before
    for row in rows[1:]:
        runtime.load(row.reference)
    return first_bytes


def scale_of(base: Base, adapter: ArmFigures, full: ArmFigures, *, slot_bytes: int,
             number_bytes: int) -> list[ScaleLine]:
    """Return what 1, 10 and 100 tasks take, from the two arms' files and what the runtime holds in memory.

    slot_bytes: of one adapter in its slot, head included; number_bytes: of one weight of a whole model.
    """
    weights_bytes = sum(path.stat().st_size for path in base.source.folder.glob("*.safetensors"))
    return scale(ModelSizes(disk_bytes=weights_bytes, memory_bytes=number_bytes * n_parameters(base)),
                 ModelSizes(disk_bytes=adapter.disk_bytes, memory_bytes=slot_bytes),
                 ModelSizes(disk_bytes=full.disk_bytes, memory_bytes=number_bytes * full.trained_parameters))


def n_parameters(base: Base) -> int:
    """Return the base's parameters."""
    return sum(prod(shape) for shape in base.shapes.shapes.values())


def _open_base(plan: DemoPlan, settings: Settings, screen: Screen) -> Base:
    with waiting("taking the base's fingerprint"):
        base = load_base(plan.base, cache=settings.cache)
    checked = (f" Its weights have upstream's SHA-256 ({WEIGHTS_SHA256[:12]}...); no hub was asked."
               if plan.base == EMBEDDED else "")
    name = "all-MiniLM-L6-v2" if plan.base == EMBEDDED else base.source.id
    screen.say(f"{name}, {n_parameters(base) / 1e6:.1f} M parameters, fingerprint {base.identity.fingerprint[:12]}."
               f"{checked}")
    return base


def _require_own(output: Path) -> None:
    """Raise DataError where `output` is a file, or holds what no demo has written."""
    if output.exists() and not (output.is_dir() and ((output / _MARK).exists() or not any(output.iterdir()))):
        raise DataError(f"{output} holds something that is not an earlier demo's.", hint="Give another --output.")


def _clear(output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / _MARK).touch()
