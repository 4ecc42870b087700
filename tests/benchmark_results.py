"""Figures of arms that were never run, for the tests of benchmarks that compare them."""

from adapterhub.costs.figures import ArmFigures


def figures_with(arm: str, seed: int, value: float) -> ArmFigures:
    """One arm with one seed, of which all but the accuracy is plain."""
    return ArmFigures(arm=arm, method=arm, seed=seed, learning_rate=1e-3, epochs=1, n_steps=1, trained_parameters=1,
                      disk_bytes=1, peak_memory_bytes=1, write_memory_bytes=0, reserved_memory_bytes=0,
                      step_seconds=1.0, step_processor_seconds=1.0, train_seconds=1.0, metrics={"accuracy": value},
                      n_test_rows=10, curve=[], energy_joules=None, energy_counter="")
