"""/openapi.json tried by schemathesis, which makes cases of the document and holds the answers against it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzzing.target import Target

HERE = Path(__file__).parent
SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")
SHORT = ("--phases", "fuzzing,stateful")
"""Without what is made of the document for its own sake: every border of every member, in thousands of cases."""


def attack(target: Target, caller: str, cases: int, seed: int, folder: Path, *options: str) -> str:
    """How many cases there were; fails with all that was found. `cases`: at most so many of each service and kind."""
    command = [SCHEMATHESIS, "--config-file", str(HERE / "schemathesis.toml"), "--no-color", "run"]
    command += [f"{target.url}/openapi.json", "--max-examples", str(cases), "--seed", str(seed), *options]
    if caller in target.keys:
        command += ["--header", f"Authorization: Bearer {target.keys[caller]}"]
    here = {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=folder, env=os.environ | here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"Test cases:\s+(.*)", done.stdout)
    assert found is not None, done.stdout
    return found[1]
