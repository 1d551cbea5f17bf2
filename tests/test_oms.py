"""The OMS under reports of every kind in every order, against a naive twin and the invariants, after every event."""

import os
from decimal import Decimal

import pytest
from drive import CENT, SECOND, T0, Trader
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twins import Oms

from replay import events as ev
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader.limits import Limits
from replay.trader.output import OUT_REPLACE
from replay.trader.reasons import REASON_NAMES

HEAVY = int(os.environ.get("REPLAY_TEST_EXAMPLES", "150"))  #: REPLAY_TEST_EXAMPLES=10000 for a release
CALM = settings(deadline=None, max_examples=HEAVY, suppress_health_check=list(HealthCheck))
KINDS = [*O.EXEC_NAMES, "nonsense"]
COMMANDS = {T.CMD_NEW: "new", T.CMD_CANCEL: "cancel", T.CMD_REPLACE: "replace"}
MAX_POSITION = 30

qty, px, which = st.integers(1, 12), st.integers(96, 106), st.integers(0, 5)
LIMIT = st.tuples(st.just("limit"), st.sampled_from([-1, 1]), qty, px)
OPS = st.one_of(
    LIMIT,
    LIMIT,
    LIMIT,
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("replace"), which, qty, px),
    st.tuples(st.just("replace"), which, qty, px),
    st.tuples(st.just("report"), which, st.sampled_from(KINDS), st.integers(-1, 12), px, st.integers(0, 12), st.integers(1, 5)),
    st.tuples(st.just("report"), which, st.sampled_from(KINDS), st.integers(1, 12), px, st.integers(0, 12), st.integers(1, 5)),
    st.tuples(st.just("trade"), which, st.integers(1, 5), px, st.integers(1, 5)),
    st.tuples(st.just("trade"), which, st.integers(1, 5), px, st.integers(6, 20)),
    st.tuples(st.just("answer"), which),
    st.tuples(st.just("answer"), which),
    st.sampled_from([("foreign",), ("kill",), ("resume",), ("resume",), ("resume",), ("quote",)]),
)


class Pair:
    """The trader and its twin, brought through the same operations."""

    def __init__(self):
        self.t = Trader(1, Limits(max_position=Decimal(MAX_POSITION)), tombstone=1 << 60, capacity=128)
        self.twin = Oms()
        self.handles = []
        self.clean = True  # nothing has moved the position behind the limits' back

    def run(self, ops):
        self.t.quote()
        for k, op in enumerate(ops):
            self.t.at(k)
            self.t.sent.clear()
            want = getattr(self, "do_" + op[0])(*op[1:])
            got = [(COMMANDS[c.kind], c.handle, *((c.qty, c.px) if c.kind != T.CMD_CANCEL else ())) for c in self.t.sent]
            assert got == want, op
            self.check(op)
        return self

    def pick(self, k):
        return self.handles[k % len(self.handles)] if self.handles else 5 << T.SLOT_BITS

    def do_limit(self, side, qty, px):
        handle = self.t.limit(side * qty, px)
        if self.twin.mode == "killed":
            assert handle == -REASON_NAMES.index("killed")
        if handle < 0:
            return []
        self.handles.append(handle)
        return self.twin.new(handle, side, qty, px)

    def do_cancel(self, k):
        o, answer = self.twin.orders.get(self.pick(k)), self.t.cancel(self.pick(k))
        assert (answer == 0) == (o is not None and not o.done)
        return self.twin.cancel(o) if answer == 0 else []

    def do_replace(self, k, qty, px):
        o, answer = self.twin.orders.get(self.pick(k)), self.t.replace(self.pick(k), qty, px)
        if answer == 0:
            assert not o.done and ("cancel",) not in (o.request, o.waiting) and self.twin.mode != "killed"
            return self.twin.replace(o, qty, px)
        return []

    def do_report(self, k, kind, qty, px, told, exec_id):
        handle = self.pick(k)
        o = self.twin.orders.get(handle)
        before = (o.cum, o.done) if o else None
        self.t.report(handle, KINDS.index(kind) if kind != "nonsense" else 200, qty, px, told, exec_id)
        out = self.twin.report(handle, kind, qty, px, told, exec_id)
        if o and o.cum != before[0] and (before[1] or kind in ("bust", "correct")):
            self.clean = False
        return out

    def do_trade(self, k, qty, px, exec_id):
        return self.do_report(k, "trade", qty, px, 0, exec_id)

    def do_answer(self, k):
        """What the order asked for is granted."""
        o = self.twin.orders.get(self.pick(k))
        if o is None or o.request is None:
            return self.do_report(k, "new", 0, 0, 0, 9)
        if o.request[0] == "cancel":
            return self.do_report(k, "canceled", 0, 0, o.cum + 1, 9)
        return self.do_report(k, "replaced", o.request[1], o.request[2], 0, 9)

    def do_foreign(self):
        self.t.report(99 << T.SLOT_BITS | 3, O.EXEC_NEW)
        return self.twin.illegal()

    def do_kill(self):
        self.t.control(ev.OP_KILL)
        return self.twin.kill()

    def do_resume(self):
        self.t.control(ev.OP_RESUME)
        self.twin.mode = "active"
        return []

    def do_quote(self):
        self.t.quote()
        return []

    def check(self, op):
        t, twin = self.t, self.twin
        t.check()
        assert t.status[0] == twin.mode
        for handle, want in twin.orders.items():
            o = t.order(handle)
            assert (O.STATE_NAMES[int(o.state)], int(o.cum)) == (want.state, want.cum), op
            assert (int(o.qty), int(o.px), int(o.exposed)) == (want.qty, want.px, want.exposed), op
            for name in ("request", "waiting"):
                said = getattr(want, name)
                assert int(o[name]) == {None: 0, "cancel": 1, "replace": 2}[said and said[0]], op
            assert int(o.cum) <= int(o.qty) or want.done or want.request  # I2
        assert int(t.position().qty) == twin.position
        assert int(t.fields["currencies"][0].cash) - int(t.fields["currencies"][0].initial) == twin.cash * CENT
        assert (int(t.view().buying), int(t.view().selling)) == (twin.exposed(1), twin.exposed(-1))
        if self.clean:  # I3
            assert twin.position - twin.exposed(-1) >= -MAX_POSITION and twin.position + twin.exposed(1) <= MAX_POSITION
        if twin.mode == "killed" and op[0] != "kill":  # I4
            assert all(c.kind == T.CMD_CANCEL for c in t.sent)


#: ways into every state an order can be in, with and without fills, requests and wishes
PATHS = {
    "submitted": [],
    "accepted": ["new"],
    "partial": [("trade", 0, 4, 100, 1)],
    "unknown": ["unknown"],
    "unknown, partly filled": [("trade", 0, 4, 100, 1), "unknown"],
    "filled": [("trade", 0, 10, 100, 1)],
    "canceled": ["canceled"],
    "canceled, fills to come": [("report", 0, "canceled", 0, 0, 6, 9)],
    "rejected": ["rejected"],
    "expired": ["expired"],
    "gone": ["gone"],
    "canceling": [("cancel", 0)],
    "replacing up": [("replace", 0, 12, 100)],
    "replacing up, old one filled": [("replace", 0, 12, 100), ("trade", 0, 10, 100, 1)],
    "replacing down": [("replace", 0, 6, 100)],
    "replacing down, filled beyond": [("replace", 0, 6, 100), ("trade", 0, 8, 100, 1)],
    "replacing, replace waits": [("replace", 0, 12, 100), ("replace", 0, 11, 99)],
    "replacing, cancel waits": [("replace", 0, 12, 100), ("cancel", 0)],
    "replacing, a wish overtaken": [("replace", 0, 12, 100), ("replace", 0, 3, 99), ("trade", 0, 5, 100, 1)],
    "replacing when killed": [("replace", 0, 12, 100), ("replace", 0, 11, 99), ("kill",)],
    "replacing when halted": [("replace", 0, 12, 100), ("replace", 0, 14, 99), ("foreign",)],
    "busted": [("trade", 0, 4, 100, 1), ("report", 0, "bust", 0, 0, 0, 1)],
    "corrected": [("trade", 0, 4, 100, 1), ("report", 0, "correct", 6, 101, 0, 1)],
}


def path(name):
    return [op if isinstance(op, tuple) else ("report", 0, op, 0, 0, 0, 9) for op in PATHS[name]]


@pytest.mark.parametrize("name", PATHS)
def test_every_report_in_every_state(name):
    for kind in KINDS:
        for quantity, price, told, exec_id in (
            (0, 0, 0, 1),
            (4, 100, 4, 1),
            (6, 100, 10, 2),
            (12, 100, 12, 2),
            (6, 100, 0, 2),
            (-1, 100, 0, 1),
        ):
            last = ("report", 0, kind, quantity, price, told, exec_id)
            Pair().run([("limit", 1, 10, 100), *path(name), last, last, ("answer", 0), ("kill",), ("answer", 0)])


@CALM
@given(st.lists(OPS, max_size=40).map(lambda ops: [("limit", 1, 10, 100), *ops]))
@example(
    [("limit", 1, 10, 100), ("replace", 0, 12, 100), ("trade", 0, 10, 100, 1), ("report", 0, "replace_rejected", 0, 0, 0, 0)]
)
@example([("limit", 1, 10, 100), ("trade", 0, 3, 100, 1), ("report", 0, "correct", 10, 100, 0, 1)])
@example([("limit", 1, 10, 100), ("trade", 0, 3, 100, 1), ("report", 0, "correct", 11, 100, 0, 1)])
@example([("limit", 1, 10, 100), ("trade", 0, 3, 100, 1), ("report", 0, "bust", 0, 0, 0, 1), ("report", 0, "bust", 0, 0, 0, 1)])
@example([("limit", 1, 10, 100), ("report", 0, "canceled", 0, 0, 6, 1), ("trade", 0, 4, 100, 1), ("trade", 0, 2, 100, 2)])
@example([("limit", 1, 10, 100), ("replace", 0, 12, 99), ("replace", 0, 11, 98), ("cancel", 0), ("answer", 0), ("answer", 0)])
def test_any_reports_in_any_order(ops):
    a = Pair().run(ops)
    b = Pair().run(ops)
    assert int(a.t.h.digest) == int(b.t.h.digest) and a.t.arena.digest() == b.t.arena.digest()  # I6


def test_one_unknown_report_is_told_to_the_output():
    t = Trader()
    t.quote()
    h = t.limit(5, 100)
    t.report(h, O.EXEC_UNKNOWN)
    assert t.state(h) == "UNKNOWN" and int(t.view().buying) == 5  # counts until the venue answers
    assert [int(r.d) for r in t.outputs(36)] == [O.UNKNOWN << 1 | 1]
    t.report(h, O.EXEC_GONE)
    assert t.state(h) == "CANCELED" and int(t.view().buying) == 0


def test_output_and_orders_name_their_strategy():
    t = Trader(strategies=3)
    t.quote()
    handles = [t.limit(5, 100, strategy=k) for k in range(3)]
    t.fill(handles[1], 2, 100)
    assert t.outputs(36).ts_event.tolist() == [1]
    t.control(ev.OP_KILL)
    assert t.outputs(33).ts_event.tolist() == [0, 1, 2]
    assert t.cancel_all(strategy=2) == 0
    assert [int(t.position(0, k).qty) for k in range(3)] == [0, 2, 0]


def test_cancel_all_of_a_strategy_or_instrument():
    t = Trader(2, strategies=2)
    t.quote()
    t.quote(instrument=1)
    a, b, c = t.limit(1, 100), t.limit(1, 100, instrument=1), t.limit(1, 100, strategy=1)
    t.sent.clear()
    assert t.cancel_all(instrument=1) == 1 and [x.handle for x in t.sent] == [b]
    assert t.cancel_all() == 1 and [x.handle for x in t.sent] == [b, a]
    assert t.cancel_all(strategy=1) == 1 and t.sent[-1].handle == c
    t.check()


def test_slots_are_reused_oldest_first_and_never_while_a_fill_is_missing():
    t = Trader(capacity=16, tombstone=SECOND)
    t.quote()
    first = t.limit(5, 100)
    t.report(first, O.EXEC_CANCELED, cum=3)  # three lots have traded that we have not heard of
    for k in range(60):
        h = t.at(2 * k + 2).limit(1, 100)
        assert h > 0
        t.report(h, O.EXEC_CANCELED)
        t.check()
    assert int(t.view().buying) == 3 and t.state(first) == "CANCELED"
    t.fill(first, 3, 100)
    assert int(t.view().buying) == 0 and int(t.position().qty) == 3
    handles = []
    for _ in range(16):
        handles.append(t.at(200).limit(1, 100))
    assert min(handles) > 0 and t.limit(1, 100) < 0 and t.order(first) is None
    t.check()


def test_a_slot_that_was_never_used_has_no_tombstone():
    t = Trader(capacity=16, tombstone=1 << 61)  # longer than it is since 1970
    t.quote()
    assert min(t.limit(1, 100) for _ in range(16)) > 0 and t.limit(1, 100) == -REASON_NAMES.index("capacity")
    t.check()


def test_a_table_of_orders_that_all_wait_is_full():
    t = Trader(capacity=16)
    t.quote()
    handles = [t.limit(5, 100) for _ in range(16)]
    for h in handles:
        t.report(h, O.EXEC_CANCELED, cum=1)
    assert t.at(100).limit(1, 100) == -REASON_NAMES.index("capacity")
    t.check()


def test_a_fill_forgotten_by_the_ring_cannot_be_busted():
    t = Trader(capacity=16)  # 1024 fills are remembered
    t.quote()
    old = t.limit(2000, 100)
    t.fill(old, 1, 100, exec_id=100_000)
    for _ in range(1023):
        t.fill(old, 1, 100)
    assert t.report(old, O.EXEC_BUST, exec_id=100_000) == [] and int(t.h.c_busts) == 1
    t.fill(old, 1, 100)  # takes its place
    t.report(old, O.EXEC_BUST, exec_id=100_000)
    assert int(t.h.c_busts) == 1 and t.status == ("halted", "illegal_report")
    t.check()


def test_replaces_find_the_outbox_full():
    t = Trader(capacity=16)
    t.quote()
    h = t.limit(1, 100)
    t.h.cmd_n = 16
    from replay.kernel.memory import entry_of
    from replay.trader import intents

    assert entry_of(intents.change)(t.base, h, 2, 100) == -REASON_NAMES.index("capacity")
    assert entry_of(intents.place)(t.base, 0, 1, 100, 0, T.LIMIT, 0) == -REASON_NAMES.index("capacity")
    assert entry_of(intents.pull)(t.base, h) == 0  # a cancel always fits
    t.h.cmd_n = 0
    t.check()


def test_timers_fire_in_order_and_once():
    from replay.kernel.memory import entry_of
    from replay.trader import intents

    t = Trader(strategies=2)
    times = [5, 3, 9, 3, 7, 1, 3, 8, 2, 6, 4, 0, 3]
    for k, s in enumerate(times):
        assert t._ask(intents.timer, T0 + s * SECOND, k, strategy=k % 2) == 0
    due = sorted(range(len(times)), key=lambda k: (times[k], k))
    t.h.now = T0
    for k in due:
        top = t.arena.region("timers")[0]
        assert (int(top.timer_id), int(top.strategy)) == (k, k % 2)
        assert int(top.ts) >= T0 and (times[k] == 0 or int(top.ts) == T0 + times[k] * SECOND)
        t.step(ev.TIMER, ident=k, a=k % 2)
    assert int(t.h.n_timers) == 0
    t.step(ev.TIMER, ident=1)  # one that nobody asked for here wakes, and takes nothing away
    t._ask(intents.timer, T0 + 5, 1)
    t.step(ev.TIMER, ident=2)
    assert int(t.h.n_timers) == 1
    for k in range(len(t.arena.region("timers")) - 2):  # one is the engine's own
        assert t._ask(intents.timer, T0 + 5, k) == 0
    assert t._ask(intents.timer, T0 + 5, 0) == -REASON_NAMES.index("timers")
    assert entry_of(intents.log)(t.base, 1, 2, 3, 4) == 0


def test_a_replace_moves_the_price_the_order_has():
    t = Trader()
    t.quote()
    stop, both = t.stop(-10, 95), t.place(-10, T.STOP_LIMIT, 90, 95)
    t.sent.clear()
    assert t.replace(stop, 12, 97) == 0 and t.replace(both, 8, 91) == 0 and t.replace(stop, 12, 98) == 0
    assert [(c.kind, c.qty, c.px, c.stop_px) for c in t.sent] == [(T.CMD_REPLACE, 12, 0, 97), (T.CMD_REPLACE, 8, 91, 95)]
    assert t.replace(stop, 12, 0) == -REASON_NAMES.index("bad_price")
    (moved,) = t.report(stop, O.EXEC_REPLACED, 12, 0)
    assert (moved.px, moved.stop_px) == (0, 98)
    (row,) = t.outputs(OUT_REPLACE)
    assert (int(row.b), int(row.c), int(row.d)) == (12, 0, 98)
    assert (int(t.order(stop).px), int(t.order(stop).stop_px)) == (0, 97)  # the first is answered, the second under way
    t.report(stop, O.EXEC_REPLACE_REJECTED)
    assert int(t.order(stop).stop_px) == 97
    t.report(both, O.EXEC_REPLACED, 8, 91)
    assert (int(t.order(both).px), int(t.order(both).stop_px)) == (91, 95)
    assert t.cancel(stop) == 0 and (t.sent[-1].px, t.sent[-1].stop_px) == (0, 97)
    t.check()


@pytest.mark.parametrize("ask", ["cancel", "replace"])
def test_a_slot_waits_for_the_answer_to_a_request(ask):
    t = Trader(capacity=16)
    t.quote()
    first = t.limit(5, 100)
    assert (t.cancel(first) if ask == "cancel" else t.replace(first, 6, 100)) == 0
    t.fill(first, 5, 100)
    t.report(first, O.EXEC_EXPIRED, cum=5)
    for _ in range(40):
        t.report(t.limit(1, 100), O.EXEC_CANCELED)
        t.check()
    assert t.order(first) is not None
    t.report(first, O.EXEC_CANCEL_REJECTED if ask == "cancel" else O.EXEC_REPLACE_REJECTED)
    assert t.status[0] == "active" and int(t.h.c_too_late) == 1
    for _ in range(16):
        t.report(t.limit(1, 100), O.EXEC_CANCELED)
    assert t.order(first) is None
    t.check()


def test_a_table_whose_requests_are_unanswered_is_full():
    t = Trader(capacity=16)
    t.quote()
    handles = [t.limit(5, 100) for _ in range(16)]
    for h in handles:
        t.cancel(h)
        t.report(h, O.EXEC_EXPIRED)
    assert t.limit(1, 100) == -REASON_NAMES.index("capacity")
    t.report(handles[3], O.EXEC_GONE)
    assert t.limit(1, 100) > 0 and t.order(handles[3]) is None
    t.check()


@pytest.mark.parametrize("granted", ["before the fill", "behind it", "never"])
def test_an_announced_fill_may_use_the_larger_quantity(granted):
    t = Trader()
    t.quote()
    h = t.limit(10, 100)
    t.replace(h, 20, 100)
    t.report(h, O.EXEC_CANCELED, cum=15)  # overtook the grant and the fill
    assert int(t.view().buying) == 15
    if granted == "before the fill":
        t.report(h, O.EXEC_REPLACED, 20, 100)
        assert int(t.order(h).qty) == 20
    t.fill(h, 15, 100)
    if granted == "behind it":
        t.report(h, O.EXEC_REPLACED, 20, 100)
    assert t.status[0] == "active" and int(t.position().qty) == 15 and int(t.view().buying) == 0
    t.check()


def recycled():
    """An order of ours whose slot another has taken."""
    t = Trader(capacity=16)
    t.quote()
    old = t.limit(1, 100)
    t.fill(old, 1, 100, exec_id=500)
    for k in range(16):
        t.at(k)
        t.report(t.limit(1, 90 + k % 2), O.EXEC_REJECTED)
    assert t.order(old) is None
    return t, old


@pytest.mark.parametrize("kind", [O.EXEC_CANCEL_REJECTED, O.EXEC_REPLACE_REJECTED, O.EXEC_CANCELED, O.EXEC_NEW, O.EXEC_GONE])
def test_a_late_word_of_an_order_whose_slot_is_taken_is_no_news(kind):
    t, old = recycled()
    assert t.report(old, kind) == [] and t.status[0] == "active" and int(t.h.c_late) == 1
    t.check()


def test_a_late_fill_of_an_order_whose_slot_is_taken_is_known_or_halts():
    t, old = recycled()
    t.fill(old, 1, 100, exec_id=500)
    assert t.status[0] == "active" and int(t.position().qty) == 1
    t.fill(old, 1, 100, exec_id=501)
    assert t.status == ("halted", "unknown_order") and int(t.position().qty) == 1
    t, old = recycled()
    t.report(old + (1 << 40), O.EXEC_CANCELED)  # never sent
    assert t.status == ("halted", "unknown_order")
    t, old = recycled()
    t.report(old & T.SLOT_MASK, O.EXEC_CANCELED)  # no order ever had this handle
    assert t.status == ("halted", "unknown_order") and int(t.h.c_unknown) == 1 and int(t.h.c_late) == 0
    t, old = recycled()
    t.report(old, O.N_EXECS)  # a status nobody knows
    assert t.status == ("halted", "unknown_order")


def test_the_newest_order_may_be_the_forgotten_one():
    t = Trader(capacity=16)
    t.quote()
    newest = t.limit(1, 100)
    t.arena.region("orders")[newest & T.SLOT_MASK].handle = 0
    t.report(newest, O.EXEC_CANCELED)
    assert t.status[0] == "active" and int(t.h.c_late) == 1


def test_what_is_odd_is_counted_once():
    def counts(t):
        return {name: int(t.h[name]) for name in ("c_illegal", "c_unknown", "c_duplicate", "c_late", "c_too_late", "c_busts")}

    t = Trader()
    t.quote()
    none = dict.fromkeys(counts(t), 0)
    h = t.limit(5, 100)
    t.ack(h)
    t.ack(h)
    assert counts(t) == none | {"c_duplicate": 1}
    t.fill(h, 2, 100, exec_id=7)
    t.fill(h, 2, 100, exec_id=7)
    assert counts(t) == none | {"c_duplicate": 2}
    t.report(h, O.EXEC_CORRECT, 2, 100, exec_id=7)  # nothing new in it
    assert counts(t) == none | {"c_duplicate": 3}
    t.report(h, O.EXEC_REPLACED, 3, 99)  # nobody asked
    t.report(h, O.EXEC_CANCEL_REJECTED)
    t.report(h, O.EXEC_REPLACE_REJECTED)
    assert counts(t) == none | {"c_duplicate": 6}
    t.report(h, O.EXEC_UNKNOWN)
    t.report(h, O.EXEC_UNKNOWN)
    assert counts(t) == none | {"c_duplicate": 7}
    t.report(h, O.EXEC_CANCELED, cum=2)
    t.report(h, O.EXEC_CANCELED, cum=2)
    assert counts(t) == none | {"c_duplicate": 8}
    t.report(h, O.EXEC_CANCEL_REJECTED)
    assert counts(t) == none | {"c_duplicate": 8, "c_too_late": 1}
    t.report(h, O.N_EXECS)
    assert counts(t) == none | {"c_duplicate": 8, "c_too_late": 1, "c_unknown": 1, "c_illegal": 1}
    t.check()


def test_what_a_correction_leaves():
    t = Trader()
    t.quote()
    h = t.limit(5, 100)
    t.fill(h, 2, 100, exec_id=7)
    t.report(h, O.EXEC_CORRECT, 1, 100, exec_id=7)
    assert t.state(h) == "PARTIAL" and int(t.view().buying) == 4
    assert int(t.position().fills) == int(t.position(strategy=0).fills) == 3
    t.report(h, O.EXEC_BUST, exec_id=7)
    assert t.state(h) == "ACCEPTED" and int(t.view().buying) == 5 and int(t.position().fills) == 4
    t.report(h, O.EXEC_CORRECT, 3, 100, exec_id=7)
    assert t.state(h) == "PARTIAL" and int(t.view().buying) == 2 and int(t.position().fills) == 5
    assert int(t.h.c_busts) == 3
    t.check()


@pytest.mark.parametrize("said, expected", [(-1, 0), (1, 2)])
def test_a_bust_that_overtakes_the_end(said, expected):
    """The end tells of two lots traded: before the venue took them back nothing is to come, after it two others are."""
    t = Trader()
    h = t.limit(5, 99)
    t.ack(h)
    t.fill(h, 2, 99, exec_id=7)
    t.at(10)
    t.report(h, O.EXEC_BUST, exec_id=7)
    t.report(h, O.EXEC_CANCELED, cum=2, ts=t.now + said)
    o = t.order(h)
    assert o.state == O.CANCELED and o.cum == 0 and o.exposed == expected
