"""The Hugging Face inference form, task by task: inputs into rows, answers into what the Hub's clients parse.

Source: the task pages of huggingface.js (packages/tasks), from which `huggingface_hub` generates its types.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapterhub.runtime.answer import Answer
from adapterhub.server.errors import BadRequest

Parameters = Mapping[str, Any]
_MOST_LABELS = 3
"""As many as the task's answers hold."""


def rows_of(inputs: Any) -> tuple[list[Any], bool]:
    """Return the rows that `inputs` asks for, and whether it is a list of them. Raises BadRequest."""
    if isinstance(inputs, list):
        if not inputs:
            raise BadRequest("inputs is empty.", field="inputs", hint="Give at least one text.")
        return [_row_of(item, f"inputs.{i}") for i, item in enumerate(inputs)], True
    return [_row_of(inputs, "inputs")], False


def _row_of(value: Any, field: str) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise BadRequest(f"{field} is {type(value).__name__}, expected a text or an object.", field=field,
                         hint="See /docs for the forms of each task.")
    if "source_sentence" in value:
        return {"query": value["source_sentence"], "candidates": value.get("sentences")}
    return value


def told(answers: Sequence[Answer], parameters: Parameters, *, is_list: bool) -> Any:
    """Return answers of one adapter as its task's clients read them. Raises BadRequest for unknown parameters."""
    task = answers[0].task
    if task not in FORMS:
        raise BadRequest(f"The Hugging Face form has no task {task!r}.", field="inputs", hint="Use POST /v1/predict.")
    tell, allowed = FORMS[task]
    for name, value in parameters.items():
        if value is not None and name not in allowed:
            raise BadRequest(f"parameters.{name} is {value!r}, {task} takes no such parameter here.",
                             field=f"parameters.{name}", hint=f"It takes {', '.join(allowed) or 'none'}.")
        if value is not None and (wanted := allowed[name]) is not None and value not in wanted:
            raise BadRequest(f"parameters.{name} is {value!r}, expected one of {', '.join(map(repr, wanted))}.",
                             field=f"parameters.{name}", hint="Leave it out.")
    each = [tell(answer.result, parameters) for answer in answers]
    # One text's labels come in a list of lists all the same: the client takes the first.
    return each if is_list or task == "text-classification" else each[0]


def _labels(result: Mapping[str, Any], parameters: Parameters) -> Any:
    n_labels = int(parameters.get("top_k") or _MOST_LABELS)
    return [{"label": line["label"], "score": line["score"]} for line in result["top"][:n_labels]]


def _entities(result: Mapping[str, Any], parameters: Parameters) -> Any:
    ignored = parameters.get("ignore_labels") or []
    if not isinstance(ignored, list):
        raise BadRequest("parameters.ignore_labels is no list.", field="parameters.ignore_labels",
                         hint="Give a list of labels.")
    return [{"entity_group": entity["entity"], "score": entity["score"], "word": entity["word"],
             "start": entity.get("start"), "end": entity.get("end")}
            for entity in result["entities"] if entity["entity"] not in ignored]


def _vector_or_scores(result: Mapping[str, Any], _: Parameters) -> Any:
    if "embedding" in result:
        return result["embedding"]
    return result["score"] if "ranking" not in result else [line["score"] for line in result["ranking"]]


def _span(result: Mapping[str, Any], _: Parameters) -> Any:
    return {name: result[name] for name in ("answer", "score", "start", "end")}


Form = tuple[Callable[[Mapping[str, Any], Parameters], Any], dict[str, Sequence[Any] | None]]
FORMS: dict[str, Form] = {
    "text-classification": (_labels, {"top_k": range(1, _MOST_LABELS + 1), "function_to_apply": ("softmax",),
                                      "truncation": (True, False), "truncate": (True, False)}),
    "token-classification": (_entities, {"aggregation_strategy": ("simple", "first"), "ignore_labels": None,
                                         "truncate": (True, False)}),
    "sentence-similarity": (_vector_or_scores, {"normalize": (True,), "truncate": (True, False),
                                                "truncation_direction": ("right", "Right"),
                                                "encoding_format": ("float",)}),
    "question-answering": (_span, {"top_k": (1,), "handle_impossible_answer": (False,), "align_to_words": (False,)}),
}
"""Task -> how it is told, and the parameters it takes with their values; None: any."""


def in_order_asked(row: Mapping[str, Any], result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a ranking in the order in which the candidates were asked, as the Hub's clients expect scores."""
    if "ranking" not in result:
        return result
    scores = {line["text"]: line["score"] for line in result["ranking"]}
    return {**result, "ranking": [{"text": text, "score": scores[text]} for text in row["candidates"]]}
