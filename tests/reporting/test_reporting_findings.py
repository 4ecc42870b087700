"""What lies behind figures: calibration, confused labels, what became of entities, rows most certainly wrong."""

import numpy as np
import pytest
from invented import invented

from adapterhub.reporting.calibration import ERROR, calibration_figure, calibration_of
from adapterhub.reporting.confusion import confusion_of
from adapterhub.reporting.findings import findings_of
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.reading import Certainty, Choices, Span
from adapterhub.reporting.span_errors import span_errors_of
from adapterhub.tasks.task import Evaluation


def certainty(confidence: list[float], is_right: list[int]) -> Certainty:
    return Certainty(row=np.arange(len(confidence)), confidence=np.array(confidence),
                     is_right=np.array(is_right, dtype=float))


def test_a_model_as_often_right_as_it_is_sure_is_calibrated() -> None:
    found = calibration_of(certainty([0.75] * 400, [1, 1, 1, 0] * 100))
    assert found is not None
    assert (found.error, found.leaning) == (0.0, "neither too sure nor too unsure")
    assert [(b.n_decisions, b.right) for b in found.bins] == [(400, 0.75)]


def test_a_model_that_is_always_sure_and_half_right_is_off_by_half() -> None:
    found = calibration_of(certainty([1.0] * 10, [1, 0] * 5))
    assert found is not None
    assert (found.error, found.leaning) == (0.5, "too sure")
    assert found.bins[0].high == 1.0


def test_errors_of_bins_are_weighted_by_their_decisions() -> None:
    found = calibration_of(certainty([0.9] * 30 + [0.5] * 10, [1] * 30 + [1] * 10))
    assert found is not None
    assert found.error == pytest.approx((30 * 0.1 + 10 * 0.5) / 40)
    assert found.leaning == "too unsure"


def test_calibration_error_is_resampled_by_rows_whose_decisions_stay_together() -> None:
    own = Certainty(row=np.array([0, 0, 1]), confidence=np.array([0.9, 0.6, 0.8]), is_right=np.array([1.0, 0.0, 1.0]))
    figure = calibration_figure(own, 2)
    assert float(figure.over(np.array([[2.0, 0.0]]))[0]) == pytest.approx((0.1 + 0.6) / 2)


def test_confused_pairs_are_counted_from_right_to_answered_over_labels_that_occur() -> None:
    found = confusion_of(Choices(labels=["a", "b", "c", "d"], truth=[0, 0, 0, 1, 1], answered=[0, 1, 1, 1, 3]))
    assert found.labels == ["a", "b", "d"]
    assert [(pair.right, pair.answered, pair.n_rows) for pair in found.pairs] == [("a", "b", 2), ("b", "d", 1)]
    assert found.pairs[0].share == pytest.approx(2 / 3)
    assert found.counts.sum() == 5


def test_each_right_entity_has_one_fate_and_invented_ones_count_by_their_own_type() -> None:
    right = [Span("PER", 0, 1), Span("LOC", 3, 3), Span("LOC", 5, 6), Span("PER", 8, 8), Span("ORG", 10, 11),
             Span("ORG", 20, 20)]
    found = [Span("PER", 0, 1), Span("PER", 3, 3), Span("LOC", 6, 7), Span("LOC", 11, 12), Span("MISC", 15, 15),
             Span("ORG", 20, 20)]
    errors = {own.kind: own for own in span_errors_of([(right, found)])}
    every = errors["all"]
    assert (every.right, every.wrong_type, every.wrong_bounds, every.wrong_both, every.missed) == (2, 1, 1, 1, 1)
    assert (every.invented, errors["MISC"].invented) == (1, 1)
    assert (errors["PER"].right, errors["PER"].missed, errors["ORG"].wrong_both) == (1, 1, 1)


def test_no_entity_anywhere_is_no_error() -> None:
    assert span_errors_of([([], [])]) == []


def test_worst_rows_are_wrong_and_the_most_certain_come_first() -> None:
    found = findings_of(invented("text-classification"))
    weights = [row.weight for row in found.worst]
    assert weights == sorted(weights, reverse=True)
    assert all(row.right != row.answered for row in found.worst)
    assert found.n_wrong == round(60 * (1 - found.metrics["accuracy"]))


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "token-classification",
                                  "question-answering"])
def test_tasks_with_probabilities_are_calibrated_with_an_interval(task: str) -> None:
    found = findings_of(invented(task))
    assert found.calibration is not None
    assert found.calibration.error > 0
    assert found.intervals.keys() == found.metrics.keys()
    assert found.intervals[ERROR].low <= found.intervals[ERROR].high


def test_rows_of_numbers_are_ordered_by_how_far_they_are_off() -> None:
    found = findings_of(invented("text-regression"))
    assert found.calibration is None
    assert found.worst[0].note.startswith("off by")
    assert found.worst[0].weight == max(row.weight for row in found.worst)


def test_entities_that_were_cut_off_are_missed_but_not_uncertain() -> None:
    measured = invented("token-classification", n_rows=20)
    found = findings_of(measured)
    assert found.calibration is not None
    assert found.calibration.n_decisions == 20 * 8
    assert sum(own.missed for own in found.span_errors if own.kind == "all") > 0


def test_a_task_without_a_reader_has_its_figures_only() -> None:
    class Foreign:
        name = "foreign-task"

    measured = Measured(name="x", task=Foreign(), labels=[], examples=[], outputs=[],  # type: ignore[arg-type]
                        evaluation=Evaluation(metrics={"score": 0.5}, n_rows=3))
    found = findings_of(measured)
    assert (found.metrics, found.intervals, found.worst) == ({"score": 0.5}, {}, [])
