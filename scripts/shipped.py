"""The shipped adapters: each recipe in one line, trained, measured beside its references, published to registry/.

Usage: scripts/build_registry [train|reference|publish] [name ...]; without a step, all three in turn.
Folders and reference figures are kept in .build-registry/ until they are published, so that a stop loses one run.
"""

import json
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".build-registry"
REPEATED = 1e-3
"""Largest difference of a metric between the trainer and the runtime: a row or two on the edge of two labels."""
REFERENCE_STEPS = {"full": "full fine-tuning", "bare": "bare base"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one shipped adapter is made."""

    reference: str
    task: str
    epochs: int
    licence: str
    source: str
    learning_rate: float = 2e-3
    full_learning_rate: float = 1e-4
    max_length: int = 128
    is_validated: bool = True
    batch_size: int = 32
    columns: dict[str, str] = field(default_factory=dict)


RECIPES = {
    "sentfin": Recipe(
        reference="finance/sentfin", task="text-classification", epochs=5, licence="MIT",
        source="SEntFiN 1.0, Sinha et al. 2022; headlines with one sentiment, own 80/10/10 split", learning_rate=1e-3),
    "banking77": Recipe(
        reference="support/banking77", task="text-classification", epochs=8, licence="CC BY 4.0",
        source="Banking77, Casanueva et al. 2020, official split", is_validated=False),
    "wnut17": Recipe(
        reference="news/wnut17", task="token-classification", epochs=6, licence="CC BY 4.0",
        source="WNUT 2017, Derczynski et al. 2017, official split", learning_rate=1e-3),
    "snli": Recipe(
        reference="language/snli", task="text-classification", epochs=4, licence="CC BY-SA 4.0",
        source="SNLI, Bowman et al. 2015; 8,842 training rows of the official dev set, official test set",
        learning_rate=1e-3),
    "clinc150": Recipe(
        reference="support/clinc150", task="text-classification", epochs=5, licence="CC BY 3.0",
        source="CLINC150 (full), Larson et al. 2019, official split"),
    "medical_abstracts": Recipe(
        reference="medical/abstracts", task="text-classification", epochs=5, licence="CC BY-SA 3.0", max_length=256,
        source="Medical Abstracts, Schopf et al. 2022; own 70/10/20 split of the official test file",
        learning_rate=1e-3),
    "medquad": Recipe(
        reference="medical/medquad", task="sentence-similarity", epochs=2, licence="CC BY 4.0", max_length=128,
        source="MedQuAD, Ben Abacha and Demner-Fushman 2019; 8,000 training rows, split by page", learning_rate=1e-3),
}


def main(arguments: list[str]) -> int:
    """Run the steps that are asked for."""
    warnings.simplefilter("ignore")
    from adapterhub.settings import Settings

    settings = Settings.from_environment()
    if settings.data is None:
        print("No data: set ADAPTERHUB_DATA to the folder whose data/ holds banking77, clinc150, ...", file=sys.stderr)
        return 2
    steps = [argument for argument in arguments if argument in STEPS] or list(STEPS)
    names = [argument for argument in arguments if argument in RECIPES] or list(RECIPES)
    for step in steps:
        for name in names:
            STEPS[step](name, RECIPES[name], settings)
    return 0


def config_of(name: str, recipe: Recipe, settings: object):  # type: ignore[no-untyped-def]
    """Return the recipe's TrainConfig."""
    from adapterhub.training.config import TrainConfig

    return TrainConfig(task=recipe.task, data=str(settings.data / "data" / name), output=WORK / name,  # type: ignore[attr-defined]
                       epochs=recipe.epochs, learning_rate=recipe.learning_rate, max_length=recipe.max_length,
                       is_validated=recipe.is_validated, batch_size=recipe.batch_size, licence=recipe.licence,
                       source=recipe.source, name=name, columns=recipe.columns,
                       fractions=(1.0, 0.0, 0.0) if not recipe.is_validated else (0.70, 0.15, 0.15))


def train(name, recipe, settings):  # type: ignore[no-untyped-def]
    """Train one adapter into the work folder."""
    from adapterhub.training.run import run_training

    if (WORK / name).is_dir():
        return
    result = run_training(config_of(name, recipe, settings), settings)
    print(name, result.evaluation.metrics, f"{result.outcome.seconds:.0f} s", "losses",
          [round(loss, 3) for loss in result.outcome.losses], flush=True)


def reference(name, recipe, settings):  # type: ignore[no-untyped-def]
    """Measure what the adapter is compared with: full fine-tuning, and the bare base where it can answer."""
    from adapterhub.training.run import run_training

    path = WORK / f"{name}.reference.json"
    if path.is_file():
        return
    config = replace(config_of(name, recipe, settings), method="full", learning_rate=recipe.full_learning_rate,
                     output=WORK / f"{name}.full")
    figures = {"full": run_training(config, settings).evaluation.metrics}
    if recipe.task == "sentence-similarity":
        figures["bare"] = bare_base(name, recipe, settings)
    path.write_text(json.dumps(figures, indent=2))
    print(name, figures, flush=True)


def bare_base(name, recipe, settings):  # type: ignore[no-untyped-def]
    """Measure the base as it is, by its own embeddings."""
    from adapterhub.bases.load import load_base
    from adapterhub.data.split import read_test_rows
    from adapterhub.tasks.table import find_task
    from adapterhub.training.evaluate import evaluate_model

    config, task = config_of(name, recipe, settings), find_task(recipe.task)
    base = load_base("embedded", cache=settings.cache)
    rows = read_test_rows(config.data, columns=task.columns, given=config.columns)
    examples = task.encode(rows, base.tokenizer, [], config.max_length)
    return evaluate_model(base.load_trunk(), task, examples, [], int(base.tokenizer.pad_token_id or 0)).metrics


def publish(name, recipe, settings):  # type: ignore[no-untyped-def]
    """Measure the test rows once more through the runtime, write the card, publish to registry/ as production."""
    from adapterhub.adapter.folder import read_folder
    from adapterhub.bases.load import load_base
    from adapterhub.registry import Registry
    from adapterhub.reporting.findings import findings_of
    from adapterhub.reporting.sections import card_tables
    from adapterhub.runtime.measure import measure_adapters
    from adapterhub.tasks.table import find_task
    from adapterhub.training.describe import write_card

    folder, path, registry = WORK / name, WORK / f"{name}.reference.json", Registry(ROOT / "registry")
    if not folder.is_dir():
        return
    config, manifest = config_of(name, recipe, settings), read_folder(folder).manifest
    measured = measure_adapters({recipe.reference: read_folder(folder)}, config.data, base="embedded",
                                settings=settings, columns=config.columns)[0]
    evaluation = measured.evaluation
    for metric, value in evaluation.metrics.items():
        trained = manifest.metric(metric)
        if trained is None or abs(trained - value) > REPEATED:
            sys.exit(f"{name}: the runtime measures {metric} {value:.5f}, training measured {trained}.")
    figures = json.loads(path.read_text()) if path.is_file() else {}
    write_card(folder, find_task(recipe.task), evaluation, load_base("embedded", cache=settings.cache),
               {REFERENCE_STEPS[arm]: metrics for arm, metrics in figures.items()},
               tables=card_tables(findings_of(measured)))
    version = registry.publish(folder, recipe.reference)
    if registry.aliases(recipe.reference).get("production") != version.version:
        registry.promote(version.reference, "production")
    print(version.reference, version.digest[:12], evaluation.metrics, flush=True)


STEPS = {"train": train, "reference": reference, "publish": publish}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
