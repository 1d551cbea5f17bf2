"""``replay paper``, put together: keys, instruments, journal, trader, broker, runner, screen."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.faults.live import Faults, FaultyDisk
from replay.faults.plan import Plan
from replay.live import open as opening
from replay.live.clock import Clock, Lockstep
from replay.live.control import Door
from replay.live.disk import Disk
from replay.live.head import manifest_of
from replay.live.lock import hold_account, hold_journal
from replay.live.recovery import begun, read_head
from replay.live.runner import Runner, Settings
from replay.live.safety import Safety
from replay.show import said_by
from replay.strategy import load
from replay.summary import strategy_names
from replay.trader.limits import Limits
from replay.trader.rows import BAR_CLOSE

SWITCH_S = 1e-4  #: Python's own, 5 ms, is how late an order may be behind a thread that reads market data


class Order(msgspec.Struct, kw_only=True):
    """Everything a run is asked for."""

    strategies: list[tuple[str, dict[str, str]]]
    symbols: list[str]
    limits: Path
    journal: Path
    keys: Path | None = None
    url: str | None = None
    feed: str = "iex"
    crypto: bool = False
    market_hours_only: bool = False
    extended_hours: bool = False
    policy: str = "halt"
    on_stop: str = "cancel"
    on_hang: str = "kill"
    hang_s: float = 10.0
    rate_limit: int = 200
    real_money: str | None = None
    as_journaled: bool = False
    faults: Path | None = None


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around imports of the SDK: one line where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise BadInput(f"{e.name} is not installed: pip install 'replay-engine[alpaca]'") from None


def assemble(order: Order, told: Callable[[dict], None] = lambda line: None) -> Runner:
    """A runner, ready to run. `told` gets what happens, as it happens. Raises `BadInput` in one line, before anything is sent."""
    with importing():
        from replay.live.alpaca import account
        from replay.live.alpaca.adapter import Alpaca
        from replay.live.alpaca.streams import LOGIN_S
    if order.faults and (order.real_money is not None or not order.url):
        raise BadInput("--faults: nothing is broken on purpose at a broker: name a local server with --url (replay serve)")
    if order.extended_hours and (order.crypto or order.market_hours_only):
        raise BadInput(
            "--extended-hours: crypto has no sessions, and --market-hours-only trades in none but the regular: leave one out"
        )
    plan = Plan.load(order.faults) if order.faults else Plan()
    strategies = [load(name, params) for name, params in order.strategies]
    limits = Limits.load(order.limits)
    if limits == Limits():
        raise BadInput("--limits: none of its limits is set: live trading needs some; docs/limits.md lists them")
    key, secret = account.keys(order.keys)
    disk = FaultyDisk(order.journal) if plan.faults else Disk(order.journal)
    disk.make()
    disk.shut()
    hold_journal(order.journal)
    access = account.enter(
        key, secret, paper=order.real_money is None, url=order.url, feed=order.feed, crypto=order.crypto, rate=order.rate_limit,
        patience_s=LOGIN_S if begun(disk) else account.AGAIN_S,
    )  # fmt: skip
    if access.local.get("rules") != "open":  # what the broker refuses is refused in the call
        limits = msgspec.structs.replace(limits, account_rules=True)
    if order.real_money is not None and order.real_money != access.account:
        raise BadInput(f"--real-money: the keys are of another account than {order.real_money}: nothing was sent")
    hold_account("alpaca", access.account, order.url)
    known = {i.symbol: i for i in read_head(disk).manifest.instruments} if begun(disk) else {}
    scales, prices = account.instruments(access, order.symbols, order.crypto, order.feed, known)
    with contextlib.closing(access.rest()) as rest:
        hours = account.clock(rest) if not order.crypto else None
    clock = Lockstep(access.session_ns) if access.session_ns else Clock()
    phased = hours is not None and not (access.session_ns and hours.is_open)
    if begun(disk):
        desk, head, said = opening.go_on(disk, strategies, limits, order.symbols, access.account, clock.now(), order.as_journaled)
        for text in said:
            told({"what": "resumed", "text": text})
    else:
        instruments, heard = [s.instrument for s in scales.values()], account.feed_of(access, order.symbols)
        manifest = manifest_of(order.journal.name, instruments, prices, clock.now(), phased, *heard)
        desk, head = opening.begin(disk, strategies, manifest, limits, access.cash, "alpaca", access.account, clock.now())
    m = head.manifest
    for s, ns in zip(scales.values(), m.finest_bar_ns, strict=True):
        s.bar_ns, s.bar_side = ns, m.bar_intervals_ns.index(ns) if ns else 0
    settings = Settings(
        policy=order.policy, on_stop=order.on_stop, market_hours_only=order.market_hours_only, phased=phased,
        on_hang=order.on_hang, hang_s=order.hang_s,
    )  # fmt: skip
    runner: Runner
    broker = Alpaca(
        access, scales, run_id=head.run_id, crypto=order.crypto, feed=order.feed, bars=wants_bars(strategies), now=clock.now,
        extended=lambda: order.extended_hours and runner.outside_hours,
    )  # fmt: skip
    runner = Runner(desk, broker, head.run_id, settings, clock, told)
    if plan.faults:
        Faults(plan, disk).begin(runner)
    return runner


@contextlib.contextmanager
def tuned() -> Iterator[None]:
    """A process that trades: what is there when it begins is never looked through for garbage, and no thread of it holds the others up for
    longer than `SWITCH_S`."""
    before = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()


def wants_bars(strategies: Sequence) -> bool:
    """Whether any of them looks at bars."""
    return any(
        {"on_bar", "on_bars"} & set(s.hooks) or any(f.source == BAR_CLOSE for f in s.features.values()) for s in strategies
    )


def run(order: Order, lines: bool) -> None:
    """Trade until told to stop. `lines`: JSON lines on stdout instead of a screen. Raises `BadInput` as `assemble` does."""
    runner = assemble(order, _line if lines else (lambda line: None))
    if lines:
        names = strategy_names(runner.desk.build)
        runner.desk.heard = lambda rows: _lines(rows, runner.desk.build.manifest.instruments, names)
    safety = runner.safety = Safety(runner, runner.flattens)
    safety.catch_signals()
    safety.start()
    door = Door(order.journal, runner.inbox.put, safety)
    try:
        with _screen(runner, lines), tuned():
            runner.run()
    finally:
        safety.stop()
        door.close()
    if lines:
        _line({"what": "ended", **runner.status()})


def _lines(rows: np.recarray, instruments: tuple[Instrument, ...], names: list[str]) -> None:
    for said in said_by(rows, instruments, names):
        print(_JSON.encode(said).decode(), flush=True)


def _line(line: dict) -> None:
    print(_JSON.encode({"at": utc_text(time.time_ns()), **line}).decode(), flush=True)


_JSON = msgspec.json.Encoder(decimal_format="number")


@contextlib.contextmanager
def _screen(runner: Runner, lines: bool) -> Iterator[None]:
    if lines:
        yield
        return
    from replay.live.screen import Screen, render
    from replay.show import console

    if sys.stdout.isatty():
        with Screen(runner):
            yield
    else:
        yield
    console().print(render(runner.status()))
