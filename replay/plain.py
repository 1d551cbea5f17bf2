"""Plain Python strategies: ordinary objects the kernel wakes through a C callback, only for what they handle.

An event is handed over as a copy of its 64 bytes, in an object that is used again for the next one
unless the strategy has kept it: a kept event stays what it was. Views and orders are read-only
structures over the trader's own memory, which always show how it stands now. About 250 ns for a wake
and 35 ns for a field.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from replay import events as E
from replay.kernel.arena import Arena
from replay.kernel.memory import callback, entry_of, record, structure
from replay.mistakes import no_such
from replay.strategy import fields_of, lengths
from replay.trader import intents
from replay.trader import layout as T
from replay.trader.orders import ACCEPTED, FREE, PARTIAL, TERMINAL
from replay.trader.specs import Spec

_STRUCTS = {
    "on_quote": structure(E.QUOTE_DT),
    "on_trade": structure(E.TRADE_DT),
    "on_book": structure(E.DEPTH_DT),
    "on_bar": structure(E.BAR_DT),
    "on_data": structure(E.CUSTOM_DT),
    "on_order": structure(E.REPORT_DT),
    "on_timer": structure(E.TIMER_DT),
}


def _read_only(kind: type[ctypes.Structure]) -> type[ctypes.Structure]:
    """The same structure, whose fields a strategy can read and not write: it is the trader's memory."""

    def refuse(self, name, value):
        raise AttributeError(f"{name} is the trader's and is read only: ask for what you want with ctx")

    return type(kind.__name__, (kind,), {"__setattr__": refuse, "__delattr__": refuse, "__slots__": ()})


_HEADER, _VIEW, _POSITION, _ORDER = (_read_only(structure(t)) for t in (T.HEADER, T.VIEW, T.POSITION, T.ORDER))
_NAN = float("nan")


class Context:
    """``ctx`` of a plain strategy: the functions of `replay.trader.context`, with the same names, units and answers."""

    def __init__(self, arena: Arena, strategy: int, features: dict[str, int]):
        h, base = arena.header, arena.base
        n = int(h.n_instruments)
        self._base, self._header = base, _HEADER.from_address(base)
        self._views = [_VIEW.from_address(base + int(h.views_at) + k * T.VIEW.itemsize) for k in range(n)]
        first = base + int(h.positions_at)
        size = T.POSITION.itemsize
        self._account = [_POSITION.from_address(first + k * size) for k in range(n)]
        self._positions = [_POSITION.from_address(first + ((1 + strategy) * n + k) * size) for k in range(n)]
        self._orders = base + int(h.orders_at)
        self._n_orders = int(h.orders_n)
        self.n_instruments = n
        rows, index = arena.region("features").view(), arena.region("feature_index")
        rows.flags.writeable = False
        for name, at in features.items():
            setattr(self, name, _Reader(rows, [int(i) for i in index[at : at + n]]))
        self._place = entry_of(intents.place)

    def __getattr__(self, name: str):
        raise AttributeError(no_such(name, [n for n, x in vars(self).items() if isinstance(x, _Reader)]))

    @property
    def now(self) -> int:
        return self._header.now

    @property
    def equity(self) -> int:
        return self._header.equity

    def _within(self, instrument: int) -> int:
        if not 0 <= instrument < self.n_instruments:  # a list would take -1 for its last
            raise IndexError(f"no such instrument: {instrument}, the session has 0 to {self.n_instruments - 1}")
        return instrument

    def book(self, instrument: int):
        return self._views[self._within(instrument)]

    def mark(self, instrument: int) -> float:
        v = self._views[self._within(instrument)]
        return 0.5 * v.mark2 if v.marked else _NAN

    def position(self, instrument: int) -> int:
        return self._positions[self._within(instrument)].qty

    def account_position(self, instrument: int) -> int:
        return self._account[self._within(instrument)].qty

    def _order(self, handle: int):
        slot = handle & T.SLOT_MASK
        if handle <= 0 or slot >= self._n_orders:
            return None
        o = _ORDER.from_address(self._orders + slot * T.ORDER.itemsize)
        return o if o.handle == handle else None

    def state(self, handle: int) -> int:
        o = self._order(handle)
        return o.state if o else FREE

    def is_done(self, handle: int) -> bool:
        o = self._order(handle)
        return o is None or bool(TERMINAL[o.state])

    def is_settled(self, handle: int) -> bool:
        o = self._order(handle)
        return o is not None and o.state in (ACCEPTED, PARTIAL) and o.request == T.NO_REQUEST

    def order_px(self, handle: int) -> int:
        o = self._order(handle)
        return o.px if o else 0

    def cum_qty(self, handle: int) -> int:
        o = self._order(handle)
        return o.cum if o else 0

    def leaves_qty(self, handle: int) -> int:
        o = self._order(handle)
        return 0 if o is None or TERMINAL[o.state] else o.qty - o.cum

    def market(self, instrument: int, signed: int, tif: int = T.DAY, flags: int = 0) -> int:
        return self._place(self._base, instrument, signed, 0, 0, T.MARKET | tif << 4 | flags << 8, 0)

    def limit(self, instrument: int, signed: int, px: int, tif: int = T.DAY, flags: int = 0) -> int:
        return self._place(self._base, instrument, signed, px, 0, T.LIMIT | tif << 4 | flags << 8, 0)

    def stop(self, instrument: int, signed: int, stop_px: int, tif: int = T.DAY, flags: int = 0) -> int:
        return self._place(self._base, instrument, signed, 0, stop_px, T.STOP | tif << 4 | flags << 8, 0)

    def stop_limit(self, instrument: int, signed: int, stop_px: int, px: int, tif: int = T.DAY, flags: int = 0) -> int:
        return self._place(self._base, instrument, signed, px, stop_px, T.STOP_LIMIT | tif << 4 | flags << 8, 0)

    def bracket(self, instrument: int, signed: int, px: int, take_px: int, stop_px: int, tif: int = T.DAY, flags: int = 0) -> int:
        return entry_of(intents.bracket)(self._base, instrument, signed, px, take_px, stop_px, tif << 4 | flags << 8)

    def oco(self, instrument: int, signed: int, take_px: int, stop_px: int, tif: int = T.DAY) -> int:
        return entry_of(intents.oco)(self._base, instrument, signed, take_px, stop_px, tif << 4)

    def cancel(self, handle: int) -> int:
        return entry_of(intents.pull)(self._base, handle)

    def cancel_all(self, instrument: int = -1) -> int:
        return entry_of(intents.pull_all)(self._base, instrument)

    def replace(self, handle: int, qty: int, px: int) -> int:
        return entry_of(intents.change)(self._base, handle, qty, px)

    def target(self, instrument: int, lots: int) -> int:
        return entry_of(intents.target)(self._base, instrument, lots)

    def timer(self, ts: int, timer_id: int = 0) -> int:
        return entry_of(intents.timer)(self._base, ts, timer_id)

    def log(self, code: int, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> int:
        f = [int(np.float64(x).view(np.int64)) for x in (a, b, c)]
        return entry_of(intents.log)(self._base, code, *f)


class _Reader:
    """A feature: called with an instrument, gives its value or NaN."""

    def __init__(self, rows: np.ndarray, index: list[int]):
        self.rows, self.index = rows, index

    def __call__(self, instrument: int) -> float:
        if instrument < 0:  # a list would take -1 for its last
            raise IndexError(f"no such instrument: {instrument}")
        row = self.rows[self.index[instrument]]
        return float(row.value) if row.ready else _NAN


class PlainStrategy:
    """A plain strategy object with its parameters: ready to be laid out in a trader."""

    kind = "plain"
    self_dtype = each_dtype = record(("pad_", "i8"))

    def __init__(self, cls: type, instance: object, values: dict[str, object], features: dict[str, Spec]):
        self.cls, self.name, self.values, self.features = cls, cls.__name__, values, features
        self.fields, self.instance = fields_of(cls), instance
        self.lengths = lengths(cls, self.fields, values)
        self.hooks = [h for h in T.HOOKS if hasattr(cls, h)]
        self._keep: list[object] = []

    def entries(self) -> list:
        """Nothing to link."""
        return []

    def write(self, arena: Arena, self_at: int, each_at: int, n: int, features: dict[str, int]) -> None:
        """Its state lives in the object: initial values, one list an `Each` field, one NumPy array an `Array`."""
        self._arena, self._first_features = arena, features
        self.reset(n)

    def reset(self, n: int) -> None:
        """The state as at the start of a run."""
        for name, (_, default) in self.fields.state.items():
            setattr(self.instance, name, default)
        for name, (_, default) in self.fields.each.items():
            setattr(self.instance, name, [default] * n)
        for name, length in self.lengths.items():
            setattr(self.instance, name, np.zeros((n, length), self.fields.arrays[name][0]))

    def exception(self, number: int, hook: str, trader: Arena) -> BaseException | None:
        """Nothing: what a plain handler raises reaches the engine as it is."""
        return None

    def take_parameters(self, of: PlainStrategy, trader: Arena, number: int) -> None:
        """Go on with the parameters of another one of this class."""
        self.values = of.values
        for name in of.values:
            setattr(self.instance, name, getattr(of.instance, name))

    def save(self) -> dict[str, object]:
        """The annotated state, for a snapshot."""
        out = {name: getattr(self.instance, name) for name in self.fields.state}
        out |= {name: list(getattr(self.instance, name)) for name in self.fields.each}
        return out | {name: getattr(self.instance, name).copy() for name in self.fields.arrays}

    def load(self, state: dict[str, object]) -> None:
        """Take back what `save` gave."""
        for name, value in state.items():
            setattr(self.instance, name, value.copy() if isinstance(value, list | np.ndarray) else value)

    def handlers(self, number: int) -> dict[str, int]:
        """Hook name -> address of a callback that wakes the object ; see `memory.callback` for what it raises."""
        ctx = Context(self._arena, number, self._first_features)
        current = self._arena.base + int(self._arena.header.current_at)
        out = {}
        for hook in self.hooks:
            method = getattr(self.instance, hook)
            if hook in _STRUCTS:
                address, keep = callback(_handing_over(_STRUCTS[hook], current, partial(method, ctx)))
            else:
                address, keep = callback(partial(method, ctx))
            self._keep.append(keep)
            out[hook] = address
        return out


def _handing_over(kind: type[ctypes.Structure], current: int, handle: Callable[[object], None]) -> Callable[[], None]:
    """Call `handle` with the event at address `current`: a copy, in an object that is the strategy's own once it has kept it."""
    source = memoryview((ctypes.c_uint8 * 64).from_address(current)).cast("B")
    room = bytearray(64)
    event, target = kind.from_buffer(room), memoryview(room)
    held_by_us = sys.getrefcount(event)

    def wake() -> None:
        nonlocal event, target
        target[:] = source
        handle(event)
        if sys.getrefcount(event) > held_by_us:
            own = bytearray(64)
            event, target = kind.from_buffer(own), memoryview(own)

    return wake
