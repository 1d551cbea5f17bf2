"""Where the real recordings are: ``$REPLAY_DATA``, else ``../shared/data`` beside the repository. Tests that need them skip without."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("REPLAY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def recording(relative: str) -> Path:
    path = DATA / relative
    if not path.exists():
        pytest.skip(f"the recording {relative} is not in {DATA}; set REPLAY_DATA to the folder that holds it")
    return path
