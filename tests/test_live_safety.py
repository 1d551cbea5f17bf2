"""A strategy that hangs is killed: its orders are cancelled without it, and it stays killed after any end and restart.

Each run is a process of its own against the local server, as an operator would have it.
"""

import signal

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402
from papers import Paper, restarted_killed, wait, working  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.live import kill_mark  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.safety import EXIT_HUNG  # noqa: E402


@pytest.fixture
def url():
    with lives.serving(equity_day(n_events=20_000, seed=4), speed=20.0, strict=True) as (_, url):
        yield url


@pytest.fixture
def paper(tmp_path, url):
    made = []

    def make(strategy, *options, **kw):
        made.append(Paper(tmp_path, url, strategy, *options, **kw))
        return made[-1]

    yield make
    for p in made:
        p.end()


@pytest.mark.parametrize("strategy", ["Sleeps", "Loops"])
def test_an_operators_kill_reaches_the_orders_of_a_strategy_that_hangs(paper, strategy):
    p = paper(strategy, "--hang", "600")
    p.hung()
    told = p.operate("kill")
    assert told.returncode == 0 and "1 orders cancelled" in told.stdout, (told.stdout, told.stderr)
    assert not working(p.url)
    assert p.process.wait(30) == EXIT_HUNG
    assert kill_mark.read(Disk(p.journal)).why.startswith(("operator", "no answer"))
    restarted_killed(p)


def test_a_signal_reaches_the_orders_of_a_strategy_that_hangs(paper):
    p = paper("Loops", "--hang", "600")
    p.hung()
    p.process.send_signal(signal.SIGTERM)
    assert p.process.wait(30) == EXIT_HUNG
    assert not working(p.url) and "1 orders cancelled" in p.said()


def test_a_step_that_does_not_end_is_seen_and_killed(paper):
    p = paper("Spins", "--hang", "2")
    wait(lambda: working(p.url), p)
    assert p.process.wait(60) == EXIT_HUNG
    assert not working(p.url)
    assert "hanging.py" in (p.journal / "hang.txt").read_text()  # where it stood
    restarted_killed(p)


def test_a_kill_outlives_kill_9_and_a_journal_that_lost_its_end(paper):
    p = paper("Sleeps", "--hang", "600")
    wait(lambda: working(p.url) and (p.journal / "control").exists(), p)
    assert p.operate("kill", "--json").returncode == 0
    p.process.kill()
    p.process.wait(30)
    cut_before_the_kill(Disk(p.journal))
    restarted_killed(p)
    assert p.operate("resume").returncode == 0
    assert kill_mark.read(Disk(p.journal)) is None


def cut_before_the_kill(disk):
    """Cut the journal at the end of a block, so that nothing looks damaged, before the input that killed; snapshots go with it."""
    from replay.events import CONTROL, OP_KILL
    from replay.live.log import Reader

    reader, place = Reader(disk), None
    for block in reader:
        events = block.frames["event"]
        rows = [bytes(e) for e in events] if len(events) else []
        if any(r[16] == CONTROL and r[17] == OP_KILL for r in rows):
            break
        place = (reader.place.segment, reader.place.size)
    segment, size = place
    for name in disk.names():
        if name.startswith("snapshot-"):
            disk.remove(name)
    disk.truncate(f"segment-{segment:06d}.log", size)


def test_a_supervised_run_that_hangs_is_killed_and_started_again_killed(paper):
    p = paper("Holds", "--hang", "600", "--supervise")
    wait(lambda: working(p.url), p)
    wait(lambda: "started again" in p.said(), p, 120)
    wait(lambda: '"resumed"' in p.said().split("started again")[1], p)
    wait(lambda: not working(p.url), p)
    assert "no heartbeat" in p.said()
    p.process.send_signal(signal.SIGTERM)
    assert p.process.wait(60) == 0
