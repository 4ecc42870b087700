"""Financial sentiment: a stream of headlines, sentiment by name and topic over time, an alert when negatives surge.

    python -m scripts.scenarios.financial_sentiment --quick --plot sentiment.svg

Headlines are test rows of SEntFiN, which have no dates: their place in the stream stands for time. The surge is made by
their order alone: in its stretch more of them are truly negative. An adapter that finds names in headlines is trained
first, as the shipped one knows other texts. Topics have no truth here: a headline's is the description nearest to it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from scripts.scenarios.frame import Options, Share, scenario, share_of
from scripts.scenarios.headlines import Headline, names_f1, read_headlines, tagged
from scripts.scenarios.house import BARE, House, embeddings_of, open_house
from scripts.scenarios.picture import draw_stream, require_drawing
from scripts.scenarios.rows import draw, read_part
from scripts.scenarios.surges import Plan, arrange, choose_threshold, first_alert, measure_alert
from scripts.scenarios.trained import trained

SENTIMENT, SHIPPED_NAMES = "finance/sentfin@production", "news/wnut17@production"
NEGATIVE = "negative"
TRAINED_PER_ROW, TRAINED_EPOCHS = 4, 2
"""Training headlines for each test row; 1,600 by default."""
TOPICS = {
    "results": "Quarterly results: net profit, revenue, earnings, margin",
    "markets": "The stock market: Sensex, Nifty, indices, shares rise and fall",
    "commodities": "Commodity futures: gold, crude oil, metals, sugar, spices",
    "money": "Rupee, dollar, bonds, interest rates, the central bank, inflation",
    "deals": "A company buys, merges, sells a stake, raises funds, lists its shares, wins an order",
    "advice": "An analyst says buy or sell, with a target price",
}
N_SHOWN, N_STRETCHES = 6, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the house made of one headline."""

    headline: Headline
    sentiment: str
    names: list[str]
    shipped_names: list[str]
    """What the shipped adapter for entities finds, to compare."""
    topic: str

    @property
    def is_negative(self) -> bool:
        """Whether it was read as negative."""
        return self.sentiment == NEGATIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on the test headlines."""

    sentiment_right: Share
    names_f1: float
    shipped_names_f1: float
    """Of news/wnut17, on the same headlines."""
    threshold: int
    """Negatives in a window at which the alert is raised; chosen on validation headlines."""
    caught: Share
    """Of drawn streams with a surge: the first alert came in it. The interval is over streams, not over headlines."""
    too_early: Share
    """Of the same streams: the first alert came before the surge."""
    median_delay: float | None
    """Headlines from the surge's beginning to the alert; None where none was caught."""


@scenario("financial_sentiment --quick --plot sentiment.svg", n_rows=400)
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Draw the stream into this file, .svg or .png.")
def main(options: Options, settings: Settings, screen: Screen, plot: Path | None) -> Figures:
    """Read a stream of headlines, by name and topic, and raise an alert when negatives surge."""
    return run(options, settings, screen, plot)


def run(options: Options, settings: Settings, screen: Screen, plot: Path | None = None) -> Figures:
    """Train for names, choose the threshold, read the stream, print and return what was measured. Raises DataError."""
    if plot is not None:
        require_drawing(plot)
    screen.title("Financial sentiment: a stream by name and topic, and an alert")
    training, validation, test = (
        draw(read_headlines(read_part(settings, "sentfin", part)), n, options.seed) for part, n in
        (("train", TRAINED_PER_ROW * options.n_rows), ("validation", options.n_rows), ("test", options.n_rows)))
    config = TrainConfig(task="token-classification", data="", output=Path(), name="headline-names", max_length=64,
                         epochs=TRAINED_EPOCHS, learning_rate=3e-3, is_validated=False, fractions=(0.95, 0.0, 0.05),
                         seed=options.seed)
    with trained(config, [tagged(headline) for headline in training], settings, screen) as names, \
            open_house((SENTIMENT, SHIPPED_NAMES, names), settings, screen) as house:
        quiet = house.ask([(SENTIMENT, headline.text) for headline in validation])
        plan = Plan(n_headlines=len(test))
        threshold = choose_threshold([result["label"] == NEGATIVE for result in quiet], plan, options.seed)
        readings = read(house, test, names)
    truths = [headline.sentiment == NEGATIVE for headline in test]
    order = arrange(truths, plan, random.Random(options.seed))  # noqa: S311
    show([readings[place] for place in order], threshold, plan, screen, plot)
    alert = measure_alert([reading.is_negative for reading in readings], truths, threshold, plan, options.seed)
    figures = Figures(
        sentiment_right=share_of([reading.sentiment == reading.headline.sentiment for reading in readings]),
        names_f1=names_f1([reading.names for reading in readings], test),
        shipped_names_f1=names_f1([reading.shipped_names for reading in readings], test), threshold=threshold,
        caught=share_of(alert.caught), too_early=share_of(alert.too_early),
        median_delay=median(alert.delays) if alert.delays else None)
    tell(figures, alert.n_streams, screen)
    return figures


def read(house: House, headlines: Sequence[Headline], names: str) -> list[Reading]:
    """Ask three adapters and the bare base for each headline, in the same passes."""
    references = (SENTIMENT, names, SHIPPED_NAMES, BARE)
    results = house.ask([(reference, headline.text) for headline in headlines for reference in references])
    likeness = embeddings_of(results[3::4]) @ house.embed(BARE, list(TOPICS.values())).T  # [headlines, topics]
    topics = list(TOPICS)
    return [Reading(headline=headline, sentiment=results[4 * i]["label"],
                    names=[entity["word"] for entity in results[4 * i + 1]["entities"]],
                    shipped_names=[entity["word"] for entity in results[4 * i + 2]["entities"]],
                    topic=topics[int(likeness[i].argmax())]) for i, headline in enumerate(headlines)]


def show(stream: Sequence[Reading], threshold: int, plan: Plan, screen: Screen, plot: Path | None) -> None:
    """Print the stream's beginning, its names and topics over time, and the alert; draw it where that was asked for."""
    screen.say("")
    for place, reading in enumerate(stream[:N_SHOWN]):
        screen.say(f"  {place:3}  {reading.sentiment:8} {reading.topic:11} {reading.headline.text}  "
                   f"[{', '.join(reading.names)}]")
    screen.table(f"Net sentiment (positive less negative, by headlines) in {N_STRETCHES} stretches of the stream",
                 ("topic", "headlines", *(f"stretch {i + 1}" for i in range(N_STRETCHES))),
                 [(topic, len(places), *_by_stretch(stream, places)) for topic in TOPICS
                  if (places := [i for i, reading in enumerate(stream) if reading.topic == topic])])
    places_of: dict[str, list[int]] = {}
    for place, reading in enumerate(stream):
        for name in dict.fromkeys(reading.names):
            places_of.setdefault(name, []).append(place)
    most = sorted(places_of.items(), key=lambda item: (-len(item[1]), item[0]))[:N_SHOWN]
    screen.table("The names found most often", ("name", "headlines", *(f"stretch {i + 1}" for i in range(N_STRETCHES))),
                 [(name, len(places), *_by_stretch(stream, places)) for name, places in most])
    negatives = [reading.is_negative for reading in stream]
    alert = first_alert(negatives, threshold, plan)
    where = "no alert was raised" if alert is None else f"alert at headline {alert}"
    screen.say(f"Negatives surge in headlines {plan.surge.start} to {plan.surge.stop - 1}; {where} "
               f"({threshold} of the last {plan.window} negative; quiet validation headlines chose it).")
    if plot is not None:
        draw_stream(plot, negatives, threshold, plan, alert)
        screen.say(f"Drawn: {plot}")


def tell(figures: Figures, n_streams: int, screen: Screen) -> None:
    """Print what was measured."""
    screen.say(f"sentiment right: {figures.sentiment_right}")
    screen.say(f"names, F1: {figures.names_f1:.3f}; the shipped adapter, trained on other texts: "
               f"{figures.shipped_names_f1:.3f}")
    delay = "" if figures.median_delay is None else f", {figures.median_delay:.0f} headlines after it began"
    screen.say(f"{n_streams} streams drawn from these headlines: alert in the surge {figures.caught.value:.3f}{delay}; "
               f"before it {figures.too_early.value:.3f}")


def _by_stretch(stream: Sequence[Reading], places: Sequence[int]) -> list[str]:
    """Return the net sentiment of the readings at `places` in each stretch; a dash where none stands there."""
    value = {"positive": 1, NEGATIVE: -1}
    cells = []
    for stretch in range(N_STRETCHES):
        found = [value.get(stream[place].sentiment, 0) for place in places
                 if place * N_STRETCHES // len(stream) == stretch]
        cells.append(f"{sum(found) / len(found):+.2f}" if found else "-")
    return cells


if __name__ == "__main__":
    main()
