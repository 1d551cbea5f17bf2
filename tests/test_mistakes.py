"""Mistakes made while writing a strategy: each is one line that names its line, and nothing wrong compiles into silence."""

import re

import pytest

from replay.data import synth
from replay.engine import Engine
from replay.errors import BadInput, ReplayError, StrategyError
from replay.kernel.memory import JIT
from replay.strategy import load

HEAD = """import math
import random
from replay import Duration, Each, State, Strategy, compiled, ema, sign

def roll():
    return random.random()

@compiled
class Mine(Strategy):
    '''Text is welcome here.'''
    qty: int = 10
    edge: float = 1.5
    hold: Duration = '1s'
    n: Each[int] = 0
    k: State[int] = 0

    def features(self):
        return {'fast': ema('mid', 20)}

    def on_quote(self, ctx, q):
        '''And here.'''
"""
LINE = HEAD.count("\n") + 1


@pytest.fixture(scope="module")
def session():
    return synth.equity_day(("A",), 300, seed=2)


@pytest.fixture
def write(tmp_path):
    def make(body, plain=False):
        path = tmp_path / "mine.py"
        path.write_text((HEAD.replace("@compiled\n", "\n") if plain else HEAD) + f"        {body}\n")
        return str(path)

    return make


@pytest.mark.parametrize(("body", "said"), [
    ("ctx.markett(0, 1)", "ctx has no 'markett' (ctx.market?); it has account_position, book"),
    ("ctx.log(1, ctx.slow(0))", "ctx has no 'slow'; it has"),
    ("ctx.log(1, ctx.fast + 1)", "ctx.fast is a function: write ctx.fast(instrument)"),
    ("ctx.log(ctx.position + 1)", "ctx.position is a function: write ctx.position(instrument)"),
    ("ctx.log(ctx.now())", "ctx.now is a value: write ctx.now"),
    ("ctx.market(0)", "ctx.market(instrument, signed, tif, flags): missing a required argument: 'signed'"),
    ("ctx.market(0, 1, 2, 3, 4)", "ctx.market(instrument, signed, tif, flags): too many positional arguments"),
    ("ctx.limit(0, 1, 2, price=5)", "ctx.limit(instrument, signed, px, tif, flags): got an unexpected keyword argument 'price'"),
    ("ctx.market(*(0, 1))", "ctx.market(instrument, signed, tif, flags): its arguments are written one by one"),
    ("ctx.market(0, 1, 'IOC')", "text 'IOC': a compiled method works with numbers"),
    ("ctx.log(f'{q.bid_px}')", "text: a compiled method works with numbers"),
    ("ctx.market(0, qty)", "name 'qty' is not defined: write self.qty"),
    ("ctx.market(0, lots(1))", "name 'lots' is not defined"),
    ("print(q.bid_px)", "print(): the core does no input or output (D005)"),
    ("ctx.log(1, self.edge ** 2)", "**: other last bits compiled; multiply (D008)"),
    ("ctx.log(1, math.log(self.edge))", "math.log: other last bits elsewhere; use replay.kernel.fixed (D009)"),
    ("import heapq", "an import in a compiled method"),
    ("q.bid_px = 5", "q.bid_px cannot be set: events and views are what happened"),
    ("b = ctx.book(0); b.bid_px = 5", "b.bid_px cannot be set"),
    ("b = ctx.book(0); ctx.log(b.bid)", "ctx.book() has no 'bid'; it has bid_px, bid_sz"),
    ("self.k /= 2", "self.k holds whole numbers, / makes a fraction: use //"),
])  # fmt: skip
def test_found_before_compilation(write, body, said):
    with pytest.raises(BadInput) as e:
        load(write(body))
    text = str(e.value)
    assert f"mine.py line {LINE}: {said}" in text and "\n" not in text, text


def test_what_it_uses_of_its_module_keeps_the_rules_and_the_rest_is_its_own_affair(write):
    assert load(write("ctx.log(1)")).hooks == ["on_quote"]
    with pytest.raises(BadInput, match=r"mine\.py line 2: randomness: use replay.kernel.rng \(D002\)"):
        load(write("ctx.log(1, roll())"))


@pytest.mark.parametrize(("old", "new", "said"), [
    ("def on_quote(self, ctx, q)", "def on_quote(self, ctx)", "on_quote takes (self, ctx, event), got (self, ctx)"),
    ("def on_quote(self, ctx, q)", "def on_quote(self, c, q)", "on_quote takes (self, ctx, event), got (self, c, q)"),
    ("def on_quote(self, ctx, q)", "def on_start(self, ctx, q)", "on_start takes (self, ctx), got (self, ctx, q)"),
    ("'fast':", "'position':", "feature position: ctx.position is something else already: choose another name"),
    ("{'fast': ema('mid', 20)}", "[ema('mid', 20)]", "features() must return a dict of names and specs, got list"),
    ("qty: int = 10", "qty: int = 1.5", "the default of qty must be a whole number, got 1.5"),
    ("hold: Duration = '1s'", "hold: Duration = 'soon'", "the default of hold must be a duration such as 500ms, 60s or 5m, got 'soon'"),
])  # fmt: skip
@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "plain"])
def test_found_in_the_class(write, tmp_path, old, new, said, plain):
    path = write("ctx.log(1)", plain)
    text = (tmp_path / "mine.py").read_text()
    assert old in text
    (tmp_path / "mine.py").write_text(text.replace(old, new))
    with pytest.raises(BadInput) as e:
        load(path)
    assert str(e.value) == f"strategy Mine: {said}"


@pytest.mark.parametrize("body", [
    "ctx.market(0, self.qty * 0.5)", "ctx.limit(0, 1, q.bid_px * 0.999)", "self.k = self.edge", "self.n[0] += 0.5",
    "self.k, self.n[0] = 1, self.edge", "ctx.timer(ctx.now + 1e9)",
])  # fmt: skip
def test_a_fraction_is_never_cut_to_a_whole_number(write, session, body):
    with pytest.raises(ReplayError) as e:
        Engine(session, [load(write(body))]).run()
    text = str(e.value)
    assert "a whole number is expected here, got" in text and "write int(...)" in text and "\n" not in text
    assert not JIT or f"mine.py line {LINE}: cannot be compiled" in text


def test_what_only_the_compiler_sees_names_its_line(write, session):
    if not JIT:
        pytest.skip("nothing is compiled")
    with pytest.raises(BadInput) as e:
        Engine(session, [load(write("ctx.log(q.bid_px.nothing)"))])
    text = str(e.value)
    assert f"mine.py line {LINE}: cannot be compiled: " in text and "nothing" in text and "\n" not in text and len(text) < 500


@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "plain"])
@pytest.mark.parametrize(("body", "said"), [
    ("self.n[5] += 1", "IndexError"), ("ctx.log(ctx.position(5))", "IndexError"), ("ctx.log(1, ctx.fast(5))", "IndexError"),
    ("ctx.log(1, ctx.mark(5))", "IndexError"), ("ctx.log(ctx.book(5).bid_px)", "IndexError"), ("raise ValueError('no')", "ValueError: no"),
])  # fmt: skip
def test_found_while_it_runs(write, session, plain, body, said):
    with pytest.raises(StrategyError) as e:
        Engine(session, [load(write(body, plain))]).run()
    text = str(e.value)
    assert text.startswith("strategy Mine: on_quote at event ") and said in text and "\n" not in text
    if plain or "ValueError" in said:
        assert text.endswith(f"(line {LINE})")


def test_a_plain_strategy_is_told_as_much(write, session):
    for body, said in (
        ("ctx.markett(0, 1)", "ctx has no 'markett' (ctx.market?)"),
        ("ctx.market(0, 0.5)", "expects whole numbers"),
    ):
        with pytest.raises(StrategyError, match=re.escape(said)):
            Engine(session, [load(write(body, plain=True))]).run()
