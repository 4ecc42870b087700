"""The table of tasks; built-ins and strangers' tasks enter it alike."""

from adapterhub.errors import UnknownName
from adapterhub.tasks.multi_label_classification import MultiLabelClassification
from adapterhub.tasks.question_answering import QuestionAnswering
from adapterhub.tasks.sentence_similarity import SentenceSimilarity
from adapterhub.tasks.task import Task
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_classification import TextClassification
from adapterhub.tasks.text_generation import TextGeneration
from adapterhub.tasks.text_regression import TextRegression
from adapterhub.tasks.token_classification import TokenClassification

_BUILT_IN: tuple[Task, ...] = (TextClassification(), MultiLabelClassification(), TextRegression(),
                               TokenClassification(), SentenceSimilarity(), QuestionAnswering(),
                               TextGeneration(), Text2TextGeneration())
TASKS: dict[str, Task] = {task.name: task for task in _BUILT_IN}


def find_task(name: str) -> Task:
    """Return a task by its name. Raises UnknownName with the names that are known."""
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]
