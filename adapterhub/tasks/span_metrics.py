"""Figures of extracted answers: exact match and F1 over words, as SQuAD measures them. It knows no task and no model.

Source: Rajpurkar et al. 2016, arXiv 1606.05250 §6.1; the normalisation is that of SQuAD 1.1's official evaluation.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(found: str, right: Sequence[str]) -> float:
    """Return 1 where an answer equals one of the right ones, case, punctuation and articles aside."""
    return float(any(_words(found) == _words(text) for text in right))


def overlap_f1(found: str, right: Sequence[str]) -> float:
    """Return the F1 of an answer's words against those of the right answer that it is most like."""
    return max(_f1(_words(found), _words(text)) for text in right)


def _f1(found: list[str], right: list[str]) -> float:
    n_common = sum((Counter(found) & Counter(right)).values())
    if not n_common:
        return float(found == right)  # nothing but articles and punctuation, in both
    precision, recall = n_common / len(found), n_common / len(right)
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()
