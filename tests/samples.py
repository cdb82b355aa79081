"""Published samples, kept beside the checkout or in HOMEROOM_TEST_SAMPLES: they are not part of the project."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parent.parent.parent / "shared" / "data"
SAMPLES = Path(os.environ.get("HOMEROOM_TEST_SAMPLES", _BESIDE))
GRAND_BEND = SAMPLES / "edfi_grand_bend"
needs_grand_bend = pytest.mark.skipif(
    not GRAND_BEND.exists(), reason="the sample district is not beside this checkout (or in HOMEROOM_TEST_SAMPLES)"
)
SDS = SAMPLES / "sds"
needs_sds = pytest.mark.skipif(
    not SDS.exists(), reason="the sample SDS files are not beside this checkout (or in HOMEROOM_TEST_SAMPLES)"
)
