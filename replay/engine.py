"""The engine: a session, a trader and a venue put together, run, stepped, snapshotted, forked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from replay.data.session import Session
from replay.errors import BadInput, StrategyError
from replay.events import CONTROL, EVENT, OP_START
from replay.faults import feed
from replay.faults.plan import Plan
from replay.journal import Build, Journal, wire
from replay.kernel import arena as arena_module
from replay.kernel import loop
from replay.kernel.memory import entry_of, failing, link
from replay.mistakes import explained, raised
from replay.spool import Spool
from replay.trader import account, groups, intents, oms, risk, step
from replay.trader import layout as T
from replay.trader.limits import Limits
from replay.trader.output import FAULT_MONEY, FAULT_OUTPUT, FAULT_ROOM, FAULT_STRATEGY
from replay.venue import bars, fills, matching
from replay.venue import setup as venue_setup
from replay.venue.setup import Profile

#: every separately compiled part, callees first
KERNELS = (
    arena_module.hash_words,
    risk.check,
    oms.send,
    oms.open_order,
    account.advance,
    groups.cut,
    intents.check_closing,
    intents.place,
    intents.bracket,
    intents.oco,
    intents.pull,
    intents.pull_all,
    intents.change,
    intents.target,
    intents.timer,
    intents.log,
    step.kill,
    step.equity_moved,
    step.watch_halt,
    step.report_in,
    step.other_in,
    step.start_account,
    step.step,
    step.wake_hook,
    bars.open_on_orders,
    bars.path_on_orders,
    matching.on_request,
    fills.feed,
    loop.run,
)
OUTPUT_ROWS = 3 * T.OUT_MARGIN
FRAME_ROWS = 1 << 14
BLOCK = 1 << 20  # rows between two looks at progress and interrupts


class Engine:
    """One replay of one session. Build it, `run` it; or `advance` it row by row, with `snapshot`, `restore` and `fork`."""

    def __init__(
        self,
        session: Session,
        strategies: Sequence,
        profile: Profile = Profile(),
        limits: Limits = Limits(),
        capital: dict[str, Decimal] | None = None,
        *,
        strategy_limits: Sequence[Limits] | None = None,
        order_capacity: int = 1024,
        keep_output: bool | Path = True,
        warmup_until_ns: int = 0,
        faults: Plan = Plan(),
        journal: bool = False,
        compiling: Callable[[str, int, int], None] | None = None,
    ):
        if not strategies:
            raise BadInput("a run needs a strategy: name one with --strategy")
        own = list(strategy_limits) if strategy_limits else [Limits()] * len(strategies)
        compile_all(strategies, compiling)
        self.session, self.strategies, self.profile, self.limits = session, list(strategies), profile, limits
        self.faults = faults
        m = session.manifest
        self.feed = feed.arrange(session, faults, profile.feed.kind == "recorded")
        if capital is None:
            capital = {m.instruments[0].currency: Decimal(10_000)}
        self.build = Build(m, self.strategies, limits, own, capital, _power_of_two(order_capacity), warmup_until_ns > 0)
        self.trader = self.build.trader()
        self._warm_ns = warmup_until_ns
        self._warm = int(np.searchsorted(self.feed.ours.ts_recv, warmup_until_ns)) if warmup_until_ns else 0
        self.venue = venue_setup.build(
            m, profile, _power_of_two(order_capacity), windows=faults.windows(m), fault_seed=faults.seed
        )
        self.venue.header.ours = len(self.feed.ours)
        self._hits = []
        self._listens = bool(keep_output) or journal
        self.outputs = Spool(keep_output if isinstance(keep_output, Path) else None, room=OUTPUT_ROWS)
        self._frames = np.zeros(FRAME_ROWS, T.FRAME) if journal else None
        self._keeps_inputs, self._inputs = journal, []
        self._handlers = wire(self.trader, self.strategies, None, self._frames)
        self.loop = entry_of(
            loop.run
        )  #: what drives trader and venue; the fuzzer puts one that looks at every input in its place
        self.started = self.stopped = False
        self._raised: BaseException | None = None
        self._start_ns = m.start_ns - 1
        self.elapsed_s = 0.0

    # --- running ------------------------------------------------------------------------------------------------------------
    def run(self, progress: Callable[[int, int], None] | None = None) -> Engine:
        """Replay to the end and drain. `progress(rows done, rows)` about every million rows."""
        n = len(self.feed.ours)
        while not self.advance(BLOCK):
            if progress:
                progress(int(self.venue.header.local_i), n)
        if progress:
            progress(n, n)
        return self

    def advance(self, rows: int) -> bool:
        """Let `rows` more rows reach our side; True once everything is delivered, drained and the strategies stopped."""
        v = self.venue.header
        until = min(len(self.feed.ours), int(v.local_i) + rows)
        self.start()
        if self.trader.header.mode == T.WARMUP and until >= self._warm:
            self._advance(self._warm)
            self._begin()
        return self._advance(until)

    def reach(self, seq: int) -> None:
        """Advance until the trader has taken its input number `seq`, and not one more; fewer where the run has fewer.

        What its strategies did with that input has left, and nothing has come of it yet. Costs what `advance` costs.
        """
        self.start()
        h, kept = self.trader.header, self._frames
        if kept is None:  # the loop counts inputs by the frames it writes
            self._frames = np.zeros(FRAME_ROWS, T.FRAME)
            h.journal = self._frames.ctypes.data
        try:
            while h.seq < seq and not self.stopped:
                if h.mode == T.WARMUP and self.venue.header.local_i >= self._warm:
                    self._begin()
                else:
                    self._advance(self._warm if h.mode == T.WARMUP else len(self.feed.ours), seq)
        finally:
            h.journal, h.journal_cap = (0, 0) if kept is None else (h.journal, len(kept))
            self._frames = kept

    def _begin(self) -> None:
        """Warm-up is over: the trader is told like of anything else."""
        self._make_room()
        told = np.zeros(1, EVENT)
        told["kind"], told["side"], told["ts_event"], told["ts_recv"] = CONTROL, OP_START, self._warm_ns, self._warm_ns
        entry_of(step.step)(self.trader.base, told.ctypes.data, self._warm_ns)

    def _advance(self, until: int, seq: int | None = None) -> bool:
        h, end_ns = self.trader.header, self.session.manifest.end_ns
        rows, n, order = self.feed.addresses()
        self._make_room()
        t = time.perf_counter()
        while True:
            if seq is not None:
                h.journal_cap = min(len(self._frames), seq - int(h.seq) + 2)
            with failing(self._failed):
                status = self.loop(self.trader.base, self.venue.base, rows, n, order, until, end_ns)
            if self.venue.header.overrun:
                raise BadInput("the venue had more to report than it has room for: run again with fewer orders at once")
            if status == loop.DRAIN_OUTPUT:
                self._drain()
                if seq is not None and h.seq >= seq:
                    break
            elif status == loop.STOPPED and h.fault == FAULT_ROOM:
                self._more_room()
            elif status == loop.STOPPED:
                self.elapsed_s += time.perf_counter() - t
                self._drain()
                self._fault(int(h.fault))
            else:
                break
        if status == loop.DONE and not self.stopped:
            self.stopped = True
            self._hook(T.ON_STOP)
        self.elapsed_s += time.perf_counter() - t
        self._drain()
        return status == loop.DONE

    def _more_room(self) -> None:
        """A long response leg holds more reports in flight than anyone can know before; what struck is to be taken away."""
        self.trader.header.fault = 0
        if self.venue.header.n_hits:
            self._take_hits()
        else:
            venue_setup.double_reports(self.venue)

    def _take_hits(self) -> None:
        n = int(self.venue.header.n_hits)
        if n:
            rows = self.venue.region("hits")[:n]
            self._hits.append(rows.copy())
            rows[:] = np.zeros((), EVENT)
            self.venue.header.n_hits = 0

    def faults_struck(self) -> np.recarray:
        """Every fault so far, in order of time: `kind` and `id` (index in the plan) of the fault, `ts_event` at which it struck, `flags`
        the request or execution type, `a` the order (0: none), `b` rows of the feed."""
        known = self.feed.hits[self.feed.hits["ts_event"] <= int(self.trader.header.now)]
        rows = np.concatenate([known, *self._hits])
        return rows[np.argsort(rows["ts_event"], kind="stable")].view(np.recarray)

    def start(self) -> None:
        """Run `on_start`, as `advance` does where nobody has."""
        if not self.started:
            self.started = True
            h = self.trader.header
            h.now = self._start_ns
            self._hook(T.ON_START)

    def _hook(self, hook: int) -> None:
        self._make_room()
        with failing(self._failed):
            fault = entry_of(step.wake_hook)(self.trader.base, hook)
        fault = fault or int(self.trader.header.fault)
        self._drain()
        if fault:
            self._fault(int(self.trader.header.fault))

    def _failed(self, e: BaseException) -> None:
        """A plain strategy raised: the kernel stops before the next event."""
        self._raised = e
        h = self.trader.header
        h.fault, h.attend = FAULT_STRATEGY, 1

    def _make_room(self) -> None:
        """Where the trader's records go next."""
        if self._listens:
            h, room = self.trader.header, self.outputs.room()
            h.out, h.out_cap = room.ctypes.data, len(room)

    def _drain(self) -> None:
        h = self.trader.header
        self._take_hits()
        if h.out_n:
            self.outputs.take(int(h.out_n))
            h.out_n = 0
            self._make_room()
        if h.journal_n:
            if self._keeps_inputs:
                self._inputs.append(self._frames[: int(h.journal_n)].copy())
            h.journal_n = 0

    def journal(self) -> Journal:
        """Everything the trader took in and said so far; the engine must have been built with ``journal=True``."""
        if not self._keeps_inputs:
            raise BadInput("this run kept no journal: build the engine with journal=True")
        frames = np.concatenate(self._inputs) if self._inputs else self._frames[:0]
        h = self.trader.header
        return Journal(
            self.build, self._start_ns, frames, np.asarray(self.output()), int(h.digest), self.trader.digest(), self.stopped
        )

    def _fault(self, fault: int) -> None:
        h = self.trader.header
        if fault == FAULT_STRATEGY:
            raise self._strategy_error(int(h.strategy), T.HOOKS[int(h.hook)])
        if fault == FAULT_OUTPUT:
            raise BadInput(f"a callback wrote more than {T.OUT_MARGIN} records in one event: log or order less in one call")
        if fault == FAULT_MONEY:
            raise BadInput(self._uncounted())
        raise AssertionError(f"unknown fault {fault}")

    def _uncounted(self) -> str:
        h, i = self.trader.header, self.session.instruments[int(self.trader.header.uncounted)]
        return (
            f"at {np.datetime64(int(h.now), 'ns')}Z an amount of {i.symbol} passed 2**62 / 10**8 = 46,116,860,184 {i.currency}, the most that is "
            f"counted: trade less of it, or give its prices in a larger unit of currency"
        )

    def _strategy_error(self, k: int, hook: str) -> StrategyError:
        strategy, h = self.strategies[k], self.trader.header
        cause = self._raised or strategy.exception(k, hook, self.trader)
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        when = np.datetime64(int(h.now), "ns")
        what = raised(cause, strategy) if cause else "raised, and not again: run with NUMBA_DISABLE_JIT=1 to see where"
        error = StrategyError(f"strategy {strategy.name}: {hook} at event {int(h.seq):,} ({when}Z): {what}")
        error.__cause__ = cause
        return error

    # --- state --------------------------------------------------------------------------------------------------------------
    def snapshot(self) -> tuple:
        """The whole state: trader, venue, and the annotated state of plain strategies."""
        plain = [s.save() if s.kind == "plain" else None for s in self.strategies]
        return self.trader.snapshot(), self.venue.snapshot(), plain, self.started, self.stopped

    def restore(self, state: tuple) -> None:
        """Go back (or forward) to a snapshot of this session with these strategies. Outputs already drained stay."""
        trader, venue, plain, self.started, self.stopped = state
        self.trader.restore(trader)
        self.venue.restore(venue)
        for strategy, own in zip(self.strategies, plain, strict=True):
            if own is not None:
                strategy.load(own)

    @property
    def digest(self) -> str:
        """The decision digest, 16 hex digits."""
        return f"{int(self.trader.header.digest) & (1 << 64) - 1:016x}"

    @property
    def state_digest(self) -> str:
        """A hash of the whole state of trader and venue."""
        mask = (1 << 64) - 1
        return f"{self.trader.digest() & mask:016x}{self.venue.digest() & mask:016x}"

    def output(self) -> np.recarray:
        """Everything the trader said so far, in order (`replay.trader.output`)."""
        return self.outputs.rows()


def compile_all(strategies: Sequence, compiling: Callable[[str, int, int], None] | None = None) -> None:
    """Compile or load every kernel and the strategies' handlers. Raises `BadInput` for a strategy that cannot be compiled."""
    own_entries = [e for s in strategies for e in s.entries()]
    try:
        features = (step.features_in,) if any(s.features for s in strategies) else ()
        link(*features, *KERNELS, *own_entries, progress=compiling)
    except Exception as e:
        raise explained(e, strategies) from e


def _power_of_two(n: int) -> int:
    if not 16 <= n <= 1 << T.SLOT_BITS:
        raise BadInput(f"order capacity: 16 to {1 << T.SLOT_BITS} expected, got {n}")
    return 1 << (n - 1).bit_length()
