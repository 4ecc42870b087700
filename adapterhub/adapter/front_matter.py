"""The card's front matter: what the Hugging Face Hub reads of a model card, by huggingface-hub's own classes."""

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from adapterhub.adapter.manifest import DataFacts, Metric

HUB_LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "c-uda",
    "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "odbl", "odc-by",
    "openrail", "pddl", "unlicense", "wtfpl", "zlib",
})
"""Ids of licences that data comes under. Source: huggingface.co/docs/hub/repositories-licenses."""
_HUB_METRICS = {"macro_f1": "f1", "entity_f1": "f1", "entity_precision": "precision", "entity_recall": "recall",
                "token_accuracy": "accuracy", "in_scope_accuracy": "accuracy", "out_of_scope_recall": "recall",
                "micro_f1": "f1", "spearman": "spearmanr", "pearson": "pearsonr"}
"""Our metric -> the Hub's id of its kind (huggingface.co/metrics); the others keep their names."""


_PIPELINES = {"multi-label-classification": "text-classification", "text-regression": "text-classification"}
"""Tasks that the Hub knows as one kind of another."""


def front_matter(*, task: str, method: str, hub_base: str, data: DataFacts, metrics: Sequence[Metric]) -> str:
    """Return the YAML between two lines of dashes: base, licence of the data, task, tags and every figure."""
    task = pipeline_of(task)
    results = [EvalResult(task_type=task, dataset_type=slug(data.name), dataset_name=data.name,
                          dataset_split=metric.split, metric_type=_HUB_METRICS.get(metric.name, metric.name),
                          metric_name=metric.name, metric_value=round(metric.value, 4)) for metric in metrics]
    licence = hub_licence(data.licence)
    card = ModelCardData(base_model=hub_base, base_model_relation="adapter", library_name="peft", pipeline_tag=task,
                         license=licence, license_name=slug(data.licence) if licence == "other" else None,
                         tags=["adapterhub", method], model_name=data.name if results else None,
                         eval_results=results or None)
    return f"---\n{card.to_yaml()}\n---\n"


def pipeline_of(task: str) -> str:
    """Return the Hub's name of a task."""
    return _PIPELINES.get(task, task)


def hub_licence(licence: str) -> str | None:
    """Return the Hub's id of a licence: `CC BY-SA 4.0` is cc-by-sa-4.0; one it does not list is `other`."""
    if not licence:
        return None
    known = slug(licence.lower().removesuffix("license").removesuffix("licence"))
    return known if known in HUB_LICENCES else "other"


def slug(text: str) -> str:
    """Return a text in lower case with one hyphen wherever the Hub's ids allow no other sign."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
