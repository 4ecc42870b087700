"""Peak memory is the process's own."""

import subprocess
import sys

MIB = 1 << 20


def test_peak_is_not_that_of_the_process_that_started_this_one() -> None:
    ballast = bytearray(b"x" * (1200 * MIB))
    done = subprocess.run(
        [sys.executable, "-c", "from adapterhub.bases.processor import peak_memory_bytes; print(peak_memory_bytes())"],
        check=True, capture_output=True, text=True)
    assert 50 * MIB < int(done.stdout) < len(ballast)
