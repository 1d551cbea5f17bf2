"""Strategies as people write them: what loads, what is refused and how, and what an exception leaves behind."""

import numpy as np
import pytest

from replay import Duration, Each, State, Strategy, compiled, ema
from replay import events as ev
from replay.data import synth
from replay.engine import Engine
from replay.errors import BadInput, StrategyError
from replay.kernel.memory import JIT
from replay.strategy import examples, load, parameters
from replay.trader.output import OUT_LOG, OUT_NEW, OUT_REFUSED

HEAD = "from replay import Duration, Each, State, Strategy, compiled, ema\n"
GOOD = (
    HEAD
    + """
LIMIT = 3

def twice(x):
    return 2 * x

@compiled
class Good(Strategy):
    '''Counts, logs.'''
    qty: int = 5
    hold: Duration = '2us'
    edge: float = 0.5
    loud: bool = True
    source: str = 'mid'
    n: State[int] = 0
    seen: Each[int] = 0

    def features(self):
        return {'fast': ema(self.source, 20)}

    def helper(self, ctx, i):
        self.seen[i] += 1
        return twice(self.seen[i])

    def on_quote(self, ctx, q):
        self.n += 1
        if self.loud and self.helper(ctx, q.instrument) == 2 * LIMIT:
            ctx.log(self.n, self.edge, ctx.fast(q.instrument), self.qty + self.hold)
"""
)


@pytest.fixture(scope="module")
def session():
    return synth.equity_day(("A",), 300, seed=2)


@pytest.fixture
def write(tmp_path):
    def make(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return make


def wrong(source, *parts, given=None):
    with pytest.raises(BadInput) as e:
        load(source, given)
    for part in parts:
        assert part in str(e.value), (part, str(e.value))
    return str(e.value)


# --- what loads -----------------------------------------------------------------------------------------------------------------
def test_a_file_compiled_and_plain(write, session):
    logs = []
    for text in (GOOD, GOOD.replace("@compiled\n", "")):
        strategy = load(write(text, f"s{len(logs)}.py"), {"edge": "0.25", "loud": "yes"})
        assert strategy.kind == ("plain" if logs else "compiled") and strategy.hooks == ["on_quote"]
        out = Engine(session, [strategy]).run().output()
        logs.append(out[out.kind == OUT_LOG])
    assert len(logs[0]) == 1 and logs[0].tobytes() == logs[1].tobytes()
    assert np.array(logs[0].a).view(np.float64)[0] == 0.25 and int(logs[0].id[0]) == 3
    assert np.array(logs[0].c).view(np.float64)[0] == 5 + 2_000  # qty, and hold in ns


def test_by_name_by_class_and_one_of_several(write):
    assert load("ema_cross").name == "EmaCross" and "ema_cross" in examples() and "passive_quoting" in examples()
    path = write(GOOD + "\n\n@compiled\nclass Other(Strategy):\n    def on_timer(self, ctx, t):\n        ctx.log(1)\n")
    assert load(path + ":Other").name == "Other"
    wrong(path, "one strategy class expected, found Good, Other", f"{path}:Class")
    wrong(path + ":Third", "no strategy class 'Third'")


def test_every_hook_and_the_whole_of_ctx(write, session):
    text = HEAD + "@compiled\nclass All(Strategy):\n    n: State[int] = 0\n"
    for hook in ("on_start", "on_bars", "on_stop"):
        text += f"    def {hook}(self, ctx):\n        self.n += 1\n        ctx.log(self.n)\n"
    for hook in ("on_quote", "on_trade", "on_book", "on_bar", "on_data", "on_order", "on_timer"):
        text += f"    def {hook}(self, ctx, e):\n        self.n += 1\n"
    text += "        ctx.market(0, 1); ctx.limit(0, 1, 1); ctx.stop(0, 1, 1); ctx.stop_limit(0, 1, 1, 1); ctx.bracket(0, 1, 1, 1, 1)\n"
    text += "        ctx.oco(0, 1, 1, 1); ctx.cancel(1); ctx.cancel_all(); ctx.replace(1, 1, 1); ctx.target(0, 0); ctx.timer(1)\n"
    text += "        ctx.log(ctx.state(1), ctx.cum_qty(1), ctx.leaves_qty(1), ctx.order_px(1) + ctx.n_instruments)\n"
    text += "        if ctx.is_done(1) and not ctx.is_settled(1):\n            ctx.log(1, ctx.equity, ctx.position(0), ctx.account_position(0))\n"
    digests = []
    for k, t in enumerate((text, text.replace("@compiled\n", ""))):
        strategy = load(write(t, f"all{k}.py"))
        assert len(strategy.hooks) == 10
        engine = Engine(session, [strategy]).run()
        logs = engine.output()
        assert (logs.kind == OUT_LOG).sum() == 2
        digests.append(engine.digest)
    assert digests[0] == digests[1]


ARRAYS = """from replay import Array, Each, State, Strategy, compiled
@compiled
class Ring(Strategy):
    n: int = 3
    one: int = 1
    odd: Each[bool] = False
    ints: Each[int] = Array("n")
    floats: Each[float] = Array("one", 2)
    k: State[int] = 0

    def put(self, i, x):
        self.ints[i, self.k % self.n] += x
        self.floats[i, 1] = self.floats[i, 0]
        self.floats[i, 0] = 0.5 * x

    def on_quote(self, ctx, q):
        self.put(q.instrument, q.bid_px)
        self.odd[q.instrument] = not self.odd[q.instrument]
        self.k += 1
        ctx.log(self.k, self.ints[q.instrument, 0], self.ints[q.instrument, self.n - 1], self.floats[q.instrument, 1])
"""


@pytest.mark.parametrize("n", [1, 3, 5])
def test_arrays_an_instrument(write, n):
    session = synth.equity_day(("A", "B", "C"), 300, seed=2)
    logs = []
    for k, text in enumerate((ARRAYS, ARRAYS.replace("@compiled\n", ""))):
        out = Engine(session, [load(write(text, f"ring{k}.py"), {"n": n})]).run().output()
        logs.append(out[out.kind == OUT_LOG])
    assert logs[0].tobytes() == logs[1].tobytes() and len(logs[0]) > 100
    ints, floats = np.zeros((3, n), np.int64), np.zeros((3, 2))
    quotes = session.events[session.events.kind == ev.QUOTE]
    for j, (q, said) in enumerate(zip(quotes, logs[0], strict=True)):
        i = int(q.instrument)
        ints[i, j % n] += int(q.a)
        floats[i] = 0.5 * int(q.a), floats[i, 0]
        assert np.array([said.a, said.b, said.c]).view(np.float64).tolist() == [ints[i, 0], ints[i, n - 1], floats[i, 1]]


def test_arrays_that_cannot_be(write):
    wrong(
        write(ARRAYS.replace("0] = 0.5 * x", "0] = 0.5 * self.ints[i]")),
        "self.ints has several values an instrument",
        "[instrument, k]",
    )
    wrong(
        write(ARRAYS.replace("self.put(q.instrument, q.bid_px)", "self.put(0, self.ints)"), "b.py"),
        "self.ints has several values",
    )
    wrong(write(ARRAYS.replace('"n"', '"m"'), "c.py"), "ints = Array('m')", "the name of an int parameter")
    wrong(write(ARRAYS.replace('Array("n")', "Array()"), "e.py"), "ints = Array()", "the name of an int parameter")
    wrong(write(ARRAYS, "d.py"), "ints has 0 values an instrument", "correct n", given={"n": 0})
    wrong(write(ARRAYS, "f.py"), "floats has 0 values an instrument", "correct one", given={"one": 0})


# --- parameters -----------------------------------------------------------------------------------------------------------------
class Quoter(Strategy):
    qty: int = 100
    edge: float = 0.5
    loud: bool = False
    name: str = "x"
    hold: Duration = "60s"

    def on_quote(self, ctx, q):
        pass


def test_parameters():
    given = {"qty": "200", "edge": "1e-3", "loud": "TRUE", "name": "y", "hold": "5m"}
    assert parameters(Quoter, given) == {"qty": 200, "edge": 0.001, "loud": True, "name": "y", "hold": "5m"}
    want = {"qty": 7, "edge": 0.5, "loud": False, "name": "x", "hold": "1500ns"}
    assert parameters(Quoter, {"qty": 7.0, "loud": False, "hold": 1500}) == want


@pytest.mark.parametrize(("name", "value", "kind"), [
    ("qty", "many", "a whole number"), ("qty", 1.5, "a whole number"), ("qty", "1.5", "a whole number"), ("qty", str(2**63), "a whole number"),
    ("edge", "wide", "a number"), ("edge", "nan", "a number"), ("edge", "inf", "a number"), ("loud", "maybe", "true or false"),
    ("qty", None, "a whole number"), ("hold", "soon", "a duration such as 500ms, 60s or 5m"), ("hold", 0, "a duration"),
])  # fmt: skip
def test_a_parameter_of_a_wrong_type(name, value, kind):
    given = f", got {value!r} (from -p {name}={value})"
    wrong(Quoter, given, f"parameter {name} must be {kind}", given={name: value})


def test_an_unknown_parameter():
    wrong(Quoter, "no parameter 'size'; it has qty, edge, loud, name, hold", given={"size": 1})


# --- what is refused ------------------------------------------------------------------------------------------------------------
def test_no_such_strategy(tmp_path):
    wrong("no_such_thing", "no such file and no such example", "ema_cross")
    wrong(str(tmp_path / "missing.py"), "missing.py")


def test_not_a_strategy(write):
    wrong(dict, "must be a subclass of replay.Strategy")
    wrong(write("x = 1\n"), "one strategy class expected, found none")
    wrong(
        write(HEAD + "class Idle(Strategy):\n    qty: int = 1\n", "idle.py"), "handles nothing: define one of on_start, on_quote"
    )


def test_a_file_that_does_not_import(write):
    path = write("from replay import Strategy\n\ndef broken(:\n")
    assert "line 3: SyntaxError" in wrong(path, path)
    path = write("import replay\n\n\n1 / 0\n", "b.py")
    wrong(path, f"{path} line 4: ZeroDivisionError")


def test_fields_without_a_default_or_of_a_wrong_type(write):
    body = "    def on_quote(self, ctx, q):\n        pass\n"
    wrong(
        write(HEAD + "@compiled\nclass A(Strategy):\n    qty: int\n" + body, "a.py"),
        "A: qty needs a default: write `qty: int = ...`",
    )
    wrong(write(HEAD + "@compiled\nclass B(Strategy):\n    n: State[int]\n" + body, "b.py"), "B: n needs a default")
    wrong(
        write(HEAD + "class C(Strategy):\n    n: list = 0\n" + body, "c.py"),
        "C: n must be int, float, bool, str, Duration, State[...] or Each[...]",
    )
    wrong(write(HEAD + "class D(Strategy):\n    n: Each[str] = ''\n" + body, "d.py"), "D: n must be")


def test_features_must_be_specs(write):
    wrong(write(GOOD.replace("ema(self.source, 20)", "20")), "feature fast must be a spec such as ema('mid', 20), got 20")


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("ctx.log(self.n", "ctx.buy(self.n", 29, "ctx has no 'buy'; it has account_position"),
    ("ctx.log(self.n, self.edge", "ctx.log(self.n, ctx.price", 29, "ctx has no 'price'; it has account_position"),
    ("ctx.log(self.n, self.edge", "ctx.log(self.n, self.source", 29, "self.source is text, which only features() may use"),
    ("ctx.log(self.n, self.edge", "ctx.log(self.n, self.seen", 29, "self.seen has one value an instrument: write self.seen[instrument]"),
    ("self.n += 1", "self.n += q.price", 27, "q has no 'price'; it has ts_event, ts_recv, kind, side, flags, instrument, seq, bid_px"),
    ("self.n += 1", "self.m = 1", 27, "self.m is not an annotated field or a method"),
])  # fmt: skip
def test_faults_found_before_compilation_name_their_line(write, old, new, line, message):
    assert old in GOOD
    text = GOOD.replace(old, new)
    at = next(k for k, t in enumerate(text.splitlines(), 1) if new in t)
    assert at == line
    wrong(write(text), f"mine.py line {line}: {message}")


def test_a_compiled_strategy_stands_in_a_file():
    space = {}
    exec(HEAD + "@compiled\nclass Nowhere(Strategy):\n    def on_quote(self, ctx, q):\n        pass\n", space)
    wrong(space["Nowhere"], "Nowhere: a compiled strategy must stand in a .py file")


def test_a_run_needs_a_strategy(session):
    with pytest.raises(BadInput, match="a run needs a strategy"):
        Engine(session, [])


# --- exceptions -----------------------------------------------------------------------------------------------------------------
FAILS = (
    HEAD
    + """
{deco}class Fails(Strategy):
    n: State[int] = 0
    table: Each[int] = 0

    def on_start(self, ctx):
        ctx.log(7)
        self.go(ctx, 'on_start' == '{hook}')

    def on_quote(self, ctx, q):
        self.n += 1
        ctx.limit(0, 1, q.bid_px - 50)
        ctx.log(self.n)
        self.go(ctx, self.n == 20 and 'on_quote' == '{hook}')

    def on_timer(self, ctx, t):
        self.go(ctx, 'on_timer' == '{hook}')

    def on_stop(self, ctx):
        ctx.log(8)
        self.go(ctx, 'on_stop' == '{hook}')

    def go(self, ctx, now):
        if now:
            d = self.n - self.n
            ctx.log(1 // d)
"""
)


@pytest.mark.parametrize("deco", ["@compiled\n", ""], ids=["compiled", "plain"])
@pytest.mark.parametrize("hook", ["on_start", "on_quote", "on_stop"])
def test_an_exception_ends_the_run_and_keeps_what_was(write, session, deco, hook):
    flags = {h: h == hook for h in ("on_start", "on_quote", "on_timer", "on_stop")}
    text = FAILS.replace("{deco}", deco)
    for h, on in flags.items():
        text = text.replace(f"'{h}' == '{{hook}}'", str(on))
    engine = Engine(session, [load(write(text))])
    with pytest.raises(StrategyError) as e:
        engine.run()
    said = str(e.value)
    assert said.startswith(f"strategy Fails: {hook} at event ")
    seq = int(said.split(" at event ")[1].split(" ")[0].replace(",", ""))
    out = engine.output()
    logs = out[out.kind == OUT_LOG].id.tolist()
    n = {"on_start": 0, "on_quote": 20, "on_stop": logs.count(8) and len(logs) - 2}[hook]
    assert logs[: 1 + n] == [7, *range(1, n + 1)] and (logs[-1] == 8) == (hook == "on_stop")
    assert (out.kind == OUT_NEW).sum() + (out.kind == OUT_REFUSED).sum() >= n
    assert seq == int(engine.trader.header.seq) and (seq > 0) == (hook != "on_start")
    when = np.datetime64(int(engine.trader.header.now), "ns")
    assert f"({when}Z)" in said
    if not deco or not JIT:
        assert "ZeroDivisionError" in said and isinstance(e.value.__cause__, ZeroDivisionError)


def test_an_interrupt_passes_through(session):
    class Stopped(Strategy):
        def on_quote(self, ctx, q):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(session, [load(Stopped)]).run()


def test_too_many_records_in_one_event(session):
    class Chatty(Strategy):
        def on_quote(self, ctx, q):
            for k in range(1 << 16):
                ctx.log(k)

    with pytest.raises(BadInput, match="a callback wrote more than"):
        Engine(session, [load(Chatty)]).run()


def test_progress_and_outputs_that_are_not_kept(session):
    told = []
    engine = Engine(session, [load(Quoter)], keep_output=False, compiling=lambda *a: told.append(a))
    engine.run(lambda done, n: told.append((done, n)))
    assert told[-1] == (300, 300) and len(engine.output()) == 0


assert compiled and Each and State and ema
