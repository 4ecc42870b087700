"""Several adapters on the same rows: which differences are larger than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from adapterhub.adapter.directions import LOWER_IS_BETTER
from adapterhub.errors import InvalidConfig
from adapterhub.reporting.findings import Findings, findings_in
from adapterhub.reporting.intervals import Difference, differences
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.readers import read_rows
from adapterhub.reporting.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDifference:
    """One metric of two adapters."""

    first: str
    second: str
    metric: str
    difference: Difference
    """The first's value less the second's."""

    @property
    def better(self) -> str | None:
        """The adapter that is better by more than chance; None where the interval spans zero."""
        if self.difference.interval.spans_zero:
            return None
        is_more = self.difference.value > 0
        return self.first if is_more != (self.metric in LOWER_IS_BETTER) else self.second


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Rows that only one of two adapters has right, and how likely such an imbalance is by chance."""

    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float
    """Exact, two-sided. Source: McNemar 1947; with few rows the binomial rather than chi-squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is found in several adapters' outputs on the same rows."""

    findings: list[Findings]
    differences: list[PairDifference]
    mcnemar: list[McNemar]
    """Empty where rows are not right or wrong, only nearer or further."""


def compare(measured: Sequence[Measured]) -> Comparison:
    """Compare adapters in pairs, all resampled with the same rows. Raises InvalidConfig where tasks differ."""
    if len(tasks := sorted({own.task.name for own in measured})) > 1:
        raise InvalidConfig(f"These adapters have different tasks ({', '.join(tasks)}), so no rows fit them all.",
                            hint="Compare adapters of one task.")
    readings = [read_rows(own) for own in measured]
    pairs = [(a, b) for a, b in combinations(zip(measured, readings, strict=True), 2)]
    found = [PairDifference(first=a.name, second=b.name, metric=metric, difference=difference)
             for (a, own), (b, other) in pairs if own and other
             for metric, difference in differences(own.figures, other.figures, len(own.rows)).items()]
    tests = [_mcnemar(a.name, b.name, own, other) for (a, own), (b, other) in pairs
             if own and other and own.has_right_rows and other.has_right_rows]
    return Comparison(findings=[findings_in(own, reading) for own, reading in zip(measured, readings, strict=True)],
                      differences=found, mcnemar=tests)


def _mcnemar(first: str, second: str, own: Reading, other: Reading) -> McNemar:
    from scipy.stats import binomtest

    pairs = [(a.is_right, b.is_right) for a, b in zip(own.rows, other.rows, strict=True)]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    n_differing = only_first + only_second
    p_value = float(binomtest(only_first, n_differing).pvalue) if n_differing else 1.0
    return McNemar(first=first, second=second, only_first=only_first, only_second=only_second, p_value=p_value)
