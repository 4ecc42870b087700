"""What docs/scenarios.md says that each scenario prints, compared with what it printed."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
VARYING = re.compile(r"(?<=^Drawn: )\S*/|(?<=; )(?:no alert was raised|alert at headline \d+)|"
                     r", \d+ headlines after it began")
"""What other rows may change beside numbers: few of them raise no alert."""
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?! MB)(?!\.?\d)")
"""Bytes of resident adapters aside, which are twice as many in float32."""
QUESTION = re.compile(r"^  (?:customer|asked): .*?(?=  \[|$)", flags=re.MULTILINE)


def assert_told(heading: str, printed: str) -> None:
    """Hold the sentences under a heading to those that were printed on other rows: only numbers may differ."""
    assert [_shape(line) for line in _sentences(_stated(heading))] == [_shape(line) for line in _sentences(printed)]


def assert_told_with_figures(heading: str, printed: str) -> None:
    """Hold questions and figures to what was printed on the same rows.

    Figures may differ by what another number format does to them: in float32 the shares moved by up to 0.013 and their
    intervals' ends by up to 0.025, and one intent of a message that was handed over was another one.
    """
    assert_told(heading, printed)
    assert QUESTION.findall(_stated(heading)) == QUESTION.findall(printed)
    assert _numbers(_stated(heading)) == pytest.approx(_numbers(printed), rel=0.02, abs=0.03)


def _stated(heading: str) -> str:
    """Return the first block of output under a heading."""
    return TEXT.partition(f"\n## {heading}\n")[2].partition("```text\n")[2].partition("```\n")[0]


def _sentences(text: str) -> list[str]:
    """Return the lines that begin at the margin; examples are indented, and tables drawn."""
    return [line for line in text.splitlines() if line[:1].isalnum()]


def _shape(sentence: str) -> str:
    return re.sub(r"[-+]?\d[\d,]*(?:\.\d+)?", "#", VARYING.sub("", sentence))


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for line in _sentences(text) for number in NUMBER.findall(line)]
