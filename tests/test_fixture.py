"""The bundled session is what its generator makes, and the folder holds what its manifest says."""

from pathlib import Path

from replay.data.session import Session
from replay.data.synth import equity_day

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "equity-day"


def test_the_fixture_is_regenerated_bit_for_bit():
    made, saved = equity_day(), Session.open(FIXTURE)
    assert made.manifest == saved.manifest
    assert made.events.tobytes() == saved.events.tobytes()
