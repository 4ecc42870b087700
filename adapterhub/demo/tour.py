"""The demo's recipe: base, train, publish, one mixed pass, swap under requests, cost. Every figure is measured here."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adapterhub.bases.load import load_base
from adapterhub.costs.compare import ArmFigures, run_arm, scale
from adapterhub.demo.stream import RequestStream
from adapterhub.errors import DataError
from adapterhub.progress import progress_bar
from adapterhub.registry import Registries, open_registries
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings
from adapterhub.tasks.task import Evaluation
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training

EPOCHS = 6
_MARK = ".adapterhub-demo"
INTENTS, ENTITIES = "support/intents", "support/entities"
_MIXED = (
    (f"{INTENTS}@production", "i was charged but my parcel never came, where is it?"),
    (f"{ENTITIES}@production", "Order #48213 for Maria Jensen should go to Leeds by Friday"),
    ("finance/sentfin", "Shares of the bank fall 8 % after a weak quarter"),
    ("support/banking77", "the cash machine kept my card"),
    ("support/clinc150", "what is the exchange rate for euros"),
    ("medical/abstracts", "Left ventricular function was measured in 40 patients after myocardial infarction."),
    ("medical/medquad", {"query": "What are the symptoms of asthma?", "candidates": [
        "Wheezing, coughing, chest tightness and shortness of breath are common.",
        "It is inherited in an autosomal recessive pattern.",
        "Wash the wound with clean water and cover it."]}),
)
console = Console()


def run_demo(output: Path) -> None:
    """Run the six steps in `output`. Raises DataError where `output` holds something that is no earlier demo's."""
    started = time.perf_counter()
    _clear(output)
    settings = replace(Settings.from_environment(), registry=str(output / "registry"))
    _title("1. The base")
    base = load_base("embedded", cache=settings.cache)
    console.print(f"all-MiniLM-L6-v2, 22.7 M parameters, fingerprint {base.identity.fingerprint[:12]}; its weights' "
                  "SHA-256 is upstream's.")
    registries = open_registries(settings)
    with as_file(files("adapterhub.examples")) as examples:
        intents = _config("text-classification", examples / "intents.csv", output / "intents-1")
        _title("2. Two adapters are trained")
        _train(intents, settings)
        _train(_config("token-classification", examples / "entities.jsonl", output / "entities-1"), settings)
        _title("3. Published, and production points to them")
        _publish(registries, output / "intents-1", INTENTS)
        _publish(registries, output / "entities-1", ENTITIES)
        runtime = Runtime(base, registries, settings=settings)
        _title("4. One batch of mixed rows, one pass through the base")
        _predict_mixed(runtime, registries)
        _title("5. A new version under running requests")
        _swap(runtime, registries, replace(intents, output=output / "intents-2", continue_from=output / "intents-1",
                                           epochs=2, learning_rate=5e-4, seed=0), settings)
        _title("6. What it saved, both ways run here")
        _compare(intents, output, base.source.folder)
    console.print(f"\nDone in {time.perf_counter() - started:.0f} s. Everything lies in {output}; "
                  f"look at it with: adapterhub list --registry {output / 'registry'}")


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()) and not (output / _MARK).exists():
        raise DataError(f"{output} holds something that is not an earlier demo's.", hint="Give another --output.")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / _MARK).touch()


def _config(task: str, data: Path, output: Path) -> TrainConfig:
    return TrainConfig(task=task, data=str(data), output=output, epochs=EPOCHS, batch_size=16, max_length=64,
                       licence="Apache-2.0", source="written for adapterhub")


def _train(config: TrainConfig, settings: Settings) -> None:
    result = run_training(config, settings)
    for title, report in result.evaluation.reports.items():
        _table(f"{Path(config.data).name}, test rows, {title}", ("label", "precision", "recall", "F1", "rows"),
               [(line.label, f"{line.precision:.2f}", f"{line.recall:.2f}", f"{line.f1:.2f}", str(line.support))
                for line in report])
    console.print(f"{_figures(result.evaluation)}; {result.n_trained:,} parameters in {result.outcome.seconds:.0f} s.")


def _publish(registries: Registries, folder: Path, name: str) -> str:
    version = registries.publish(folder, name)
    registries.promote(version.reference, "production")
    console.print(f"{version.reference}  sha256:{version.digest[:12]}  {version.size_bytes:,} bytes  <- production")
    return version.reference


def _predict_mixed(runtime: Runtime, registries: Registries) -> None:
    known = {listing.version.path for listing in registries.list()}
    rows = [(reference, row) for reference, row in _MIXED if reference.partition("@")[0] in known]
    for reference, _ in rows:
        runtime.load(reference)
    before = runtime.statistics().n_passes
    started = time.perf_counter()
    answers = runtime.predict(rows)
    seconds, n_passes = time.perf_counter() - started, runtime.statistics().n_passes - before
    lines = [(answer.version or "", (answer.digest or "")[:12], _short(answer.result)) for answer in answers]
    _table("Answers, in the order of the rows", ("version", "digest", "answer"), lines)
    console.print(f"{len(rows)} rows of {len({row[0] for row in rows})} adapters in {n_passes} pass, "
                  f"{1000 * seconds:.0f} ms.")


def _swap(runtime: Runtime, registries: Registries, config: TrainConfig, settings: Settings) -> None:
    reference = f"{INTENTS}@production"
    texts = ["where is my card", "please cancel order 5512", "the screen arrived cracked"]
    _train(config, settings)
    with RequestStream(runtime, reference, texts) as stream:
        stream.wait_for(20)
        new = _publish(registries, config.output, INTENTS)
        stream.wait_for(20)
    log = stream.log
    first = log.versions.index(new) + 1 if new in log.versions else 0
    console.print(f"{len(log.versions)} requests answered while production moved, {len(log.failures)} failed; "
                  f"version 2 answered from request {first} on.")
    move = registries.rollback(reference)
    answer = runtime.predict([(reference, texts[0])])[0]
    console.print(f"Rolled back: production -> version {move.version}; the next request was answered by "
                  f"{answer.version}.")


def _compare(config: TrainConfig, output: Path, base_folder: Path) -> None:
    settings = {"task": config.task, "data": config.data, "epochs": config.epochs, "batch_size": config.batch_size,
                "max_length": config.max_length, "is_validated": False}
    arms: list[ArmFigures] = []
    with progress_bar("comparing", 2) as progress:
        for done, method in enumerate(("lora", "full"), start=1):
            arms.append(run_arm({**settings, "method": method}, output / f"compare-{method}"))
            progress.update(done, method)
    adapter, full = arms
    metric = next(iter(adapter.metrics))
    _table(f"Adapter against full fine-tuning: same rows, {config.epochs} epochs, one seed, one process each",
           ("", "adapter", "full", "full / adapter"), [
               ("trained parameters", f"{adapter.trained_parameters:,}", f"{full.trained_parameters:,}",
                _ratio(full.trained_parameters, adapter.trained_parameters)),
               ("bytes on disk", f"{adapter.disk_bytes:,}", f"{full.disk_bytes:,}",
                _ratio(full.disk_bytes, adapter.disk_bytes)),
               ("peak memory above start", f"{adapter.peak_memory_bytes / 1e6:.0f} MB",
                f"{full.peak_memory_bytes / 1e6:.0f} MB", _ratio(full.peak_memory_bytes, adapter.peak_memory_bytes)),
               ("median step", f"{1000 * adapter.step_seconds:.0f} ms", f"{1000 * full.step_seconds:.0f} ms",
                _ratio(full.step_seconds, adapter.step_seconds)),
               (f"test {metric} ({adapter.n_test_rows} rows)", f"{adapter.metrics[metric]:.3f}",
                f"{full.metrics[metric]:.3f}", "")])
    base_bytes = (base_folder / "model.safetensors").stat().st_size
    _table("Disk, and weights in memory, by number of tasks (from the measured sizes)",
           ("tasks", "one base + adapters", "full models", "ratio"),
           [(str(line.n_tasks), f"{line.adapters_bytes / 1e6:,.0f} MB", f"{line.full_bytes / 1e6:,.0f} MB",
             _ratio(line.full_bytes, line.adapters_bytes)) for line in scale(adapter, full, base_bytes)])


def _ratio(larger: float, smaller: float) -> str:
    return f"{larger / smaller:.1f}x"


def _figures(evaluation: Evaluation) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in evaluation.metrics.items())


def _short(result: dict[str, object]) -> str:
    if "entities" in result:
        entities = result["entities"]
        assert isinstance(entities, list)
        return ", ".join(f"{entity['entity']}: {entity['word']}" for entity in entities) or "no entity"
    name = "label" if "label" in result else "answer"
    return f"{str(result[name])[:60]} ({float(str(result['score'])):.2f})"


def _title(text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]")


def _table(title: str, header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name)
    for line in lines:
        table.add_row(*line)
    console.print(table)
