"""Each scenario on a few real rows: it runs to its end, what it says was measured on the rows it says, and
docs/scenarios.md tells what it prints.
"""

import io
import os
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from scenarios_page import assert_told, assert_told_with_figures

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from scripts.scenarios import customer_service, financial_sentiment, medical_questions, recommendation
from scripts.scenarios.frame import Options

OPTIONS = Options(n_rows=12, seed=1)
DATA = Settings.from_environment({"HOME": "/", "ADAPTERHUB_DATA": os.environ.get("ADAPTERHUB_DATA", "")}).data
pytestmark = pytest.mark.skipif(DATA is None, reason="no public data sets: set ADAPTERHUB_DATA")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    environment = {"HOME": str(tmp_path_factory.mktemp("scenarios"))}
    return Settings.from_environment({**environment, "ADAPTERHUB_DATA": str(DATA)})


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(shown: io.StringIO) -> Screen:
    return Screen(Console(file=shown, width=200))


def test_customer_service_answers_or_hands_over(settings: Settings, screen: Screen, shown: io.StringIO,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_service, "SOLVED_PER_INTENT", 2)  # quicker: 154 questions to embed
    figures = customer_service.run(OPTIONS, settings, screen)
    assert figures.answered.n_rows == figures.intent_alone.n_rows == 12
    assert figures.strangers_handed_over.n_rows == 3
    assert figures.intent_alone.value > 0.6
    assert 1 <= shown.getvalue().count(": to a person, desk ") <= customer_service.N_SHOWN
    assert "support:  " in shown.getvalue() and "3 adapters" in shown.getvalue()
    assert_told("Customer service", shown.getvalue())


def test_validation_and_test_messages_share_none(settings: Settings) -> None:
    validation, test = customer_service.read_messages(Options(n_rows=2000), settings)
    assert not {message.text for message in validation} & {message.text for message in test}
    assert sum(message.intent is not None for message in test) == 1540  # of 3080, one text twice


def test_every_intent_has_a_reply(settings: Settings) -> None:
    import tomllib

    from scripts.scenarios.rows import read_part

    replies = tomllib.loads(customer_service.REPLIES.read_text(encoding="utf-8"))
    assert replies.keys() == set(read_part(settings, "banking77", "train").column("label"))


def test_medical_questions_are_answered_from_their_page_or_refused(settings: Settings, screen: Screen,
                                                                   shown: io.StringIO) -> None:
    figures = medical_questions.run(OPTIONS, settings, screen)
    assert figures.n_answers == figures.answered.n_rows == 12 - figures.unknown_refused.n_rows
    assert figures.right_page.value > 0.6
    assert figures.strangers_refused.n_rows == 3
    assert "topic: " in shown.getvalue() and "refused: " in shown.getvalue()
    assert_told("Medical questions", shown.getvalue())


def test_financial_sentiment_reads_a_stream_and_draws_it(settings: Settings, screen: Screen, shown: io.StringIO,
                                                         tmp_path: Path) -> None:
    plot = tmp_path / "sentiment.svg"
    figures = financial_sentiment.run(OPTIONS, settings, screen, plot)
    assert figures.sentiment_right.n_rows == 12
    assert figures.sentiment_right.value > 0.5
    assert "Trained headline-names on 48 rows" in shown.getvalue()
    assert "</svg>" in plot.read_text(encoding="utf-8")
    assert_told("Financial sentiment", shown.getvalue())


def test_recommendation_ranks_by_both_embeddings(settings: Settings, screen: Screen, shown: io.StringIO) -> None:
    figures = recommendation.run(OPTIONS, settings, screen)
    assert figures.recall.n_rows == figures.bare_recall.n_rows == 12
    assert figures.bare_recall.value > figures.random_recall
    assert figures.gain.value == pytest.approx(figures.recall.value - figures.bare_recall.value)
    assert "  adapted  " in shown.getvalue() and "  bare base  " in shown.getvalue()
    assert_told("Recommendation", shown.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "scenario"), [("Customer service", customer_service),
                                                   ("Medical questions", medical_questions)])
def test_page_tells_the_figures_of_the_default_rows(heading: str, scenario: ModuleType, settings: Settings,
                                                    screen: Screen, shown: io.StringIO) -> None:
    n_rows = next(parameter.default for parameter in scenario.main.params if parameter.name == "rows")
    scenario.run(Options(n_rows=n_rows), settings, screen)
    assert_told_with_figures(heading, shown.getvalue())
