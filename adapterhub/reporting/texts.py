"""How texts are read: how likely each right one was, token by token, and what was written beside it."""

from typing import Any

import numpy as np

from adapterhub.reporting.figures import Figure, Numbers, SumFigure, share
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.reading import JudgedRow, Reading
from adapterhub.tasks.generation import LARGEST_LOSS, n_chosen
from adapterhub.tasks.written import score_rows


def read_texts(measured: Measured) -> Reading:
    """Read the tokens of each row's right text; a row is the further off the less likely they were."""
    losses, tokens, chosen = (np.array(column, dtype=float) for column in zip(*_sums(measured), strict=True))
    figures: dict[str, Figure] = {
        "perplexity": SumFigure(np.stack([losses, tokens], axis=1), lambda sums: np.exp(_mean(sums))),
        "loss": SumFigure(np.stack([losses, tokens], axis=1), _mean), "token_accuracy": share(chosen, tokens)}
    texts = {answer.question.place: answer.text for answer in measured.answers}
    rows = [JudgedRow(text=_asked(example.row), right=_right(example.row), answered=texts.get(i, ""),
                      is_right=bool(chosen[i] == tokens[i]), note=f"loss {losses[i] / tokens[i]:.3f} per token",
                      weight=float(losses[i] / tokens[i]))
            for i, example in enumerate(measured.examples)]
    return Reading(figures={**figures, **_written_figures(measured)}, rows=rows, has_right_rows=False)


def _sums(measured: Measured) -> list[tuple[float, int, int]]:
    """Return each row's summed loss, its labelled tokens, and those that would have been chosen."""
    return [(-sum(float(output[:, 0].double().sum()) for output in own),
             sum(sequence.n_labels for sequence in example.sequences),
             sum(n_chosen(output, sequence) for output, sequence in zip(own, example.sequences, strict=True)))
            for own, example in zip(measured.outputs, measured.examples, strict=True)]


def _mean(sums: Numbers) -> Numbers:
    loss: Numbers = np.minimum(sums[:, 0] / np.maximum(sums[:, 1], 1), LARGEST_LOSS)
    return loss


def _written_figures(measured: Measured) -> dict[str, Figure]:
    """Return the figures that are means over the rows that were written; BLEU is none."""
    if not measured.answers:
        return {}
    lines, places = score_rows(measured.answers), [answer.question.place for answer in measured.answers]
    was_written = np.zeros(len(measured.examples))
    was_written[places] = 1
    figures: dict[str, Figure] = {}
    for name in lines[0]:
        scores = np.zeros(len(measured.examples))
        scores[places] = [line[name] for line in lines]
        figures[name] = share(scores, was_written)
    return figures


def _asked(row: Any) -> str:
    if "messages" in row:
        return " | ".join(message["content"] for message in row["messages"][:-1])
    return str(row.get("prompt", row.get("text")))


def _right(row: Any) -> str:
    return str(row["messages"][-1]["content"]) if "messages" in row else str(row.get("completion", ""))
