"""Which row asks for which adapter: Punica's four popularities of a batch, and S-LoRA's trace. It knows no runtime."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

POPULARITIES = ("identical", "uniform", "skewed", "distinct")
SKEW = 1.5
"""A popular adapter has this many times the rows of the next. Source: Punica's benchmarks, `zipf:1.5`."""


def group_sizes(n_rows: int, popularity: str) -> list[int]:
    """Return the number of rows of each adapter in a batch, largest first.

    identical: one adapter; distinct: one row each; uniform: ceil(sqrt(n)) adapters with equal shares; skewed: each
    has 1.5 times the rows of the next. Source: Chen et al. 2023 (Punica), arXiv 2310.18547 §7, and its benchmarks.
    """
    if popularity == "identical":
        return [n_rows]
    if popularity == "distinct":
        return [1] * n_rows
    if popularity == "uniform":
        n_adapters = math.ceil(math.sqrt(n_rows))
        share, rest = divmod(n_rows, n_adapters)
        return [share + (i < rest) for i in range(n_adapters)]
    assert popularity == "skewed", f"{popularity} is none of {POPULARITIES}"
    sizes: list[int] = []
    size = 1.0
    while sum(sizes) + math.floor(size) < n_rows:
        sizes.append(math.floor(size))
        size *= SKEW
    return sorted([*sizes, n_rows - sum(sizes)], reverse=True)


def adapter_of_row(n_rows: int, popularity: str, random: np.random.Generator) -> list[int]:
    """Return each row's adapter, shuffled: neighbours in a batch are strangers."""
    adapters = [adapter for adapter, size in enumerate(group_sizes(n_rows, popularity)) for _ in range(size)]
    return [adapters[i] for i in random.permutation(n_rows)]


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a trace."""

    arrives_s: float
    adapter: int
    n_tokens: int


def slora_trace(*, n_requests: int, n_adapters: int, rate_per_s: float, n_tokens: tuple[int, int],
                seed: int) -> list[Request]:
    """Return Poisson arrivals whose adapters are popular by a power law of exponent 1.

    Arrivals and lengths depend on the seed alone, not on the number of adapters.
    Source: Sheng et al. 2023 (S-LoRA), arXiv 2311.03285 §7.1: alpha 1, cv 1.
    """
    arrivals, choices = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    times = np.cumsum(arrivals.exponential(1 / rate_per_s, n_requests))
    lengths = arrivals.integers(n_tokens[0], n_tokens[1] + 1, n_requests)
    weights = 1 / np.arange(1, n_adapters + 1)
    adapters = choices.choice(n_adapters, n_requests, p=weights / weights.sum())
    return [Request(float(at), int(adapter), int(length))
            for at, adapter, length in zip(times, adapters, lengths, strict=True)]


def uniform_batches(n_rows: int, n_adapters: int, seed: int) -> Iterator[list[int]]:
    """Yield, without end, batches of rows whose adapters are drawn evenly."""
    random = np.random.default_rng(seed)
    while True:
        yield random.integers(0, n_adapters, n_rows).tolist()
