"""Minute bars of a broker: one message a minute, those of a gap fetched, none twice, none before an older one."""

import lives
import numpy as np
import pytest

from replay.data.session import Session
from replay.events import BAR, EVENT, GAP, LAST
from replay.live.alpaca.bars import Bars
from replay.live.desk import pack
from replay.live.disk import Disk
from replay.live.log import Reader

MINUTE = 60 * 10**9
SOURCE = """
from replay import Strategy

class Bars(Strategy):
    n: int = 0

    def on_bars(self, ctx):
        self.n += 1
"""


class Later:
    """The streams' thread, whose time does not pass."""

    def __init__(self):
        self.calls = []

    def later(self, seconds, call):
        self.calls.append(call)


def heard(n=2):
    rows, later = [], Later()
    return Bars(later, rows.append, n), rows, later


def bar(minute, k=0, flags=0):
    return pack(BAR, minute * MINUTE, 0, k, flags=flags, a=1, b=1, c=1, d=1)


def closes(rows):
    events = np.frombuffer(b"".join(r.event for r in rows), EVENT)
    return [(int(e["ts_event"]) // MINUTE, int(e["instrument"]), bool(e["flags"] & LAST)) for e in events]


def test_a_minute_is_one_message():
    bars, rows, later = heard()
    for k in (0, 1):
        bars.hear(bar(1, k), 7)
    assert closes(rows) == [(1, 0, False), (1, 1, True)] and rows[-1].heard == 7
    bars.hear(bar(2, 1), 8)  # the other has traded nothing
    assert len(rows) == 2
    later.calls[-1]()
    assert closes(rows)[2:] == [(2, 1, True)]
    bars.hear(bar(3, 0), 9)
    bars.hear(bar(4, 0), 9)  # a newer minute ends the one before
    assert closes(rows)[3:] == [(3, 0, True)]


def test_bars_of_a_gap_come_before_newer_ones_and_none_twice():
    bars, rows, _ = heard(1)
    bars.hear(bar(1), 5)
    assert bars.gap() == MINUTE
    bars.hear(bar(4), 6)
    bars.hear(bar(5), 6)
    assert closes(rows) == [(1, 0, True)], "what the stream brings waits for what it missed"
    bars.fill({m * MINUTE: [bar(m, flags=GAP)] for m in (4, 1, 2, 3)})
    assert [minute for minute, *_ in closes(rows)] == [1, 2, 3, 4, 5]
    bars.hear(bar(6), 7)
    assert len(rows) == 6
    bars.gap(), bars.gap()
    bars.hear(bar(7), 7)
    bars.fill({})  # could not be had
    assert len(rows) == 6
    bars.fill({})
    assert [minute for minute, *_ in closes(rows)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_minute_that_broke_off_is_given_once_and_whole():
    bars, rows, later = heard()
    for k in (0, 1):
        bars.hear(bar(1, k), 5)
    bars.hear(bar(2, 0), 5)
    bars.cut()
    later.calls[-1]()
    assert bars.gap() == MINUTE and len(rows) == 2
    bars.fill({2 * MINUTE: [bar(2, 0, GAP), bar(2, 1, GAP)]})
    assert closes(rows)[2:] == [(2, 0, False), (2, 1, True)]
    bars.hear(bar(3, 0), 5)
    bars.cut()
    bars.gap()
    bars.fill({})  # what had come of it is better than nothing
    later.calls[-1]()
    assert closes(rows)[4:] == [(3, 0, True)]


@pytest.mark.parametrize("kind", ["drop", "abort"])
def test_a_gap_of_the_stream_is_filled(kind, tmp_path, monkeypatch):
    """Every minute of both symbols, once and in order, although the stream was away for some of them."""
    source = tmp_path / "bars.py"
    source.write_text(SOURCE)
    day = Session.open("fixtures/equity-day")
    with lives.serving(day, speed=120.0) as (_, url):
        order = lives.order(url, tmp_path, [str(source)], ["AAPL", "MSFT"])
        with lives.living(order, monkeypatch) as runner, lives.aside(runner) as raised:
            last = runner.broker.minutes
            lives.until(lambda: last.last or raised)
            before = last.last
            lives.fault(url, kind, stream="/v2/iex")
            lives.until(lambda: runner.gaps or raised)
            lives.until(lambda: last.last >= before + 8 * MINUTE or raised)
        assert not raised and runner.gaps == 1 and runner.status()["unused"] == {}
    frames = np.concatenate([b.frames for b in Reader(Disk(order.journal))])
    events = np.ascontiguousarray(frames["event"]).view(EVENT).reshape(-1)
    bars = events[events["kind"] == BAR]
    assert (np.diff(bars["ts_event"]) >= 0).all()
    for k in (0, 1):
        own = bars[bars["instrument"] == k]
        assert (np.diff(own["ts_event"]) == MINUTE).all(), "no minute twice, none missing"
    assert (bars["flags"] & GAP != 0).sum() >= 2
    lives.verified(order.journal)
