"""A plan of faults (`replay.faults.Plan`) as a broker's clients meet it, by session time.

The feed is `replay.faults.feed.arrange`'s; what is slow, rejected, pulled, taken back or corrected the simulated venue does itself. Here
is the rest: requests that never arrive, and trade updates that are lost, late, twice or garbled on the stream while REST shows the truth.

A draw is made for one request (the how-maniest of its account) or one update (its order, event and time), and for nothing else.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from replay.data.session import Session
from replay.errors import BadInput
from replay.faults.plan import MILLION, OURS, Plan
from replay.trader.orders import EXEC_NAMES
from replay.trader.specs import duration_ns
from replay.venue import layout as V

if TYPE_CHECKING:
    from replay.serve.account import Account

BY_VENUE = (V.REQUEST_SLOW, V.REPORT_SLOW, V.REJECT, V.PULL, V.REPORT_BUST, V.REPORT_CORRECT)
REPORTS = {
    "fill": "trade",
    "partial_fill": "trade",
    "order_cancel_rejected": "cancel_rejected",
    "order_replace_rejected": "replace_rejected",
} | {name: name for name in EXEC_NAMES}
ANSWERS = ("replaced", "cancel_rejected", "replace_rejected")  #: which never come twice, as in `replay.venue.faults`
REQUESTS = {"POST": "new", "PATCH": "replace", "DELETE": "cancel"}
ORDERS = "/v2/orders"


class Planned:
    """A plan over one session; `plan` is what of it is a broker's, the rest is left to the run that trades (`replay paper --faults`).
    `struck` counts by the index of the fault. Raises `BadInput` for what cannot be served, or never strikes."""

    def __init__(self, session: Session, plan: Plan):
        m = session.manifest
        self.left = sorted({f.kind for f in plan.faults} & set(OURS))
        self.plan, self.manifest = msgspec.structs.replace(plan, faults=tuple(f for f in plan.faults if f.kind not in OURS)), m
        self.struck: Counter[int] = Counter()
        self._symbols = [i.symbol for i in m.instruments]
        self._sent: Counter[tuple[str, str]] = Counter()
        self._due: list[tuple[int, int, Account, dict]] = []
        self._number = itertools.count()
        self._spans = []
        for f in self.plan.faults:
            start, end = f.span(m)
            f.instruments(m)
            if start >= m.end_ns or end <= m.start_ns:
                raise BadInput(f"faults: {f.kind} {f.when()}: {m.name} has nothing at that time: correct it")
            self._spans.append((start, end))
        windows = self.plan.windows(m)
        self.windows = windows[np.isin(windows["kind"], BY_VENUE)]

    def _strikes(self, kind: str, now: int, what: str, symbol: str, *of: object) -> int | None:
        """Index of the first fault of a kind that strikes a message, which is counted."""
        for k, (f, (start, end)) in enumerate(zip(self.plan.faults, self._spans, strict=True)):
            only = f.reports or f.requests
            if f.kind != kind or not start <= now < end or (only and what not in only) or (f.symbols and symbol not in f.symbols):
                continue
            if self._drawn(k, *of) % MILLION < f.ppm:
                self.struck[k] += 1
                return k
        return None

    def _drawn(self, *of: object) -> int:
        """Random bits of one message."""
        text = "\n".join(map(str, (self.plan.seed, *of)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 12

    def loses(self, account: Account, method: str, path: str, symbol: str, now: int) -> bool:
        """Whether a request never arrives."""
        if not self.plan.faults or method not in REQUESTS or not path.startswith(ORDERS):
            return False
        what = REQUESTS[method]
        self._sent[account.number, what] += 1
        n = self._sent[account.number, what]
        return self._strikes("request_lost", now, what, symbol, account.number, what, n) is not None

    def spoil(self, account: Account, now: int) -> None:
        """What becomes of the updates that an account has just made of a report."""
        if not self.plan.faults:
            return
        updates = list(account.updates)
        account.updates.clear()
        for n, data in enumerate(updates):
            o, what = data["order"], REPORTS.get(data["event"])
            if what is None:
                self._behind(now, account, data)
                continue
            message = (now, what, o["symbol"], account.number, o["id"], what, o["filled_qty"], n, now)
            if self._strikes("report_lost", *message) is not None:
                continue
            late = self._strikes("report_late", *message)
            if late is None:
                account.updates.append(data)
            else:
                most = duration_ns(self.plan.faults[late].delay, "delay")
                self._later(now + 1 + self._drawn(late, *message, "late") % most, account, data)
            twice = None if what in ANSWERS else self._strikes("report_twice", *message)
            if twice is not None:
                self._later(now + duration_ns(self.plan.faults[twice].delay, "delay"), account, dict(data))
            if self._strikes("report_garbled", *message) is not None:
                account.updates.append({**data, "event": "moon_phase"})

    def _behind(self, now: int, account: Account, data: dict) -> None:
        """A fill was taken back or corrected: nothing goes wrong with that, and it is said after what is still to be said of its order."""
        ident = data["order"]["id"]
        last = max((at for at, _, a, d in self._due if a is account and d["order"]["id"] == ident), default=-1)
        if last >= now:
            self._later(last, account, data)
        else:
            account.updates.append(data)

    def _later(self, at: int, account: Account, data: dict) -> None:
        heapq.heappush(self._due, (at, next(self._number), account, data))

    def release(self, now: int) -> None:
        """Updates that are due by now come."""
        while self._due and self._due[0][0] <= now:
            _, _, account, data = heapq.heappop(self._due)
            account.updates.append(data)

    def count(self, hits: np.ndarray) -> None:
        """The venue noted what struck there."""
        self.struck.update(hits["id"].tolist())

    def told(self, feed: np.ndarray, now: int) -> list[dict]:
        """Of each fault its kind, its time and how many messages it has struck, rows of the feed by the time `now`."""
        struck = self.struck + Counter()
        for e in feed[feed["ts_event"] <= now]:
            struck[int(e["id"])] += 1
        return [{"kind": f.kind, "when": f.when(), "struck": struck[k]} for k, f in enumerate(self.plan.faults)]
