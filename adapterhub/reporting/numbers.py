"""How answers that are numbers are read: predicted scores, and the likeness or rank of pairs."""

import numpy as np

from adapterhub.reporting.classes import text_of
from adapterhub.reporting.figures import Figure, Numbers, RankFigure, mean_share, number_figures
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.reading import JudgedRow, Reading
from adapterhub.tasks.sentence_similarity import ranks_of


def read_numbers(measured: Measured) -> Reading:
    """Read one number per row; no row is right or wrong, only further off."""
    predicted = np.array([float(own[0]) for own in measured.outputs])
    truth = np.array([float(example.target) for example in measured.examples])
    texts = [text_of(example.row) for example in measured.examples]
    return Reading(figures=number_figures(predicted, truth), rows=_far_rows(texts, predicted, truth),
                   has_right_rows=False)


def read_pairs(measured: Measured) -> Reading:
    """Read pairs: against their scores where they have some, else each query's answer among all answers."""
    queries = np.stack([own[0].numpy() for own in measured.outputs])  # [N, I]
    answers = np.stack([own[1].numpy() for own in measured.outputs])
    rows = [example.row for example in measured.examples]
    if measured.examples[0].target is not None:
        cosines = (queries * answers).sum(axis=-1).astype(float)
        truth = np.array([float(example.target) for example in measured.examples])
        texts = [f"{row['query']} | {row['answer']}" for row in rows]
        return Reading(figures={"spearman": RankFigure(cosines, truth)},
                       rows=_far_rows(texts, _ranks(cosines), _ranks(truth)), has_right_rows=False)
    own_answers = [row["answer"] for row in rows]
    ranks = ranks_of(queries, answers, own_answers)
    figures: dict[str, Figure] = {"mrr": mean_share(1 / ranks), "recall_at_1": mean_share((ranks == 1).astype(float))}
    best = _best_answers(queries, answers, own_answers)
    judged = [JudgedRow(text=row["query"], right=row["answer"], answered=row["answer"] if rank == 1 else found,
                        is_right=bool(rank == 1), note=f"rank {rank}", weight=float(rank))
              for row, rank, found in zip(rows, ranks.tolist(), best, strict=True)]
    return Reading(figures=figures, rows=judged)


def _far_rows(texts: list[str], predicted: Numbers, truth: Numbers) -> list[JudgedRow]:
    return [JudgedRow(text=text, right=f"{t:.4g}", answered=f"{p:.4g}", is_right=bool(p == t),
                      note=f"off by {abs(p - t):.4g}", weight=abs(p - t))
            for text, p, t in zip(texts, predicted.tolist(), truth.tolist(), strict=True)]


def _ranks(values: Numbers) -> Numbers:
    """Return each value's rank, from 1; likeness and scores have no common scale, their ranks do."""
    from scipy.stats import rankdata

    ranks: Numbers = rankdata(values)
    return ranks


def _best_answers(queries: Numbers, answers: Numbers, texts: list[str]) -> list[str]:
    """Return the answer nearest to each query, other than an equal of its own."""
    return [texts[int(i)] for i in (queries @ answers.T).argmax(axis=1)]
