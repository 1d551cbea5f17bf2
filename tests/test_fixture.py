"""The bundled sessions are what their generators make, and the folders hold what their manifests say."""

from pathlib import Path

import pytest

from replay.data.session import Session
from replay.data.synth import equity_day
from replay.data.synth_bars import bars_month

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.mark.parametrize(("name", "make"), [("equity-day", equity_day), ("bars-month", bars_month)])
def test_the_fixture_is_regenerated_bit_for_bit(name, make):
    made, saved = make(), Session.open(FIXTURES / name)
    assert made.manifest == saved.manifest
    assert made.events.tobytes() == saved.events.tobytes()
    assert saved.manifest.n_events <= 50_000
    assert sum(f.stat().st_size for f in (FIXTURES / name).iterdir()) < 1 << 20
