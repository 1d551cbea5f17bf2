"""Build the simulated venue: its arena sized from a session's manifest, and the profile written into it."""

from __future__ import annotations

import msgspec
import numpy as np

from replay.data.manifest import Manifest
from replay.data.scan import YEAR_NS
from replay.errors import BadInput
from replay.events import EVENT
from replay.kernel import ladder
from replay.kernel.arena import Arena
from replay.trader.layout import INSTRUMENT
from replay.trader.setup import LEVELS, book_size, fill_instruments
from replay.trader.specs import duration_ns
from replay.venue import layout as V

SECOND = 1_000_000_000
QUEUES = {
    "risk_averse": V.RISK_AVERSE,
    "power": V.PROB_POWER,
    "power2": V.PROB_POWER2,
    "power3": V.PROB_POWER3,
    "log": V.PROB_LOG,
    "log2": V.PROB_LOG2,
}


class Leg(msgspec.Struct, frozen=True):
    """One latency leg: `recorded` (feed only), `constant` or `lognormal` with a median in ns."""

    kind: str = "constant"
    ns: int = 1
    sigma: float = 0.0

    @staticmethod
    def parse(text: str, name: str) -> Leg:
        """A leg from text: ``1ms``, ``recorded``, ``lognormal:1ms:0.5``.

        >>> Leg.parse("lognormal:1ms:0.5", "entry")
        Leg(kind='lognormal', ns=1000000, sigma=0.5)
        """
        if text == "recorded":
            if name != "feed":
                raise BadInput(f"latency {name}: 'recorded' is for the feed leg only; give a duration such as 1ms")
            return Leg("recorded", 0)
        if text.startswith("lognormal:"):
            parts = text.split(":")
            try:
                sigma = float(parts[2])
                ok = len(parts) == 3 and 0 <= sigma <= 10
            except (IndexError, ValueError):
                ok = False
            if not ok:
                raise BadInput(f"latency {name}: expected lognormal:MEDIAN:SIGMA such as lognormal:1ms:0.5, got {text!r}")
            return Leg("lognormal", duration_ns(parts[1], f"latency {name}"), sigma)
        return Leg("constant", max(1, duration_ns(text, f"latency {name}")))


class Charge(msgspec.Struct, frozen=True):
    """What rules charge on a fill from a time on (ns), beside the commission: of a sale's notional in 1e-8, money (1e-8) per lot sold
    with the most a fill, money per lot of either side."""

    from_ns: int
    sale_e8: int
    sale_per_lot: int
    sale_most: int
    per_lot: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How the venue fills, how long the legs take, what it charges. Slippage and participation are those of execution on bars, in
    millionths of the price and of a bar's volume; a participation of 0 is any."""

    name: str = "realistic"
    queue: str = "risk_averse"
    queue_n: float = 1.0
    feed: Leg = Leg("recorded", 0)
    entry: Leg = Leg("constant", 1_000_000)
    response: Leg = Leg("constant", 1_000_000)
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    fee_per_lot: int = 0
    charges: tuple[Charge, ...] = ()
    slippage_ppm: int = 500
    participation_ppm: int = 100_000
    seed: int = 1


#: class ranks at equal times, in the order data, request, control, report, local, timer
CLASSES = {"realistic": (0, 1, 2, 3, 4, 5), "hftbacktest": (3, 4, 1, 2, 0, 5)}
PROFILES = {"realistic": V.REALISTIC, "hftbacktest": V.HFTBACKTEST}


def build(
    m: Manifest,
    profile: Profile,
    order_capacity: int,
    report_capacity: int = 1 << 10,
    windows: np.ndarray | None = None,
    fault_seed: int = 0,
) -> Arena:
    """The venue for a session: books, room for `order_capacity` orders and twice as many requests in flight. `windows` (`V.WINDOW`):
    what goes wrong there."""
    n = len(m.instruments)
    if profile.name not in PROFILES:
        raise BadInput(f"fill profile: expected one of {', '.join(PROFILES)}, got {profile.name!r}")
    if profile.queue not in QUEUES:
        raise BadInput(f"queue model: expected one of {', '.join(QUEUES)}, got {profile.queue!r}")
    if m.end_ns - m.start_ns > 30 * YEAR_NS:
        raise BadInput("the session spans more than 30 years, which a key of 64 bits cannot order: slice it")
    width, capacity = book_size(m)
    executing = sorted({m.finest_bar_ns[k] for k, level in enumerate(m.levels) if level == "bars"})
    # an order may walk every level, each a fill and a fee; the ring must hold that twice over
    burst = 2 * capacity + 64
    n_windows = 0 if windows is None else len(windows)
    if (
        n_windows
    ):  # every report twice and garbled, one row for each request that is lost or looks an order up, and one look-up's answers
        burst = 3 * burst + 12 * order_capacity
    while report_capacity < 2 * burst:
        report_capacity *= 2
    arena = Arena(
        V.HEADER,
        {
            "books": (V.VBOOK, n),
            "orders": (V.VORDER, order_capacity),
            "scratch": (EVENT, 1),
            "requests": (V.REQUEST, (8 if n_windows else 2) * order_capacity),
            "instruments": (INSTRUMENT, n),
            # a symbol that the session only names may still be sent an order
            "bars": (V.VBAR, n if {"bars", "none"} & set(m.levels) else 0),
            "openings": (V.OPENING, len(executing)),
            "days": (V.DAY, len(m.calendar.days) if executing and m.calendar is not None else 0),
            "windows": (V.WINDOW, n_windows),
            "lost": (EVENT, 2 * order_capacity if n_windows else 0),
            "hits": (EVENT, 2 * burst if n_windows else 0),
            "charges": (V.CHARGE, len(profile.charges)),
            **ladder.regions(2 * n if width else 0, width or 64, capacity),
            "reports": (EVENT, report_capacity),  # last: it can grow
        },
    )
    if width:
        ladder.prepare(arena, width, capacity)
    h = arena.header
    h.burst = burst
    h.t0 = m.start_ns - (1 << 57)  # years before: every key is positive, and years after still fit
    h.profile = PROFILES[profile.name]
    h.queue = QUEUES[profile.queue]
    h.queue_n = profile.queue_n
    ranks = CLASSES[profile.name]
    h.class_data, h.class_request, h.class_control, h.class_report, h.class_local, h.class_timer = ranks
    h.seed = profile.seed
    h.last_arrival[:] = h.last_send[:] = -(1 << 62)
    h.maker_fee_ppm, h.taker_fee_ppm, h.fee_per_lot = profile.maker_fee_ppm, profile.taker_fee_ppm, profile.fee_per_lot
    for row, charge in zip(arena.region("charges"), profile.charges, strict=True):
        for name in charge.__struct_fields__:
            row[name] = getattr(charge, name)
    h.slippage_ppm, h.participation_ppm = profile.slippage_ppm, profile.participation_ppm
    h.bar_key = V.NEVER
    h.ours = m.n_events
    if n_windows:
        arena.region("windows")[:] = windows
        h.fault_seed = fault_seed
        h.n_away = np.count_nonzero(windows["kind"] >= V.PAUSE)
        pull_in(arena)
    for row, ns in zip(arena.region("openings"), executing, strict=True):
        row.ns, row.interval = ns, m.bar_intervals_ns.index(ns)
        row.open_i = row.path_i = row.day = -1
    set_legs(arena, profile)
    for row, (_, opens, closes) in zip(arena.region("days"), m.calendar.days if h.days_n else (), strict=True):
        row.opens, row.closes = opens, closes
    for k, row in enumerate(arena.region("bars")):
        row.interval = -1
        if m.levels[k] == "bars":
            row.ns, row.interval = m.finest_bar_ns[k], m.bar_intervals_ns.index(m.finest_bar_ns[k])
            row.first_ns = first_ns(int(row.ns))
            row.uncapped = m.max_size[k] == 0
            row.open_ts = row.close_ts = row.closed_ts = -(1 << 62)
    for k, book in enumerate(arena.region("books")):
        book.resting[:] = -1
        book.stops = -1
        book.best_rank[:] = V.NOBODY
        book.worst_rank[:] = -V.NOBODY
        book.last_px = V.UNPRINTED
        book.level = LEVELS[m.levels[k]]
        if m.levels[k] in ("l1", "l2"):
            displays, prints = m.levels[k] == "l2" or m.has(k, "quote"), m.has(k, "trade")
            book.by_print = prints and not displays and profile.name == "realistic"
            book.by_display = displays and not prints
        book.phase = m.phase_at_start
    fill_instruments(arena, m)
    arena.check()
    return arena


def pull_in(arena: Arena) -> None:
    """The venue's own cancellations, each a request that arrives at its time."""
    h = arena.header
    pulls = sorted((w for w in arena.region("windows") if w.kind == V.PULL), key=lambda w: int(w.start))
    for k, w in enumerate(pulls):
        r = arena.region("requests")[k]
        r.key = (int(w.start) - int(h.t0)) << 3 | int(h.class_request)
        r.kind, r.instrument = V.PULL_ALL, w.instrument
    h.request_tail = len(pulls)


def first_ns(bar_ns: int) -> int:
    """How long after its open a bar still takes orders in, ns: a sixtieth of it, a second at most."""
    return min(SECOND, bar_ns // 60)


def lead_ns(profile: Profile, bar_ns: int) -> int:
    """How long before its close a bar's path is gone through, ns: early enough for a report of it, and a request that answers the
    report, to arrive before the next bar opens. A drawn leg counts with four times its median; never more than half the bar.

    >>> lead_ns(Profile(), 300 * SECOND), lead_ns(Profile(response=Leg("constant", 3 * SECOND)), 300 * SECOND)
    (1000000000, 3001000001)
    """
    legs = 0
    for leg in (profile.entry, profile.response):
        legs += leg.ns * (4 if leg.kind == "lognormal" else 1)
    return min(max(first_ns(bar_ns), legs + 1), bar_ns // 2)


def set_legs(arena: Arena, profile: Profile) -> None:
    """Write how long the legs take, for what is sent from now on."""
    for row in arena.region("openings"):
        row.lead_ns = lead_ns(profile, int(row.ns))
    h = arena.header
    for k, leg in ((V.FEED, profile.feed), (V.ENTRY, profile.entry), (V.RESPONSE, profile.response)):
        h.mode[k] = {"recorded": V.RECORDED, "constant": V.CONSTANT, "lognormal": V.LOGNORMAL}[leg.kind]
        h.latency[k] = leg.ns
        h.sigma[k] = leg.sigma


def double_reports(venue: Arena) -> None:
    """Double the ring of reports in flight; the venue's address changes."""
    h = venue.header
    n, flying = int(h.reports_n), np.arange(int(h.report_head), int(h.report_tail))
    rows = venue.region("reports")[flying & (n - 1)].copy()
    venue.grow_last(2 * n)
    venue.region("reports")[flying & (2 * n - 1)] = rows
