"""Build the trader: its arena sized from a session's manifest, limits, capital and strategies written into it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from replay.data.instruments import Instrument
from replay.data.manifest import Manifest
from replay.errors import BadInput
from replay.events import EVENT
from replay.kernel import ladder
from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of
from replay.trader import layout as T
from replay.trader.limits import MONEY, Limits
from replay.trader.reasons import N_REASONS
from replay.trader.rows import FEATURE
from replay.trader.specs import FeatureTable
from replay.trader.step import start_account

LEVELS = {"none": T.LEVEL_BARS, "bars": T.LEVEL_BARS, "l1": T.LEVEL_L1, "l2": T.LEVEL_L2, "l3": T.LEVEL_L3}
MAX_PX = (1 << 59) - 1  #: of an order, in ticks: beyond lie the ranks that stand for no price
NO_OUTPUT = 1 << 40  # capacity of an output ring that is not there


def build(
    m: Manifest,
    strategies: Sequence,
    limits: Limits,
    strategy_limits: Sequence[Limits],
    capital: dict[str, Decimal],
    order_capacity: int = 1024,
    tombstone_ns: int = 1_000_000_000,
) -> Arena:
    """The trader for instruments and strategies (`replay.strategy.Loaded`). Raises `BadInput` for limits of unknown symbols, and for a
    strategy's limit that only an account can have."""
    n, s = len(m.instruments), len(strategies)
    table = FeatureTable(
        [
            (k, spec.of(level))
            for strategy in strategies
            for spec in strategy.features.values()
            for k, level in enumerate(m.levels)
        ],
        m.finest_bar_ns,
    )
    n_features = sum(len(strategy.features) for strategy in strategies)
    width, capacity = book_size(m)
    offsets, size = [], 0
    for strategy in strategies:
        own = -(-strategy.self_dtype.itemsize // 64) * 64
        each = -(-strategy.each_dtype.itemsize * n // 8) * 8 + 8 * n * sum(strategy.lengths.values())
        offsets.append((size, size + own))
        size += own + -(-each // 64) * 64
    arena = Arena(
        T.HEADER,
        {
            "current": (EVENT, 1),
            "instruments": (T.INSTRUMENT, n),
            "views": (T.VIEW, n),
            "positions": (T.POSITION, (1 + s) * n),
            "currencies": (T.CURRENCY, len(m.currencies)),
            "orders": (T.ORDER, order_capacity),
            "fills": (T.FILL, max(1024, 4 * order_capacity)),  # what is reported twice, or taken back, is found here long after
            "commands": (T.COMMAND, 2 * order_capacity),
            "intent_rows": (T.INTENT_ROW, _power_of_two(2 * order_capacity)),
            "limits": (T.LIMITS, (1 + s) * n),
            "refusals": (T.I64, max(1, s) * N_REASONS),
            "order_times": (T.I64, max(1, limits.max_orders)),
            "message_times": (T.I64, max(1, limits.max_messages)),
            "reject_times": (T.I64, max(1, limits.reject_spike)),
            "strategies": (T.STRATEGY, max(1, s)),
            "selves": (np.dtype("u1"), size + 64),
            "timers": (T.TIMER_ROW, T.timers_of(order_capacity)),
            "features": (FEATURE, max(1, len(table.features))),
            "feature_index": (T.I64, max(1, n_features * n)),
            "words": (T.I64, max(1, table.n_words)),
            **ladder.regions(2 * n if width else 0, width or 64, capacity),
        },
    )
    if width:
        ladder.prepare(arena, width, capacity)
    h = arena.header
    h.out_cap = NO_OUTPUT
    h.n_strategies, h.n_instruments = s, n
    h.tombstone_ns = tombstone_ns
    h.now = -(1 << 62)
    for k, v in enumerate(arena.region("views")):
        v.orders = -1
        v.features = table.first[k] if k < len(table.first) else -1
        v.level = LEVELS[m.levels[k]]
        v.finest = m.bar_intervals_ns.index(m.finest_bar_ns[k]) if m.finest_bar_ns[k] else -1
        v.phase = m.phase_at_start
    arena.region("features")[: len(table.features)] = table.features
    fill_instruments(arena, m)
    fill_limits(arena, m, limits, strategy_limits)
    _fill_capital(arena, m, capital)
    _fill_orders(arena)
    index, at = arena.region("feature_index"), 0
    for strategy, row, (own, each) in zip(strategies, arena.region("strategies"), offsets, strict=False):
        row.self_at = h.selves_at + own
        row.each_at = h.selves_at + each
        firsts = {}
        for name, spec in strategy.features.items():
            firsts[name] = at
            for k, level in enumerate(m.levels):
                index[at] = table.row(k, spec.of(level))
                at += 1
        strategy.write(arena, int(row.self_at), int(row.each_at), n, firsts)
    arena.check()
    return arena


def book_size(m: Manifest) -> tuple[int, int]:
    """(window width, overflow capacity) of the ladders a session needs; (0, 1) if nothing in it has depth."""
    deep = [k for k, level in enumerate(m.levels) if level == "l2"]
    if not deep:
        return 0, 1
    span = max(m.max_px[k] - m.min_px[k] + 1 for k in deep)
    # slack: an update may add its level before it removes another
    return ladder.width_for(span), max(max(m.max_levels[k]) for k in deep) + 64


def executes(m: Manifest, k: int) -> bool:
    """Whether an instrument's data can execute orders. Single orders (L3) cannot yet, nor can no market data at all. An inverse
    contract can be watched, not traded: its worth in money is not linear in its price."""
    return m.levels[k] in ("bars", "l1", "l2") and not m.instruments[k].inverse


def fill_instruments(arena: Arena, m: Manifest) -> None:
    """Write the instruments into an arena that has the region."""
    for k, (row, i) in enumerate(zip(arena.region("instruments"), m.instruments, strict=True)):
        num, den = i.tick_value() if not i.inverse else (0, 1)
        row.num, row.den = num, den
        row.value_num, row.value_den = num, 2 * den
        row.min_qty = i.min_qty
        # bounds follow from the instrument's steps alone: the session's extremes would tell of its future. A position that is ordered is
        # worth half of what can be counted at most, so that its price may double
        row.max_product = i.max_product() // 2
        row.max_px = min(row.max_product, MAX_PX)
        row.executes = executes(m, k)
        row.currency = m.currencies.index(i.currency)
        row.allow_negative = i.allow_negative_px
        row.level = LEVELS[m.levels[k]]
        row.bar_ns = max(m.bar_intervals_ns, default=0)


def fill_limits(arena: Arena, m: Manifest, account: Limits, own: Sequence[Limits]) -> None:
    """Write the limits of the account and of each strategy. Raises `BadInput` as `build`."""
    known, h, n = {i.symbol for i in m.instruments}, arena.header, len(m.instruments)
    for symbol in account.allow:
        if symbol not in known:
            raise BadInput(f"limits: allow names {symbol!r}, the session has {', '.join(sorted(known)[:8])}: correct the list")
    for v, i in zip(arena.region("views"), m.instruments, strict=True):
        v.allowed = not account.allow or i.symbol in account.allow
    # a kill must find room for its flatteners whatever the strategies have out; in a small table they keep half
    h.reserve = min(n + len(own), int(h.orders_n) // 2) if account.flatten else 0
    for limits in own:
        limits.check_of_strategy()
    for row, i in zip(arena.region("instruments"), m.instruments, strict=True):
        row.cent = _cent(i) if account.account_rules else 0
    rows = arena.region("limits")
    for r, limits in enumerate((account, *own)):
        for k, i in enumerate(m.instruments):
            rows[r * n + k] = _limits_row(limits, i)


def _cent(i: Instrument) -> int:
    """Ticks a cent of a stock with finer steps, which are for prices below one dollar (SEC rule 612); 0 for everything else."""
    ticks = Decimal("0.01") / Decimal(i.tick_size)
    return int(ticks) if i.base is None and ticks > 1 and ticks == int(ticks) else 0


@functools.lru_cache(maxsize=1024)
def _limits_row(limits: Limits, instrument: Instrument) -> tuple:
    """A row of the table; a sweep writes the same one into each of its engines."""
    values = limits.row(instrument)
    return tuple(values[name] for name in T.LIMITS.names)


def _fill_capital(arena: Arena, m: Manifest, capital: dict[str, Decimal]) -> None:
    h = arena.header
    quoted = sorted({i.currency for i in m.instruments})
    if len(quoted) > 1:
        raise BadInput(f"the session trades in {', '.join(quoted)}: an account has one currency, slice the session by symbols")
    for name in capital:
        if name != quoted[0]:
            raise BadInput(f"initial capital in {name!r}: the session trades in {quoted[0]}, give it in that")
    for row, name in zip(arena.region("currencies"), m.currencies, strict=True):
        row.rate = T.RATE_ONE
        row.cash = row.initial = int(capital.get(name, Decimal(0)) * MONEY)
        h.equity += row.cash
    h.peak = h.day_base = h.initial = h.equity
    entry_of(start_account)(arena.base)


def _fill_orders(arena: Arena) -> None:
    rows = arena.region("orders")
    rows["next"] = np.arange(1, len(rows) + 1)
    rows["next"][-1] = -1
    rows["prev"] = -1
    arena.header.free_head, arena.header.free_tail = 0, len(rows) - 1


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
