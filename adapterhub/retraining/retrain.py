"""The recipe: corrections and rows, train on from the published version, measure both, through the gate, publish."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidConfig, PromotionRefused
from adapterhub.files import folder_written_whole, require_free, sha256_of_bytes
from adapterhub.making import make_adapter
from adapterhub.progress import ShowProgress, progress_bar
from adapterhub.registry import Evaluate, Registry, Version
from adapterhub.registry.aliases import AliasMove, current_move
from adapterhub.registry.gates import find_gate, judge
from adapterhub.registry.records import GateRecord
from adapterhub.retraining.carried import carried_settings, label_names_of
from adapterhub.retraining.rows import RetrainingRows, retraining_rows, write_parts, write_rows
from adapterhub.runtime.measure import measure_adapters
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.config_file import parse_config

Lessons = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPlan:
    """What to retrain, on what, and for which alias."""

    reference: str
    """Whose version is trained on: `namespace/name` (what the alias means, else the latest), or with a version."""
    data: str
    """The rows that the version was trained on: a file, a folder with parts, or a data set."""
    alias: str = "production"
    """What moves to the new version, through its gate."""
    columns: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    """Another place of the base than the one that the adapter names."""
    epochs: int | None = None
    learning_rate: float | None = None
    output: Path | None = None
    """Where the new folder stays; None: only in the registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both versions on the same held-out rows."""

    n_rows: int
    published: Mapping[str, float]
    candidate: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """What came of it."""

    parent: Version
    version: Version
    move: AliasMove
    rows: RetrainingRows
    comparisons: Mapping[str, Comparison]
    """`test rows` and, where enough were given, `corrections`."""


def retrain(plan: RetrainPlan, lessons: Lessons, registry: Registry, evaluate: Evaluate, settings: Settings,
            show: ShowProgress = progress_bar) -> Retrained:
    """Train the next version and let the alias point to it, if the gate lets it; else nothing is published.

    `evaluate` is what the gate measures with. Raises InvalidConfig where the alias has no gate, the rows' labels are
    not the adapter's, or the runtime does not serve its method; PromotionRefused with the figures; AdapterNotFound,
    DataError, and what training raises.
    """
    if plan.output is not None:
        require_free(plan.output)
    parent, gate, holding = _start(plan, registry)
    measured = _remembering(evaluate)
    with tempfile.TemporaryDirectory(prefix="adapterhub-retrain-") as place:
        work = Path(place)
        folder = registry.pull(parent, work / "published")
        if not folder.config.is_served:
            raise InvalidConfig(f"{parent.reference} is of method {folder.config.peft_type}, which the runtime does "
                                "not serve, so no gate can measure it.",
                                hint="Pull it, make plain LoRA of it with `adapterhub convert`, and publish that.")
        task = find_task(folder.manifest.task)
        rows = retraining_rows(plan.data, lessons, task, folder.manifest, columns=plan.columns,
                               label_names=label_names_of(folder.manifest, parent.path, registry))
        config = _config(plan, folder, write_parts(rows, work / "rows"), work / "candidate", rows)
        make_adapter(config, settings, show)
        candidate = read_folder(work / "candidate")
        comparisons = _compare(folder, candidate, rows, work, config.base, settings)
        if plan.output is not None:
            with folder_written_whole(plan.output) as unfinished:
                shutil.copytree(work / "candidate", unfinished, dirs_exist_ok=True)
        _require_passed(plan, registry, gate, holding, candidate, measured)
        version = registry.publish(work / "candidate", parent.path)
    try:
        move = registry.promote(version.reference, plan.alias, evaluate=measured,
                                expected=holding.number if holding else 0)
    except PromotionRefused:  # somebody moved the alias meanwhile: what it was judged against holds no more
        registry.yank(version.reference, f"{plan.alias} was moved while it was trained")
        raise
    return Retrained(parent=parent, version=version, move=move, rows=rows, comparisons=comparisons)


def _start(plan: RetrainPlan, registry: Registry) -> tuple[Version, GateRecord, AliasMove | None]:
    """Return the version to train on, the gate, and the move that holds the alias; before anything takes long."""
    wanted = Reference.parse(plan.reference)
    if not registry.has(wanted.path):
        raise AdapterNotFound(plan.reference, where=registry.where,
                              hint="Only what lies in your own registry gets a next version; `adapterhub copy` "
                                   "brings it there.")
    gate = find_gate(registry.store, wanted.path, plan.alias)
    if gate is None:
        raise InvalidConfig(f"{wanted.path}@{plan.alias} has no gate, so nothing would judge the new version.",
                            hint=f"Set one: adapterhub gate set {wanted.path} --alias {plan.alias} --metric METRIC "
                                 "--max-drop 0.0 --data eval.jsonl.")
    holding = current_move(registry.store, wanted.path, plan.alias)
    names_one = plan.reference.strip() != wanted.path
    start = f"{wanted.path}@{holding.version}" if holding and not names_one else plan.reference
    return registry.resolve(start), gate, holding


def _config(plan: RetrainPlan, folder: AdapterFolder, data: Path, output: Path, rows: RetrainingRows) -> TrainConfig:
    """Return the settings of a run of the same make as the published version, that starts from its weights.

    Raises InvalidConfig where a setting that the manifest holds is none.
    """
    carried = carried_settings(folder)
    learns_all = folder.manifest.training.hyperparameters.get("is_validated") is False
    given: dict[str, Any] = {
        "task": folder.manifest.task, "data": str(data), "output": str(output),
        "base": plan.base or folder.manifest.base.id, "epochs": plan.epochs, "learning_rate": plan.learning_rate,
        "continue_from": str(folder.path), "is_validated": bool(rows.splits.validation) and not learns_all,
        "trackers": [], "name": f"{rows.splits.name} with {rows.n_learned} corrections"}
    return parse_config(carried | given)


def _compare(published: AdapterFolder, candidate: AdapterFolder, rows: RetrainingRows, work: Path, base: str,
             settings: Settings) -> dict[str, Comparison]:
    """Measure both on the held-out rows, and on the corrections that were held out."""
    found: dict[str, Comparison] = {}
    for name, held_out in (("test rows", rows.splits.test), ("corrections", rows.corrections)):
        if not held_out:
            continue
        file = write_rows(work / f"{name.replace(' ', '_')}.jsonl", held_out)
        before, after = measure_adapters({"published": published, "candidate": candidate}, str(file), base=base,
                                         settings=settings, columns={})
        found[name] = Comparison(n_rows=len(held_out), published=before.evaluation.metrics,
                                 candidate=after.evaluation.metrics)
    return found


def _require_passed(plan: RetrainPlan, registry: Registry, gate: GateRecord, holding: AliasMove | None,
                    candidate: AdapterFolder, evaluate: Evaluate) -> None:
    """Judge the candidate before it is published, so that one that is refused never becomes `latest`."""
    path = Reference.parse(plan.reference).path
    incumbent = registry.read(f"{path}@{holding.version}") if holding else None
    judgement = judge(registry.store, gate, holding, candidate, incumbent, evaluate, path=path, alias=plan.alias)
    if judgement.refusals:
        where = f"It lies in {plan.output}." if plan.output else "Keep it with --output to look at it."
        raise PromotionRefused(f"The retrained {path} does not pass the gate of {plan.alias!r}: "
                               f"{'; '.join(judgement.refusals)}; nothing was published.", hint=where)


def _remembering(evaluate: Evaluate) -> Evaluate:
    """Return what measures each adapter once on the same rows: the promotion asks again what was asked before."""
    known: dict[tuple[str, str], Mapping[str, float]] = {}

    def remember(folder: AdapterFolder, rows: bytes, file: str) -> Mapping[str, float]:
        key = (folder.digest, sha256_of_bytes(rows))
        if key not in known:
            known[key] = evaluate(folder, rows, file)
        return known[key]
    return remember
