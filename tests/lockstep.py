"""A trader driven by the server in lockstep, without sockets: what it is told comes from Alpaca's messages, what it wants goes through the
REST endpoints. Only what the wire lacks is taken from the step's header."""

import json
import struct
from fractions import Fraction

import msgpack
import numpy as np

from replay import events as ev
from replay.engine import Engine
from replay.kernel.memory import entry_of
from replay.serve.rest import Call, Rest
from replay.serve.server import Server
from replay.serve.stream import DataStream, TradeStream
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader import step

KEY, SECRET = "driver", "secret"
KINDS = {name: k for k, name in enumerate(ev.KIND_NAMES)}
TYPES = {T.MARKET: "market", T.LIMIT: "limit", T.STOP: "stop", T.STOP_LIMIT: "stop_limit"}
TIFS = {T.DAY: "day", T.GTC: "gtc", T.IOC: "ioc", T.FOK: "fok"}
EXECS = {name: k for k, name in enumerate(O.EXEC_NAMES)}


EVENT = struct.Struct("<qqBbHI5q")


class Driver:
    """Drives the trader of `engine` (which is not run) against a server of the same session, profile and capital, under the broker's rules
    where the limits of `engine` have them."""

    def __init__(self, engine: Engine, batch: int = 1):
        self.engine, self.trader, self.h = engine, engine.trader, engine.trader.header
        rules, kw = engine.limits.account_rules, {"speed": "lockstep", "rate": 0, "faults": engine.faults}
        self.server = Server(
            engine.session, engine.profile, strict=rules, capital=next(iter(engine.build.capital.values())), **kw
        )
        self.server.written = lambda connection: None
        self.rest = Rest(self.server)
        self.batch = batch
        self.crypto = crypto = engine.session.instruments[0].base is not None
        self.data = DataStream(self.server, "/v1beta3/crypto/us" if crypto else "/v2/iex")
        self.trades = TradeStream(self.server)
        self.server.data_streams.append(self.data)
        self.server.trade_streams.append(self.trades)
        self.data.receive(msgpack.packb({"action": "auth", "key": KEY, "secret": SECRET}))
        bars = ["bars"] if "bars" in engine.session.manifest.levels else []  # of prints the server would make some too
        channels = ["quotes", "trades", *bars, "orderbooks" if crypto else "statuses"]
        self.data.receive(msgpack.packb({"action": "subscribe", **dict.fromkeys(channels, ["*"])}))
        self.trades.receive(json.dumps({"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}}))
        self.trades.receive(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        self.data.forget()
        self.trades.forget()
        self.account = self.server.accounts[KEY]
        self.current: dict[int, str] = {}  # handle: the id of the order that has it now
        self.handles: dict[str, int] = {}
        self.cum: dict[int, int] = {}
        self.fills: dict[int, tuple[int, int]] = {}  # by exec_id: lots and ticks
        self.scales = [(Fraction(i.tick_size), Fraction(i.lot_size)) for i in self.server.assets.instruments]
        self.buffer = ev.empty(1).view(np.uint8)
        self.address = self.buffer.ctypes.data
        self.frames = 0
        self.void = 0

    def run(self) -> "Driver":
        self.engine.start()
        self.ack(0)
        while True:
            steps = self.steps()
            assert steps, "the server stands still"
            for n, (header, message) in enumerate(steps):
                sent = self.take(header, message)
                if header["kind"] == "done":
                    self.engine.stopped = True
                    self.engine._hook(T.ON_STOP)
                    return self
                if sent and n + 1 < len(steps):
                    self.void += len(steps) - n - 1
                    break
            self.ack(header["seq"])

    def ack(self, seq):
        wake = int(self.trader.region("timers")[0].ts) if int(self.h.n_timers) else None
        self.data.receive(msgpack.packb({"action": "ack", "seq": seq, "wake_ns": wake, "batch": self.batch}))

    def steps(self):
        """(header, message) of what came since the last acknowledgement, in its order."""
        out = []
        for frame in [*self.data.out]:
            for m in msgpack.unpackb(frame):
                if m["T"] == "replay":
                    out.append((m, None))
                else:
                    assert m["T"] != "error", m
                    out[-1] = (out[-1][0], m)
        for text in self.trades.out:
            data = json.loads(text)["data"]
            if "replay" in data:
                out.append((data["replay"], data))
        self.data.forget()
        self.trades.forget()
        assert [h["seq"] for h, _ in out] == list(range(out[0][0]["seq"], out[0][0]["seq"] + len(out))) if out else True
        self.frames += 1
        return out

    # --- what comes ---------------------------------------------------------------------------------------------------------
    def take(self, header, m) -> bool:
        """One step into the trader; True if it made it send something or set a timer."""
        kind, ts = header["kind"], header["ts"]
        before = int(self.h.n_timers), int(self.h.timer_seq)
        if kind == "done":
            return False
        if "row" in header:
            self.buffer[:] = np.frombuffer(header["row"], np.uint8)
        else:
            if kind == "report":
                event = self.report(header, m)
            elif kind == "timer":
                top = self.trader.region("timers")[0]
                event = (ts, ts, ev.TIMER, 0, ev.LAST, 0, int(top.timer_id), int(top.strategy), 0, 0, 0)
            elif kind == "end":
                event = (ts, ts, ev.CONTROL, ev.OP_END, ev.LAST, 0, 0, 0, 0, 0, 0)
            else:
                event = self.market(header, m)
            EVENT.pack_into(self.buffer, 0, *event)
        entry_of(step.step)(self.trader.base, self.address, ts)
        assert not int(self.h.fault), int(self.h.fault)
        if not self.h.attend:
            return False
        self.h.attend = 0
        self.engine._drain()
        sent = self.send()
        return sent or before != (int(self.h.n_timers), int(self.h.timer_seq))

    def market(self, header, m):
        k = self.server.assets.find(m["S"])
        tick, lot = self.scales[k]
        px = lambda x: round(x * tick.denominator / tick.numerator)  # noqa: E731
        sz = lambda x: round(x * lot.denominator / lot.numerator)  # noqa: E731
        t = m["t"].seconds * 10**9 + m["t"].nanoseconds
        if m["T"] == "b":  # stamped with its beginning
            t += self.server.session.manifest.finest_bar_ns[k]
        words = {
            "q": lambda: (px(m["bp"]), sz(m["bs"]), px(m["ap"]), sz(m["as"])),
            "t": lambda: (px(m["p"]), sz(m["s"]), 0, 0),
            "b": lambda: (px(m["o"]), px(m["h"]), px(m["l"]), px(m["c"])),
            "s": lambda: (0, 0, 0, 0),
        }[m["T"]]()
        return (t, header["ts"], KINDS[header["kind"]], header["side"], header["flags"], k, header["id"], *words)

    def report(self, header, m):
        o = m["order"]
        k = self.server.assets.find(o["symbol"])
        i = self.server.assets.instruments[k]
        handle, kind, last_qty, last_px = self.handles[o["id"]], EXECS[header["exec"]], 0, 0
        if kind == O.EXEC_TRADE:
            last_qty, last_px = i.lots(m["qty"]), i.ticks(m["price"])
            self.cum[handle] += last_qty
        elif kind == O.EXEC_REPLACED:
            new = self.account.orders[o["replaced_by"]]
            self.handles[new.id], self.current[handle] = handle, new.id
            last_qty, last_px = self.cum[handle] + new.qty, new.limit_px or 0
        amended = m.get("previous_execution_id")
        exec_id = int((amended or m["execution_id"]).replace("-", "")[:15], 16)
        if kind == O.EXEC_TRADE:
            self.fills[exec_id] = last_qty, last_px
        elif kind == O.EXEC_BUST:
            last_qty, last_px = self.fills[exec_id]
            self.cum[handle] -= last_qty
        elif kind == O.EXEC_CORRECT:
            last_qty, last_px = i.lots(m["qty"]), i.ticks(m["price"])
        side, ts = 1 if o["side"] == "buy" else -1, header["ts"]
        return (ts, ts, ev.REPORT, side, kind << 8, k, exec_id, handle, last_qty, last_px, self.cum[handle])

    # --- what leaves --------------------------------------------------------------------------------------------------------
    def send(self) -> bool:
        n = int(self.h.cmd_n)
        for c in self.trader.region("commands")[:n].copy():
            self.command(c)
        self.h.cmd_n = 0
        return n > 0

    def command(self, c):
        handle = int(c.handle)
        i = self.engine.session.instruments[int(c.instrument)]
        kind = int(c.type)
        assert not int(c["flags"]) & (T.POST_ONLY | T.REDUCE_ONLY), "not to be had at this broker"
        prices = {}
        if kind in (T.LIMIT, T.STOP_LIMIT):
            prices["limit_price"] = str(i.price(int(c.px)))
        if kind >= T.STOP:
            prices["stop_price"] = str(i.price(int(c.stop_px)))
        if int(c.kind) == T.CMD_NEW:
            self.cum[handle] = 0
            body = {
                "symbol": self.server.assets.symbols[int(c.instrument)],
                "side": "buy" if int(c.side) > 0 else "sell",
                "type": TYPES[kind],
                "time_in_force": "gtc" if self.crypto and int(c.tif) == T.DAY else TIFS[int(c.tif)],  # pairs have no day
                "qty": str(i.qty(int(c.qty))),
                "client_order_id": f"{handle}",
                **prices,
            }
            answer = self.ask(self.rest.submit, body)
            self.handles[answer["id"]], self.current[handle] = handle, answer["id"]
        elif int(c.kind) == T.CMD_CANCEL:
            self.ask(self.rest.cancel, None, id=self.current[handle])
        else:
            body = {"qty": str(i.qty(int(c.qty) - self.cum[handle])), **prices}
            self.ask(self.rest.replace, body, id=self.current[handle])

    def ask(self, endpoint, body, **args):
        status, answer = endpoint(Call(self.account, args, {}, body))
        assert status in (200, 204), (status, answer)
        return answer
