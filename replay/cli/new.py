"""``replay new``."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.errors import BadInput

STRATEGY = '''\
"""{words}: say in a sentence what it does, and why that should earn money."""

from replay import Duration, Each, Strategy, {imported}sign, zscore


{decorator}class {name}(Strategy):
    """Fade a stretch of the last ten minutes; out when it has come back, or in time.

    window: what is called usual. entry_z, exit_z: distances from its mean, in standard deviations. max_hold: out after so long at the
    latest. qty: lots either way.
    Fails in a trend: what is far from the mean goes further. Say of yours when it fails, too.
    """

    window: Duration = "10m"  # a parameter: -p window=5m
    entry_z: float = 3.0
    exit_z: float = 0.5
    max_hold: Duration = "5m"
    qty: int = 100
    since: Each[int] = 0  # state, one value an instrument

    def features(self):
        """What the engine is to keep up to date; read as ctx.z(instrument)."""
        return {{"z": zscore("mid", self.window)}}

    def on_quote(self, ctx, q):
        """At every quote. Prices are whole ticks, quantities lots, times and durations ns."""
        i = q.instrument
        z = ctx.z(i)  # NaN until the window is full: no comparison with it is true
        if ctx.position(i) == 0:
            if abs(z) > self.entry_z and ctx.target(i, -sign(z) * self.qty) > 0:  # what is on its way counts: asking again orders nothing
                self.since[i] = q.ts_event
        elif abs(z) < self.exit_z or q.ts_event - self.since[i] >= self.max_hold:
            ctx.target(i, 0)
'''

TEST = '''\
"""What {file} is there for, and that it decides the same every time."""

from pathlib import Path

import replay
from replay.data.synth import by_hand, equity_day

STRATEGY = Path(__file__).with_name("{file}")


def test_it_decides_the_same_every_time():
    day = equity_day(n_events=10_000, seed=3)
    assert replay.run(day, STRATEGY).summary.digest == replay.run(day, STRATEGY).summary.digest


def test_it_sells_a_jump_and_buys_back_when_it_is_over():
    calm = [10_000, 10_001] * 400  # mids in ticks, one a second
    fills = replay.run(by_hand(calm + [10_030] * 3 + calm), STRATEGY, {{"qty": 10}}).table("fills")
    assert fills["side"].to_pylist() == ["sell", "buy"]
    assert fills["last_qty_lots"].to_pylist() == [10, 10]
'''


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="In lower case with underscores, such as my_idea.")],
    dir: Annotated[Path, typer.Option(help="Folder to write into.")] = Path(),
    plain: Annotated[bool, typer.Option("--plain", help="Plain Python instead of compiled: slower, and anything goes.")] = False,
) -> None:  # fmt: skip
    """Write a strategy to start from, with its test: NAME.py and test_NAME.py.

    Examples:

        replay new my_idea

        replay new my_idea --plain --dir strategies
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BadInput(f"replay new: expected a name in lower case with underscores, such as my_idea, got {name!r}")
    if not dir.is_dir():
        raise BadInput(f"{dir}: no such folder: make it first")
    files = dir / f"{name}.py", dir / f"test_{name}.py"
    for file in files:
        if file.exists():
            raise BadInput(f"{file}: is there already, and nothing was written: choose another name")
    if importlib.util.find_spec(name):
        raise BadInput(f"replay new: a module {name} is installed, and a file of that name would hide it: choose another name")
    words = name.replace("_", " ").strip().capitalize()
    how = {"imported": "", "decorator": ""} if plain else {"imported": "compiled, ", "decorator": "@compiled\n"}
    files[0].write_text(STRATEGY.format(words=words, name="".join(w.capitalize() for w in name.split("_")), **how))
    files[1].write_text(TEST.format(file=files[0].name))
    print(f"wrote {files[0]} and {files[1]}; next:\n  replay run --strategy {files[0]}\n  python -m pytest {files[1]}")
