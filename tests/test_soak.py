"""A node takes no more after a while than at first (a short soak; `make soak` goes on for hours)."""

import subprocess
import sys


def test_memory_descriptors_and_tasks_are_flat_under_a_steady_load() -> None:
    soak = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--minutes", "0.3"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert soak.returncode == 0, soak.stdout + soak.stderr
