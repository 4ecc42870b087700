"""How likely a new token was, and which would have been likelier: the model's own distribution, before any drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Likelihood:
    """One new token's natural log-probability, and the likeliest tokens with theirs, best first."""

    logprob: float
    likeliest: tuple[tuple[int, float], ...]


def likelihoods(logits: torch.Tensor, tokens: Sequence[int], wanted: Sequence[int | None]) -> list[Likelihood | None]:
    """Return each row's, with as many likeliest tokens as `wanted`; None for a row that wants none.

    logits [B, V] float32, as the model gave them.
    """
    found: list[Likelihood | None] = [None] * len(tokens)
    for i, (token, n_likeliest) in enumerate(zip(tokens, wanted, strict=True)):
        if n_likeliest is not None:
            logprobs = torch.log_softmax(logits[i], dim=-1)
            best = logprobs.topk(min(n_likeliest, len(logprobs)))
            likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            found[i] = Likelihood(float(logprobs[token]), likeliest)
    return found
