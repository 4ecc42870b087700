"""token-classification: every word gets a BIO tag; words become subwords and come back as entities."""

import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.class_weights import as_tensor
from adapterhub.tasks.classification_metrics import class_report
from adapterhub.tasks.rows import require_texts
from adapterhub.tasks.subwords import was_cut
from adapterhub.tasks.task import IGNORED, ClassScore, Evaluation, Example, Row, TokenSequence

OUTSIDE = "O"
_WORD = re.compile(r"""
    https?://[^\s<>"']*[\w/]               # an address on the web, without the full stop behind it
  | [\w.+-]{0,63}\w@\w[\w-]*(?:\.\w[\w-]*)+  # an e-mail address
  | [\#@]\w+(?:[-'’]\w+)*                 # an order number, a hashtag, a name
  | \d+(?:[.,:/]\d+)+                     # an amount, a date, a time
  | (?:[^\W\d_]\.){2,}                    # initials: U.S.
  | \w+(?:[-'’]\w+)*                      # a word: don't, pick-up, ORD-7781
  | ([^\w\s])\1*                          # a sign, once or several times: ?, ??, ...
""", re.VERBOSE)
"""How a text is split into words where the caller did not; as example rows and public entity data write them."""


class TokenClassification:
    """Named entities and the like, with the architecture's own token-classification head."""

    name = "token-classification"
    columns = Columns(required=("tokens", "tags"))
    auto_class = AutoModelForTokenClassification
    peft_task_type = "TOKEN_CLS"
    metrics: tuple[str, ...] = ("entity_f1", "entity_precision", "entity_recall", "token_accuracy")
    stratify_by: str | None = None
    class_weights: tuple[float, ...] | None = None
    """How much each tag counts in the loss, in the order of the labels; None: all the same."""
    has_stretches = False
    writes = False

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the tags of training rows, `O` first. Raises DataError where no row has an entity."""
        tags = {tag for row in rows for tag in row["tags"]}
        if not tags - {OUTSIDE}:
            raise DataError("No training row has an entity: every tag is O.", hint="Tag entities as B-TYPE, I-TYPE.")
        types = sorted({tag[2:] for tag in tags - {OUTSIDE}})
        return [OUTSIDE, *(f"{part}-{kind}" for kind in types for part in "BI")]

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode words; each word's first subword carries its tag. Raises DataError for an unknown tag."""
        if not rows:
            return []
        index = {label: i for i, label in enumerate(labels)}
        if unknown := sorted({tag for row in rows for tag in row.get("tags", ())} - index.keys()):
            raise DataError(f"Tags {unknown[:5]} are not among the adapter's tags {', '.join(labels)}.",
                            hint="Train a new adapter on these rows, or map the tags.")
        words = [row["tokens"] for row in rows]
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length,
                            return_token_type_ids=True)
        examples = []
        for i, row in enumerate(rows):
            word_of_token = encoded.word_ids(i)
            sequence = TokenSequence(input_ids=encoded["input_ids"][i], token_type_ids=encoded["token_type_ids"][i],
                                     word_of_token=word_of_token)
            firsts = _first_subwords(word_of_token)
            tags = row.get("tags")
            target = [IGNORED if word is None else index[tags[word]] for word in firsts] if tags else None
            examples.append(Example(sequences=[sequence], target=target, row=row,
                                    is_truncated=was_cut(encoded, i, max_length)))
        return examples

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples: each is learned as a whole."""
        return list(examples)

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits [B, T, L]."""
        logits: torch.Tensor = model_output.logits
        return logits

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the cross entropy over words' first subwords."""
        logits = outputs[0].float()
        targets = torch.full(logits.shape[:2], IGNORED)
        for i, example in enumerate(examples):
            targets[i, :len(example.target)] = torch.tensor(example.target)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.to(logits.device).flatten(),
                                                 weight=as_tensor(self.class_weights, logits.device),
                                                 ignore_index=IGNORED)

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of words that carry a tag, or the sum of their tags' weights."""
        tags = [tag for example in examples for tag in example.target if tag != IGNORED]
        return float(len(tags)) if self.class_weights is None else sum(self.class_weights[tag] for tag in tags)

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say yes: each word has its own loss."""
        return True

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure entities with seqeval (a cut-off word counts as O) and tags word by word."""
        truth = [list(example.row["tags"]) for example in examples]
        predicted = [tags_of(logits[0], example, labels) for logits, example in zip(outputs, examples, strict=True)]
        entities = _entity_report(truth, predicted)
        overall = {line.label: line for line in entities}.pop("all")
        flat_truth, flat_predicted = list(chain.from_iterable(truth)), list(chain.from_iterable(predicted))
        right = sum(t == p for t, p in zip(flat_truth, flat_predicted, strict=True))
        index = {label: i for i, label in enumerate(labels)}
        tokens = class_report([index[t] for t in flat_truth], [index[p] for p in flat_predicted], labels)
        metrics = {"entity_f1": overall.f1, "entity_precision": overall.precision, "entity_recall": overall.recall,
                   "token_accuracy": right / max(1, len(flat_truth))}
        return Evaluation(metrics=metrics, n_rows=len(examples), reports={"per entity": entities, "per tag": tokens})

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return the entities: type, words, first and last word, mean score; characters where a text was given."""
        scores, tags = torch.softmax(outputs[0].float(), dim=-1).max(dim=-1)
        firsts = {word: t for t, word in enumerate(_first_subwords(example.sequences[0].word_of_token))
                  if word is not None}
        entities: list[dict[str, Any]] = []
        for word, token in firsts.items():
            tag, score = labels[int(tags[token])], float(scores[token])
            open_entity = entities[-1] if entities and entities[-1]["last_word"] == word - 1 else None
            if tag.startswith("I-") and open_entity and open_entity["entity"] == tag[2:]:
                open_entity["last_word"] = word
                open_entity["scores"].append(score)
            elif tag != OUTSIDE:
                entities.append({"entity": tag[2:], "first_word": word, "last_word": word, "scores": [score]})
        return {"entities": [_finished(entity, example.row) for entity in entities]}

    def parse_row(self, row: Any) -> Row:
        """Accept a text (split into words and signs), a list of words, or a mapping with `tokens` or `text`."""
        if isinstance(row, dict) and "tokens" in row:
            row = row["tokens"]
        if isinstance(row, (list, tuple)):
            if not row or not all(isinstance(word, str) and word.strip() for word in row):
                raise PredictionError(f"A row for {self.name} has an empty word or none: {str(row)[:80]}.",
                                      hint="Give a text, or a list of words that are not empty.")
            return {"tokens": list(row)}
        text = require_texts({"text": row} if isinstance(row, str) else row, self.name, ("text",))["text"]
        spans = [match.span() for match in _WORD.finditer(text)]
        return {"tokens": [text[start:end] for start, end in spans], "spans": spans, "text": text}


def _first_subwords(word_of_token: Sequence[int | None]) -> list[int | None]:
    """Keep each word's number at its first subword only."""
    previous: int | None = None
    firsts: list[int | None] = []
    for word in word_of_token:
        firsts.append(None if word == previous else word)
        previous = word
    return firsts


def tags_of(logits: torch.Tensor, example: Example, labels: Sequence[str]) -> list[str]:
    """Return the tag of each of a row's words from its tokens' logits [T, L]; a word that was cut off is `O`."""
    tags = [OUTSIDE] * len(example.row["tokens"])
    best = logits.argmax(dim=-1).tolist()
    for token, word in enumerate(_first_subwords(example.sequences[0].word_of_token)):
        if word is not None:
            tags[word] = labels[best[token]]
    return tags


def _entity_report(truth: list[list[str]], predicted: list[list[str]]) -> list[ClassScore]:
    """Return one line per entity type and the micro average as `all`."""
    from seqeval.metrics import classification_report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of types that were never predicted; zero says it already
        report = classification_report(truth, predicted, output_dict=True, zero_division=0)
    lines = {kind: figures for kind, figures in report.items() if kind not in ("macro avg", "weighted avg")}
    return [ClassScore(label="all" if kind == "micro avg" else kind, precision=float(figures["precision"]),
                       recall=float(figures["recall"]), f1=float(figures["f1-score"]), support=int(figures["support"]))
            for kind, figures in lines.items()]


def _finished(entity: dict[str, Any], row: Row) -> dict[str, Any]:
    first, last = entity["first_word"], entity["last_word"]
    answer = {"entity": entity["entity"], "score": sum(entity["scores"]) / len(entity["scores"]),
              "first_word": first, "last_word": last}
    if "spans" not in row:
        return {**answer, "word": " ".join(row["tokens"][first:last + 1])}
    start, end = row["spans"][first][0], row["spans"][last][1]
    return {**answer, "word": row["text"][start:end], "start": start, "end": end}
