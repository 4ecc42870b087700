"""The card of a trained adapter, and what it was compared with; the folder's tensors stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.card import CardFacts, CardTable, command_on, render_card, table_on
from adapterhub.adapter.directions import is_better
from adapterhub.adapter.folder import CARD_FILE, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE, FileFacts, Manifest
from adapterhub.bases.load import Base
from adapterhub.files import sha256_of_bytes, write_atomic
from adapterhub.reporting.sections import CURVE_TITLE
from adapterhub.tasks.task import Evaluation, Task
from adapterhub.tasks.usage import usage_of

TITLE = "## Beside it, on the same test rows"


def card_of(manifest: Manifest, task: Task, evaluation: Evaluation, base: Base, *,
            tables: Sequence[CardTable] = (), command: str = "") -> str:
    """Return the card's text; `evaluation` of the test rows gives its first tables, `tables` follow them."""
    scores = [CardTable(title=f"Test rows, {title}", header=("label", "precision", "recall", "F1", "rows"),
                        lines=[(line.label, f"{line.precision:.3f}", f"{line.recall:.3f}", f"{line.f1:.3f}",
                                str(line.support)) for line in report])
              for title, report in evaluation.reports.items()]
    return render_card(CardFacts(
        task=manifest.task, labels=manifest.labels, method=manifest.method, base=manifest.base, hub_base=base.hub_id,
        data=manifest.data, metrics=manifest.metrics, training=manifest.training, tables=[*scores, *tables],
        command=command,
        usage=usage_of(task, base.hub_id, len(manifest.labels))))


def write_card(folder: Path, task: Task, evaluation: Evaluation, base: Base,
               arms: Mapping[str, Mapping[str, float]], *, tables: Sequence[CardTable] = ()) -> None:
    """Write the card anew, with a table of other ways (arm -> metric -> value) behind it where there are any.

    What only the run knew stays: its learning curve, where `tables` have none, and its command. Raises InvalidFolder
    where the folder does not verify.
    """
    manifest, before = read_folder(folder).manifest, (folder / CARD_FILE).read_text(encoding="utf-8")
    curve = table_on(before, CURVE_TITLE)
    kept = [curve] if curve and all(table.title != CURVE_TITLE for table in tables) else []
    card = card_of(manifest, task, evaluation, base, tables=[*tables, *kept], command=command_on(before))
    data = f"{card}{_comparison(manifest, arms)}".encode()
    facts = FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data))
    manifest = replace(manifest, files={**manifest.files, CARD_FILE: facts})
    write_atomic(folder / CARD_FILE, data)
    write_atomic(folder / MANIFEST_FILE, manifest.to_bytes())


def _comparison(manifest: Manifest, arms: Mapping[str, Mapping[str, float]]) -> str:
    if not arms:
        return ""
    compared = {name for figures in arms.values() for name in figures}
    own = {metric.name: metric.value for metric in manifest.metrics
           if metric.split == "test" and metric.name in compared}
    ways = {"this adapter": own, **arms}
    lines = [f"| {way} | {' | '.join(_figure(figures, name) for name in own)} |" for way, figures in ways.items()]
    table = "\n".join([f"| way | {' | '.join(own)} |", f"|{'---|' * (len(own) + 1)}", *lines])
    return f"\n{TITLE}\n\n{table}\n\n{_verdict(own, arms)}\n"


def _figure(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4f}" if name in figures else "not measured"


def _verdict(own: Mapping[str, float], arms: Mapping[str, Mapping[str, float]]) -> str:
    """Say which ways did better, metric by metric."""
    better = [f"{arm} is better in {name} by {abs(figures[name] - own[name]):.4f}"
              for arm, figures in arms.items() for name in own
              if is_better(name, figures.get(name, own[name]), own[name])]
    return (f"One seed each: {'; '.join(better)}." if better else "One seed each: none of them does better.")
