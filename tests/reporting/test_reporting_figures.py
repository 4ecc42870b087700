"""Figures that are resampled: each is what the task's own `evaluate` gives, also for rows drawn several times."""

from dataclasses import replace

import numpy as np
import pytest
from invented import invented, invented_scored_pairs

from adapterhub.reporting.figures import number_figures
from adapterhub.reporting.findings import findings_of
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.readers import READERS, read_rows
from adapterhub.reporting.sections import sections_of
from adapterhub.tasks.written import Answered, Question, with_answers

TASKS = ["text-classification", "multi-label-classification", "text-regression", "sentence-similarity",
         "token-classification", "question-answering", "text-generation", "text2text-generation"]


def evaluated(measured: Measured, counts: np.ndarray) -> dict[str, float]:
    """The slow way: rows repeated, then measured by the task."""
    drawn = np.repeat(np.arange(len(counts)), counts.astype(int))
    return measured.task.evaluate([measured.outputs[i] for i in drawn], [measured.examples[i] for i in drawn],
                                  measured.labels).metrics


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_of_a_task_can_be_resampled_and_is_what_the_task_measures(task: str) -> None:
    measured = invented(task)
    reading = read_rows(measured)
    assert reading is not None
    assert reading.figures.keys() == measured.evaluation.metrics.keys()
    whole = {name: float(figure.over(np.ones((1, 60)))[0]) for name, figure in reading.figures.items()}
    assert whole == pytest.approx(measured.evaluation.metrics, abs=1e-9)
    assert 0.3 < list(whole.values())[-1] < 0.99, "outputs that say nothing would prove nothing"


@pytest.mark.parametrize("task", [task for task in TASKS if task != "sentence-similarity"])
def test_a_resample_gives_what_the_task_measures_on_rows_drawn_so(task: str) -> None:
    measured = invented(task)
    reading = read_rows(measured)
    assert reading is not None
    counts = np.random.default_rng(3).multinomial(60, [1 / 60] * 60, size=5).astype(float)
    for line in counts:
        slow = evaluated(measured, line)
        fast = {name: float(figure.over(line[None])[0]) for name, figure in reading.figures.items()}
        assert {name: fast[name] for name in slow} == pytest.approx(slow, abs=1e-9)


def test_pairs_with_scores_are_resampled_by_the_correlation_of_ranks() -> None:
    measured = invented_scored_pairs()
    reading = read_rows(measured)
    assert reading is not None
    line = np.random.default_rng(3).multinomial(40, [1 / 40] * 40).astype(float)
    fast = float(reading.figures["spearman"].over(line[None])[0])
    assert fast == pytest.approx(evaluated(measured, line)["spearman"])
    assert not reading.has_right_rows


def test_a_pool_of_answers_stays_whole_while_queries_are_resampled() -> None:
    reading = read_rows(invented("sentence-similarity"))
    assert reading is not None
    first = np.zeros((1, 60))
    first[0, 0] = 60
    assert float(reading.figures["recall_at_1"].over(first)[0]) == float(reading.rows[0].is_right)


def test_predictions_that_are_all_alike_correlate_with_nothing() -> None:
    figures = number_figures(np.full(10, 2.5), np.arange(10.0))
    values = {name: float(figure.over(np.ones((1, 10)))[0]) for name, figure in figures.items()}
    assert (values["spearman"], values["pearson"]) == (0.0, 0.0)
    assert values["mae"] == pytest.approx(2.9)


def test_built_in_tasks_have_their_readers() -> None:
    assert set(TASKS) <= READERS.keys()


def test_written_answers_are_measured_over_the_rows_that_were_written() -> None:
    measured = invented("text-generation")
    answers = [Answered(Question(place=place, prompt={"prompt": "say"}, tokens=[1], right=["a b"]), text)
               for place, text in ((2, "a b"), (5, "a c"))]
    measured = replace(measured, answers=answers, evaluation=with_answers(measured.evaluation, answers))
    reading = read_rows(measured)
    assert reading is not None
    assert [reading.rows[place].answered for place in (2, 5, 6)] == ["a b", "a c", ""]
    whole = {name: float(figure.over(np.ones((1, 60)))[0]) for name, figure in reading.figures.items()}
    assert whole == pytest.approx({name: value for name, value in measured.evaluation.metrics.items()
                                   if name != "bleu"})
    assert whole["exact_match"] == 0.5
    header = sections_of(findings_of(measured), has_pictures=False)[0]
    assert [line[0] for line in header.lines][2:4] == ["token_accuracy", "exact_match (2 rows)"]
