"""The table of readers: who reads a task's outputs row by row; built-ins and strangers' tasks enter it alike."""

from collections.abc import Callable

from adapterhub.reporting.classes import read_classes, read_label_sets
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.numbers import read_numbers, read_pairs
from adapterhub.reporting.reading import Reading
from adapterhub.reporting.spans import read_answers, read_entities
from adapterhub.reporting.texts import read_texts
from adapterhub.tasks.multi_label_classification import MultiLabelClassification
from adapterhub.tasks.question_answering import QuestionAnswering
from adapterhub.tasks.sentence_similarity import SentenceSimilarity
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_classification import TextClassification
from adapterhub.tasks.text_generation import TextGeneration
from adapterhub.tasks.text_regression import TextRegression
from adapterhub.tasks.token_classification import TokenClassification

READERS: dict[str, Callable[[Measured], Reading]] = {
    TextClassification.name: read_classes, MultiLabelClassification.name: read_label_sets,
    TextRegression.name: read_numbers, SentenceSimilarity.name: read_pairs,
    TokenClassification.name: read_entities, QuestionAnswering.name: read_answers,
    TextGeneration.name: read_texts, Text2TextGeneration.name: read_texts}
"""Task name -> its reader."""


def read_rows(measured: Measured) -> Reading | None:
    """Read outputs by their task's reader; None where there is none, or no row."""
    reader = READERS.get(measured.task.name)
    return reader(measured) if reader and measured.outputs else None
