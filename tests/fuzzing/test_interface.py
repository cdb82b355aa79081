"""Whatever is made of /openapi.json: no 5xx, no answer off its schema, nothing valid refused, nothing wrong taken."""

import os
import sys
from pathlib import Path

import pytest

from tests.fuzzing.interface import SHORT, attack
from tests.fuzzing.target import Target

CASES = int(os.environ.get("HOMEROOM_FUZZ_CASES", "0"))
"""0: few, and none for their own sake."""
SEED = int(os.environ.get("HOMEROOM_FUZZ_SEED", "1"))
FEW = {"school": 6, "authority": 2, "ministry": 2, "reader": 2, "several": 2, "nobody": 1, "unknown": 1, "disabled": 1}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("caller", FEW)
def test_the_interface_is_as_it_says_to(target: Target, caller: str, tmp_path: Path) -> None:
    if CASES:
        sys.stdout.write(f"{caller}: {attack(target, caller, CASES, SEED, tmp_path)}\n")
    else:
        attack(target, caller, FEW[caller], SEED, tmp_path, *SHORT)
    target.assert_is_well()
