"""Lockstep: one step at a time, each acknowledged. The protocol is in `replay.serve.control`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack

from replay.events import DEPTH, KIND_NAMES
from replay.serve.market import DONE, END, REPORT, ROWS, TIMER, Step
from replay.serve.stream import DataStream, Encoded, frame
from replay.trader.orders import EXEC_NAMES

if TYPE_CHECKING:
    from replay.serve.server import Server

KINDS = {TIMER: "timer", END: "end", DONE: "done"}
MOST = 4096  #: rows in one frame at most
MOST_NS = 1 << 63  #: times are 64-bit integers


class Lockstep:
    """`seq` is the newest step sent; `open` the rows behind the first of a frame, which happen only if acknowledged."""

    def __init__(self, server: Server):
        self.server = server
        self.seq = 0
        self._waiting = False  # a step is out
        self.batch = 1
        self._open: Step | None = None
        self._open_rows: dict[int, int] = {}  # seq: how many of the open rows are behind us with it

    def acknowledge(self, m: dict) -> str | None:
        """The client is done with a step: what it sent leaves, and the next step comes. A complaint, where it has no such step."""
        seq, wake, batch = m.get("seq"), m.get("wake_ns"), m.get("batch", self.batch)
        first = self.seq - len(self._open_rows)
        if type(seq) is not int or not (first if self._waiting else self.seq) <= seq <= self.seq:
            return f"seq: expected {first if self._waiting else self.seq} to {self.seq}, got {seq!r}"
        known = wake is None or (type(wake) is int and abs(wake) < MOST_NS)
        if not known or type(batch) is not int or not 1 <= batch <= MOST:
            return f"wake_ns: expected ns or null, batch: 1 to {MOST}, got {wake!r} and {batch!r}"
        market = self.server.market
        if self._open is not None and seq > first:
            self.server.accept_rows(self._open, self._open_rows[seq])
        self._open, self._open_rows = None, {}
        self.seq = seq
        self.batch = batch
        market.wake_ns = wake
        self.server.dispatch()
        self._waiting = self._go()
        return None

    def leave(self) -> None:
        """The market goes on without acknowledgements: what was offered ahead of them is void."""
        self.seq -= len(self._open_rows)
        self._open, self._open_rows = None, {}
        self._waiting = False

    def _go(self) -> bool:
        """Steps up to the next that somebody has to acknowledge; False where there is none."""
        market = self.server.market
        while (step := market.peek(most=self.batch)) is not None:
            if step.kind == ROWS:
                if self._send_rows(step):
                    return True
                continue
            self.server.accept(step)
            if step.kind == REPORT:
                if self._send_report(step):
                    return True
            elif self._send_own(KINDS[step.kind], step.ts):
                return True
            self.server.dispatch()
        return False

    def _drivers(self) -> list[DataStream]:
        return [c for c in self.server.data_streams if c.driving]

    def _send_rows(self, step: Step) -> bool:
        """Send a run of rows, each behind its header; False where nobody wants any of them, and they have happened."""
        server = self.server
        rows, times = server.market.rows(step.lo, step.hi), server.market.times(step.lo, step.hi).tolist()
        encoded = server.encode(rows)
        messages: list[list[Encoded]] = [[] for _ in times]
        for m in encoded:
            messages[m[0]].append(m)
        drivers = self._drivers()
        parts: dict[DataStream, list[bytes]] = {c: [] for c in drivers}
        wanted: list[int] = []  # rows that somebody has to acknowledge
        columns = zip(rows.kind.tolist(), rows.side.tolist(), rows["flags"].tolist(), rows.id.tolist(), strict=True)
        for n, (kind, side, flags, ident) in enumerate(columns):
            header = None
            for c in drivers:
                own = [m for _, channel, k, m in messages[n] if k in c.wants.get(channel, ())]
                if not own and messages[n]:
                    continue
                if header is None:
                    header = {"T": "replay", "seq": self.seq + len(wanted) + 1, "kind": KIND_NAMES[kind], "ts": times[n]}
                    if not messages[n] or kind == DEPTH:
                        header["row"] = rows[n].tobytes()
                    else:
                        header |= {"side": side, "flags": flags, "id": ident}
                    header = msgpack.packb(header)
                parts[c] += [header, *own]
            if header is not None:
                wanted.append(n)
        if not wanted:
            server.accept_rows(step, step.hi - step.lo)
            return False
        server.accept_rows(step, wanted[0] + 1)
        if len(wanted) > 1:
            self._open = step._replace(lo=step.lo + wanted[0] + 1)
            self._open_rows = {self.seq + 1 + k: n - wanted[0] for k, n in enumerate(wanted) if k}
        self.seq += len(wanted)
        for c in server.data_streams:
            if c.driving:
                if parts[c]:
                    c.put(frame(parts[c]))
            else:
                c.offer([m for m in encoded if m[0] <= wanted[0]])
        return True

    def _send_own(self, kind: str, ts: int, row: bytes | None = None) -> bool:
        drivers = self._drivers()
        if not drivers:
            return False
        self.seq += 1
        header = {"T": "replay", "seq": self.seq, "kind": kind, "ts": ts}
        for c in drivers:
            c.say(header | {"row": row} if row else header)
        return True

    def _send_report(self, step: Step) -> bool:
        """A report goes to its account's listeners; True where there is one, who has to acknowledge it."""
        r = step.report
        if r.exec_type < 0:
            return self._send_own("fee", step.ts, r.row)
        account = self.server.account_of[step.venue]
        listened = self.server.listeners(account)
        if listened and account.updates:
            self.seq += 1
            header = {"seq": self.seq, "kind": "report", "ts": step.ts, "exec": EXEC_NAMES[r.exec_type]}
            account.updates[0]["replay"] = header
        told = bool(listened and account.updates)
        self.server.tell(account)
        return told
