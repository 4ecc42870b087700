"""An estimate beside its run: what is said of a figure, and of one that could not be measured."""

import numpy as np

from adapterhub.costs.foretold import Foretold, PeakMemory
from adapterhub.training.watch import EpochFacts, StepFacts

STEP = StepFacts(step=1, epoch=1, loss=1.0, learning_rate=0.1, gradient_norm=1.0, n_rows=1, seconds=1.0)
EPOCH = EpochFacts(epoch=1, step=1, loss=1.0, metrics={}, metric="", best_epoch=1, best_value=0.0)


def test_error_is_a_share_of_what_was_measured() -> None:
    line = Foretold(what="memory", estimated=90.0, measured=100.0, unit="MB")
    assert line.line() == ("memory", "90.0 MB", "100.0 MB", "-10%")


def test_peak_that_did_not_rise_is_no_measurement() -> None:
    line = Foretold(what="memory", estimated=90.0, measured=0.0, unit="MB")
    assert line.error is None
    assert "not measurable" in line.line()[2]


def test_peak_is_that_of_the_steps_of_the_first_epoch() -> None:
    memory = PeakMemory()
    held = np.ones(64 << 20, dtype=np.uint8)
    memory.step_ended(STEP)
    first = memory.bytes
    assert first > 0.9 * held.nbytes
    memory.epoch_ended(EPOCH)
    more = np.ones(128 << 20, dtype=np.uint8)
    memory.step_ended(STEP)
    assert memory.bytes == first < held.nbytes + more.nbytes
