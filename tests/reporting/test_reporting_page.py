"""Pages: one file that holds its pictures, shows hostile texts as they were written, and asks for nothing."""

import base64
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from invented import invented

from adapterhub.errors import InvalidConfig
from adapterhub.reporting.comparison import compare
from adapterhub.reporting.curve import Curve, Epoch
from adapterhub.reporting.findings import findings_of
from adapterhub.reporting.page import require_page_name, write_page
from adapterhub.reporting.section import Section
from adapterhub.reporting.sections import card_tables, comparison_sections, curve_section, sections_of

HOSTILE = "<script>alert(1)</script> | [a](javascript:x) ![](http://a.test/b.png) $\\frac{"


class Page(HTMLParser):
    """The tags of a page, and the addresses that they load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def curve() -> Curve:
    return Curve(metric="accuracy", best_epoch=2, epochs=[Epoch(number=1, loss=1.0, value=0.5),
                                                          Epoch(number=2, loss=0.4, value=0.7)])


def test_page_holds_its_pictures_and_loads_nothing(tmp_path: Path) -> None:
    sections = [*sections_of(findings_of(invented("text-classification")), has_pictures=True),
                curve_section(curve(), has_pictures=True)]
    write_page(tmp_path / "report.html", "a report", sections)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.addresses) == 3, "confusion, reliability, learning curve"
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    for address in page.addresses:
        assert b"</svg>" in base64.b64decode(address.partition(",")[2])
    assert "link" not in page.tags


def test_same_findings_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, "a report",
                   sections_of(findings_of(invented("text-classification")), has_pictures=True))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_texts_of_rows_are_shown_and_do_nothing(tmp_path: Path, name: str) -> None:
    write_page(tmp_path / name, HOSTILE, [Section(title=HOSTILE, header=("row",), lines=[(HOSTILE,), ("x" * 10_000,)])])
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "alert(1)" in text
    assert len(text) < 4000
    if name.endswith("html"):
        assert Page(text).addresses == []
    else:
        assert not re.search(r"(?<!\\)\]\(", text)
        assert not re.search(r"(?<!\\)\|[^\n]*alert[^\n]*(?<!\\)\|[^\n]*(?<!\\)\|", text), "the cell stays one"


def test_labels_that_look_like_formulas_are_drawn_as_text(tmp_path: Path) -> None:
    from adapterhub.reporting.confusion import confusion_of
    from adapterhub.reporting.pictures import draw_confusion
    from adapterhub.reporting.reading import Choices

    assert draw_confusion(confusion_of(Choices(labels=[HOSTILE, "b"], truth=[0, 1], answered=[1, 1]))) is not None


def test_comparison_page_has_every_adapter_and_every_difference(tmp_path: Path) -> None:
    found = compare([invented("token-classification", seed=seed, name=f"n/a{seed}") for seed in (1, 2, 3)])
    write_page(tmp_path / "report.md", "three", comparison_sections(found, has_pictures=True))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("entity\\_f1") + text.count("entity_f1") >= 4
    assert text.count("n/a1 - n/a2") == 5, "four metrics and McNemar"
    assert "by chance alone" in text
    assert text.count("data:image/svg+xml") == 2


def test_without_matplotlib_a_page_has_no_pictures_and_says_how_to_get_them(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name))
    write_page(tmp_path / "report.html", "a report",
               sections_of(findings_of(invented("text-classification")), has_pictures=True))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "adapterhub[report]" in text


@pytest.mark.parametrize("name", ["report.pdf", "report", ""])
def test_a_name_that_no_report_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfig, match="cannot be written to"):
        require_page_name(tmp_path / name)


def test_a_card_tells_figures_and_no_text_of_a_row() -> None:
    measured = invented("question-answering")
    tables = card_tables(findings_of(measured), curve())
    assert [table.title[:23] for table in tables] == ["Test rows: calibration:", "Learning curve"]
    told = str([(table.header, list(table.lines)) for table in tables])
    assert "anna" not in told
    assert "2 (kept)" in told
