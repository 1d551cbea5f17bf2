"""Random schedules of faults and orders come to digests that must never change by accident: of all inputs, outputs and both states.

``python tests/test_golden_schedules.py`` prints them. A change of a rule, of the schedules or of a layout changes them: then say so in
the commit, and write the new ones. They see what no single assertion names: a counter, a record, a digest that lost a word.
"""

import hashlib
from pathlib import Path

import pytest

from replay.data.session import Session
from replay.data.synth import l2_book
from replay.fuzz.runner import Runner
from replay.kernel.memory import JIT
from replay.runs.config import Chosen, RunConfig

DAY = Path(__file__).parents[1] / "fixtures" / "equity-day"
EVENTS = 120  #: of a schedule
GOLDEN = {
    20: "5f491b929450def1",
    800: "9ec0d30e15d6ef1a",
}  #: by the number of schedules on each of two sessions; interpreted, the first


def digest(schedules: int) -> str:
    """Of so many schedules over the bundled day and over a made-up book, each with two strategies and random orders."""
    chosen = (
        Chosen(source="ema_cross", parameters={"fast": 5, "slow": 20, "warmup": 20, "qty": 2}),
        Chosen(source="passive_quoting", parameters={"qty": 3, "max_position": 9}),
    )
    base = RunConfig(session=str(DAY), commission="2bps", strategies=chosen)
    h = hashlib.blake2b(digest_size=8)
    for session in (Session.open(DAY, trust=True), l2_book(1500, seed=12)):
        runner = Runner(session, base)
        for k in range(schedules):
            found = runner.number(11, k, EVENTS)
            assert found.broken is None, (k, str(found.broken), found.text)
            h.update(found.digest.encode())
    return h.hexdigest()


@pytest.mark.parametrize("schedules", GOLDEN)
def test_schedules(schedules):
    if not JIT and schedules > min(GOLDEN):
        pytest.skip("takes minutes interpreted")
    assert digest(schedules) == GOLDEN[schedules]


if __name__ == "__main__":
    for n in GOLDEN:
        print(n, digest(n))
