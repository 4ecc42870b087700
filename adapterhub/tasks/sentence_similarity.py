"""sentence-similarity: texts become unit vectors; pairs are compared, questions matched to answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.regression_metrics import spearman
from adapterhub.tasks.rows import require_texts
from adapterhub.tasks.subwords import encode_texts
from adapterhub.tasks.task import Evaluation, Example, Row

SCALE = 20.0
"""Multiplies cosines before the softmax. Source: sentence-transformers, MultipleNegativesRankingLoss."""


class SentenceSimilarity:
    """An adapted embedding: mean of the last hidden states, normalised, as the MiniLM family was pretrained."""

    name = "sentence-similarity"
    columns = Columns(required=("query", "answer"), optional=("score",))
    auto_class = AutoModel
    peft_task_type = "FEATURE_EXTRACTION"
    metrics: tuple[str, ...] = ("mrr", "recall_at_1", "spearman")
    stratify_by: str | None = None
    has_stretches = False
    writes = False

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return no labels. Raises DataError for pairs that have nothing to be told apart from."""
        if len(rows) < 2:
            raise DataError(f"There are {len(rows)} training pairs.", hint="Matching needs at least two.")
        for name in ("query", "answer"):
            first = rows[0][name]
            if "score" not in rows[0] and all(row[name] == first for row in rows):
                raise DataError(f"All {len(rows)} training pairs have the {name} {first[:80]!r}.",
                                hint="Matching needs pairs that differ in both, or a score for each pair.")
        return []

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode each text of a row on its own: query and answer, query and candidates, or one text."""
        texts = [_texts_of(row) for row in rows]
        flat = [text for row_texts in texts for text in row_texts]
        if not flat:
            return []
        sequences = iter(encode_texts(tokenizer, flat, None, max_length))
        examples = []
        for row, row_texts in zip(rows, texts, strict=True):
            own = [next(sequences) for _ in row_texts]
            examples.append(Example(sequences=[sequence for sequence, _ in own], row=row,
                                    is_truncated=any(is_cut for _, is_cut in own),
                                    target=float(row["score"]) if "score" in row else None))
        return examples

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples: each is learned as a whole."""
        return list(examples)

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return unit embeddings [B, I]."""
        hidden, mask = model_output.last_hidden_state, inputs["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(mean.float(), dim=-1)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the in-batch ranking loss, both ways; where pairs carry scores, the loss of their order.

        Source: Henderson et al. 2017, arXiv 1705.00652, §4.4 (multiple negatives ranking).
        """
        queries, answers = outputs
        if examples[0].target is not None:
            scores = torch.tensor([example.target for example in examples], device=queries.device)
            return _order_loss((queries * answers).sum(dim=-1), scores)
        cosines = queries @ answers.T * SCALE  # [B, B]
        same = torch.tensor([[a.row["answer"] == b.row["answer"] or a.row["query"] == b.row["query"]
                              for b in examples] for a in examples])
        same = same.to(cosines.device) & ~torch.eye(len(examples), dtype=torch.bool, device=cosines.device)
        cosines = cosines.masked_fill(same, float("-inf"))  # an equal answer, or one to an equal query, is no negative
        right = torch.arange(len(examples), device=cosines.device)
        forth = torch.nn.functional.cross_entropy(cosines, right)
        return (forth + torch.nn.functional.cross_entropy(cosines.T, right)) / 2

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of pairs."""
        return float(len(examples))

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say no: the other pairs of the batch are what each is told apart from, or put in order with."""
        return False

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure each query against all answers of the set (recall@1, MRR); Spearman where pairs carry scores."""
        queries = torch.stack([pair[0] for pair in outputs]).numpy()
        answers = torch.stack([pair[1] for pair in outputs]).numpy()
        if examples[0].target is not None:
            cosines = (queries * answers).sum(axis=-1).tolist()
            return Evaluation(metrics={"spearman": spearman(cosines, [example.target for example in examples])},
                              n_rows=len(examples))
        ranks = ranks_of(queries, answers, [example.row["answer"] for example in examples])
        metrics = {"mrr": float((1 / ranks).mean()), "recall_at_1": float((ranks == 1).mean())}
        return Evaluation(metrics=metrics, n_rows=len(examples))

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return an embedding, a pair's cosine, or the candidates ranked by theirs."""
        if len(outputs) == 1:
            return {"embedding": outputs[0].tolist()}
        cosines = [float(outputs[0] @ other) for other in outputs[1:]]
        if "candidates" not in example.row:
            return {"score": cosines[0]}
        ranked = sorted(zip(cosines, example.row["candidates"], strict=True), key=lambda pair: -pair[0])
        return {"answer": ranked[0][1], "score": ranked[0][0],
                "ranking": [{"text": text, "score": score} for score, text in ranked]}

    def parse_row(self, row: Any) -> Row:
        """Accept a text, a pair of texts, or a mapping: `text`; `query` with `answer` or `candidates`."""
        if isinstance(row, str):
            return require_texts({"text": row}, self.name, ("text",))
        if isinstance(row, (list, tuple)) and len(row) == 2:
            row = {"query": row[0], "answer": row[1]}
        if isinstance(row, dict) and "candidates" in row:
            candidates = row["candidates"]
            is_list = isinstance(candidates, (list, tuple)) and len(candidates) > 0
            if not is_list or not all(isinstance(text, str) and text.strip() for text in candidates):
                raise PredictionError(f"Candidates must be a list of texts that are not empty, found "
                                      f"{str(candidates)[:80]}.", hint="Give at least one.")
            query = {"query": row.get("query", row.get("text"))}
            return {**require_texts(query, self.name, ("query",)), "candidates": list(candidates)}
        is_pair = isinstance(row, dict) and "query" in row
        return require_texts(row, self.name, ("query", "answer") if is_pair else ("text",))


def _order_loss(cosines: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return the loss of pairs [B] whose cosines stand in another order than their scores, whatever their scale.

    log(1 + sum of exp(SCALE * (cosine_j - cosine_i)) over all i, j with score_i > score_j).
    Source: CoSENT, J. Su 2022, kexue.fm/archives/8847, formula 6.
    """
    differences = SCALE * (cosines[None, :] - cosines[:, None])  # [B, B] of (i, j)
    is_ordered = scores[:, None] > scores[None, :]
    none = torch.zeros(1, device=cosines.device)
    return torch.logsumexp(torch.cat([none, differences[is_ordered]]), dim=0)


def _texts_of(row: Row) -> list[str]:
    if "candidates" in row:
        return [row["query"], *row["candidates"]]
    return [row["query"], row["answer"]] if "query" in row else [row["text"]]


def ranks_of(queries: np.ndarray[Any, Any], answers: np.ndarray[Any, Any],
             texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return each query's rank [N] of its own answer, from 1; answers of equal text count once, ties rank last."""
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    pool = sorted(first.values())
    own = [pool.index(first[text]) for text in texts]
    cosines = queries @ answers[pool].T  # [N, pool]
    mine = cosines[np.arange(len(own)), own][:, None]
    ranks: np.ndarray[Any, Any] = (cosines >= mine).sum(axis=1)
    return ranks
