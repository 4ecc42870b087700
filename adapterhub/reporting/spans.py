"""How answers that lie in a text are read: entities among words, and the part of a context that answers a question."""

import numpy as np
import torch

from adapterhub.reporting.figures import Figure, f1, mean_share, share
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.reading import Certainty, JudgedRow, Reading, Span
from adapterhub.tasks.span_metrics import exact_match, overlap_f1
from adapterhub.tasks.token_classification import tags_of


def read_entities(measured: Measured) -> Reading:
    """Read the tags of each row's words; a decision is one word's tag."""
    truth = [list(example.row["tags"]) for example in measured.examples]
    found = [tags_of(own[0], example, measured.labels)
             for own, example in zip(measured.outputs, measured.examples, strict=True)]
    spans = [(_entities(t), _entities(f)) for t, f in zip(truth, found, strict=True)]
    n_right = [len(set(t) & set(f)) for t, f in spans]
    n_true, n_found = [len(set(t)) for t, _ in spans], [len(set(f)) for _, f in spans]
    n_words = [len(tags) for tags in truth]
    right_words = [sum(t == f for t, f in zip(*pair, strict=True)) for pair in zip(truth, found, strict=True)]
    figures: dict[str, Figure] = {
        "entity_f1": f1(n_right, n_found, n_true), "entity_precision": share(n_right, n_found),
        "entity_recall": share(n_right, n_true), "token_accuracy": share(right_words, n_words)}
    certainty = _word_certainty(measured)
    rows = [_judged(example.row["tokens"], own, sure)
            for example, own, sure in zip(measured.examples, spans, _surest_wrong(certainty, len(spans)), strict=True)]
    return Reading(figures=figures, rows=rows, certainty=certainty, spans=spans)


def read_answers(measured: Measured) -> Reading:
    """Read one answer per question; it is right where it matches exactly."""
    found = [measured.task.decode(own, example, measured.labels)
             for own, example in zip(measured.outputs, measured.examples, strict=True)]
    right = [[str(answer["text"]) for answer in example.row["answers"]] for example in measured.examples]
    matches = np.array([exact_match(answer["answer"], texts) for answer, texts in zip(found, right, strict=True)])
    overlaps = [overlap_f1(answer["answer"], texts) for answer, texts in zip(found, right, strict=True)]
    scores = np.array([float(answer["score"]) for answer in found])
    rows = [JudgedRow(text=example.row["question"], right=" / ".join(dict.fromkeys(texts)), answered=answer["answer"],
                      is_right=bool(match), note=f"{score:.0%} sure, F1 {overlap:.2f}", weight=score * (1 - overlap))
            for example, texts, answer, match, score, overlap
            in zip(measured.examples, right, found, matches, scores, overlaps, strict=True)]
    return Reading(figures={"f1": mean_share(overlaps), "exact_match": mean_share(matches)}, rows=rows,
                   certainty=Certainty(row=np.arange(len(rows)), confidence=scores, is_right=matches))


def _entities(tags: list[str]) -> list[Span]:
    from seqeval.metrics.sequence_labeling import get_entities  # half a second, as scikit-learn comes with it

    return [Span(kind, first, last) for kind, first, last in get_entities(tags)]


def _word_certainty(measured: Measured) -> Certainty:
    """Return how sure the tag of each word's first subword is; words that were cut off were not asked."""
    rows, confidences, rights = [], [], []
    for i, (own, example) in enumerate(zip(measured.outputs, measured.examples, strict=True)):
        target = torch.tensor(example.target)
        asked = target >= 0
        best, tags = own[0].float()[asked].softmax(dim=-1).max(dim=-1)
        rows.append(np.full(len(best), i))
        confidences.append(best.numpy().astype(float))
        rights.append((tags == target[asked]).numpy().astype(float))
    return Certainty(row=np.concatenate(rows), confidence=np.concatenate(confidences), is_right=np.concatenate(rights))


def _surest_wrong(certainty: Certainty, n_rows: int) -> list[float]:
    """Return how sure each row's surest wrong word is; 0 where all are right."""
    surest = np.zeros(n_rows)
    np.maximum.at(surest, certainty.row, certainty.confidence * (1 - certainty.is_right))
    return [float(value) for value in surest]


def _judged(words: list[str], spans: tuple[list[Span], list[Span]], sure: float) -> JudgedRow:
    right, found = (", ".join(f"{' '.join(words[span.first:span.last + 1])} ({span.kind})" for span in own) or "none"
                    for own in spans)
    return JudgedRow(text=" ".join(words), right=right, answered=found, is_right=set(spans[0]) == set(spans[1]),
                     note=f"{sure:.0%} sure of a wrong word" if sure else "", weight=sure)
