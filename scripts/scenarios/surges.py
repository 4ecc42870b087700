"""Surges in a stream: a rolling count of negatives, an alert where it is high, and how often that is right.

It knows no texts: a stream is a sequence of booleans, one for each headline, True where it is negative.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

N_STREAMS = 400
"""Streams that are drawn, to choose the threshold and to measure the alert."""
FALSE_ALERTS = 0.05
"""Share of quiet streams in which an alert may be raised, on validation rows."""
SURGE_NEGATIVES = 0.7
"""Share of truly negative headlines in a surge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a stream is, and where its surge stands."""

    n_headlines: int

    @property
    def window(self) -> int:
        """Headlines that are counted together: half a surge."""
        return max(1, self.n_headlines // 10)

    @property
    def surge(self) -> range:
        """The places of the surge: the third fifth."""
        return range(2 * self.n_headlines // 5, 3 * self.n_headlines // 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFigures:
    """What an alert was worth in many drawn streams."""

    n_streams: int
    caught: list[bool]
    """Of each stream, whether the first alert came while the surge went on."""
    too_early: list[bool]
    """Whether the first alert came before the surge."""
    delays: list[int]
    """Headlines from the surge's beginning to the alert, where it was caught."""


def rolling_counts(negatives: Sequence[bool], window: int) -> list[int]:
    """Return how many of the last `window` headlines were negative, at each place; fewer at the beginning."""
    counts, count = [], 0
    for place, negative in enumerate(negatives):
        count += negative - (negatives[place - window] if place >= window else 0)
        counts.append(count)
    return counts


def first_alert(negatives: Sequence[bool], threshold: int, plan: Plan) -> int | None:
    """Return the first place where the rolling count reaches the threshold."""
    counts = rolling_counts(negatives, plan.window)
    return next((place for place, count in enumerate(counts) if count >= threshold), None)


def choose_threshold(negatives: Sequence[bool], plan: Plan, seed: int) -> int:
    """Return the lowest count that at most `FALSE_ALERTS` of the quiet streams of this length reach.

    Streams are drawn with replacement from `negatives`, what a model said of quiet validation headlines.
    """
    generator = random.Random(seed)  # noqa: S311  # a draw, not a secret
    streams = (generator.choices(negatives, k=plan.n_headlines) for _ in range(N_STREAMS))
    highest = sorted(max(rolling_counts(stream, plan.window)) for stream in streams)
    return highest[int((1 - FALSE_ALERTS) * N_STREAMS) - 1] + 1


def arrange(truths: Sequence[bool], plan: Plan, generator: random.Random) -> list[int]:
    """Return places of headlines in the order of a stream, drawn with replacement: a headline may come again.

    They come in the mixture that they have; in the surge `SURGE_NEGATIVES` of them are truly negative.
    """
    negative = [place for place, is_negative in enumerate(truths) if is_negative]
    other = [place for place, is_negative in enumerate(truths) if not is_negative]
    n_negative = round(SURGE_NEGATIVES * len(plan.surge))
    surge = [*generator.choices(negative, k=n_negative),
             *generator.choices(other, k=len(plan.surge) - n_negative)]
    generator.shuffle(surge)
    quiet = generator.choices(range(len(truths)), k=plan.n_headlines - len(surge))
    return [*quiet[:plan.surge.start], *surge, *quiet[plan.surge.start:]]


def measure_alert(said: Sequence[bool], truths: Sequence[bool], threshold: int, plan: Plan, seed: int) -> AlertFigures:
    """Draw many streams with a surge, and see when the alert is raised; `said` is what the model said of each."""
    generator = random.Random(seed)  # noqa: S311
    alerts = [first_alert([said[place] for place in arrange(truths, plan, generator)], threshold, plan)
              for _ in range(N_STREAMS)]
    begin, end = plan.surge.start, plan.surge.stop
    caught = [alert is not None and begin <= alert < end for alert in alerts]
    return AlertFigures(n_streams=N_STREAMS, caught=caught,
                        too_early=[alert is not None and alert < begin for alert in alerts],
                        delays=[alert - begin for alert in alerts if alert is not None and begin <= alert < end])
