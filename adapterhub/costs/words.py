"""A comparison in words: when to use which, said from the figures and from nothing else."""

import math
from collections.abc import Sequence

from adapterhub.costs.summary import ArmSummary

LITTLE = 0.005
"""Half a point: less is no difference between arms."""


def when_to_use_which(task: str, arms: Sequence[ArmSummary]) -> str:
    """Return one paragraph on a task's arms."""
    named = {arm.arm: arm for arm in arms}
    full = named.get("full")
    adapters = [arm for arm in arms if arm.arm.startswith(("lora", "dora", "ia3", "lean"))]
    if full is None or not adapters:
        return f"On {task} nothing stands beside full fine-tuning, so nothing can be said about what an adapter saves."
    best = max(adapters, key=lambda arm: arm.quality.value)
    least = min(adapters, key=lambda arm: arm.peak_memory_bytes)
    fastest = min(adapters, key=lambda arm: arm.step_seconds)
    sentences = [
        _quality(task, full, best),
        f"On disk {best.title} takes 1/{full.disk_bytes / best.disk_bytes:.0f} of a whole model.",
        f"Least memory needs {least.title}: {_share(least.peak_memory_bytes, full.peak_memory_bytes)} of full "
        f"fine-tuning's peak; the shortest steps has {fastest.title}, "
        f"{_share(fastest.step_seconds, full.step_seconds)} of full's.",
    ]
    if worse := [arm.title for arm in adapters if arm.peak_memory_bytes > full.peak_memory_bytes]:
        sentences.append(f"More memory than full fine-tuning needs {_list(worse)}: at this size activations outweigh "
                         "what the optimiser saves.")
    if slower := [arm.title for arm in adapters if arm.step_seconds > full.step_seconds]:
        sentences.append(f"Slower steps than full fine-tuning's has {_list(slower)}.")
    if "head" in named:
        sentences.append(_head(named["head"], best))
    if "bare" in named:
        sentences.append(_bare(named["bare"], best))
    sentences.append(_advice(full, best, named.get("lean")))
    return " ".join(sentences)


def _quality(task: str, full: ArmSummary, best: ArmSummary) -> str:
    difference = best.quality.value - full.quality.value
    margin = _margin(full, best)
    seeds = f"{best.quality.n} seed{'s' * (best.quality.n > 1)}"
    if abs(difference) <= margin:
        return (f"On {task} {best.title} ({best.metric} {best.quality}) and full fine-tuning ({full.quality}) do not "
                f"differ by more than the spread ({seeds}, {full.n_test_rows} test rows).")
    which = "better" if difference > 0 else "worse"
    return (f"On {task} {best.title} ({best.metric} {best.quality}) is {which} than full fine-tuning ({full.quality}) "
            f"by {100 * abs(difference):.1f} points ({seeds}).")


def _margin(full: ArmSummary, best: ArmSummary) -> float:
    """Return the difference that is none: of seeds, and for one seed what its test rows alone may differ by."""
    by_seeds = (full.quality.half_width or 0) + (best.quality.half_width or 0)
    share = min(1.0, max(0.0, full.quality.value))
    by_rows = 1.96 * math.sqrt(2 * share * (1 - share) / full.n_test_rows) if full.n_test_rows else 0.0
    return max(LITTLE, by_seeds, by_rows if full.quality.n == 1 else 0.0)


def _head(head: ArmSummary, best: ArmSummary) -> str:
    lost = best.quality.value - head.quality.value
    if lost <= LITTLE:
        return "A head alone does as well here: take that, it costs least of all."
    return f"A head alone costs least of all and loses {100 * lost:.1f} points against {best.title}."


def _bare(bare: ArmSummary, best: ArmSummary) -> str:
    gained = best.quality.value - bare.quality.value
    if gained <= LITTLE:
        return f"The bare base does as well ({bare.quality.value:.3f}): nothing need be trained."
    return f"The bare base answers with {bare.quality.value:.3f}, so training gains {100 * gained:.1f} points."


def _advice(full: ArmSummary, best: ArmSummary, lean: ArmSummary | None) -> str:
    if full.quality.value - best.quality.value > _margin(full, best):
        return ("Where these points count and one task is all there is, fine-tune the whole model; for many tasks on "
                "one base, adapters.")
    if lean and best.quality.value - lean.quality.value <= LITTLE:
        return ("Take --preset lean first: it is within half a point of the best adapter here; take full fine-tuning "
                "only for a single task that neither shares its base nor is short of memory.")
    return ("Take an adapter unless there is a single task that neither shares its base nor is short of memory; "
            f"{best.title} is the safe choice here.")


def _share(value: float, of: float) -> str:
    return f"{value / of:.2f}x" if of else "an unknown share"


def _list(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
