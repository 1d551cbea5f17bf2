"""What is ours and not Alpaca's: lockstep, the clock, faults. Everything lies under ``/replay/v1``.

Lockstep
--------
With ``--speed lockstep`` session time stands still until a client says that it is done with what it was sent, so that a bot's decisions
equal those of a replay, bit for bit. The market goes from step to step in the total order of the replay loop
(`replay.kernel.loop`); a step is one row of market data, one report of the venue, or a timer of the client.

The market-data stream (``/v2/iex``, ``/v2/sip``, ``/v1beta3/crypto/us``) is the driver's. After authentication and subscriptions, and with
``trade_updates`` listened to, the client sends::

    {"action": "ack", "seq": 0, "wake_ns": null, "batch": 1}      (msgpack, as everything on that stream)

and gets the first step. Each step comes with a header, ahead of Alpaca's own messages in the same frame::

    [{"T": "replay", "seq": 1, "kind": "quote", "ts": 1772461800000366000, ...}, {"T": "q", "S": "AAPL", ...}]

- `seq` counts steps from 1, without gaps;
- `ts` is the simulated time at which the step reaches the client, ns since 1970: what a replay gives the trader as `now`;
- `kind` is one of

  ==========  ======================================================================================================
  row kinds   the session row's kind (`replay.events.KIND_NAMES`): quote, trade, depth, phase, status, bar, custom ...
              With `side`, `flags` and `id` of the row, which Alpaca's messages lack. A row that Alpaca has no message
              for (phases, custom data) has ``row`` instead, the 64 bytes of the event; and so has every depth row.
  timer       `wake_ns` has come
  fee         the venue charges: ``row`` is the event
  end         no more market data will come (the trader's ``OP_END``); reports and timers still may
  done        everything is delivered; there is no further step
  ==========  ======================================================================================================

A report is sent on the ``trade_updates`` stream of the account it belongs to, as Alpaca's message, with the header inside ``data``::

    {"stream": "trade_updates", "data": {"event": "fill", ..., "replay": {"seq": 7, "kind": "report", "ts": ..., "exec": "trade"}}}

where `exec` is the venue's word for it (`replay.trader.orders.EXEC_NAMES`; Alpaca calls the rest of an IOC order ``canceled``, the
venue ``expired``). A replace that is granted is two frames, ``replaced`` and the ``new`` of the replacement; only the first has a header.
Where nobody listens to an account's ``trade_updates``, its reports need no acknowledgement; rows of symbols and channels nobody has
subscribed to are not sent and need none either. Rows without a message of Alpaca's are sent to every stream that has ever acknowledged.

The client answers each step with ``{"action": "ack", "seq": 7, "wake_ns": W}``, on the market-data stream or as ``POST /replay/v1/ack`` with
the same JSON. What it sent by REST before that (orders, cancels, replaces) leaves at the `ts` of the step acknowledged, in the order in which
the server took it, and takes the entry leg: as a strategy's commands do in a replay. `wake_ns` is the client's earliest timer, or
null: a step ``timer`` comes when it is due, unless that is after the session's last row. It holds until the next acknowledgement.

`batch`, in the first acknowledgement or any later one, lets the server put up to so many rows in one frame while no order of the account
rests or is under way, each behind its own header. The client may acknowledge any of them: the market then stands behind that row,
the later ones of the frame are void and come again. So: work through the frame; after the row that made you send something, acknowledge
that row and drop the rest of the frame.

One driver: with several accounts, only the acknowledging client's decisions are exact.

``POST /replay/v1/advance {"until_ns": T}`` goes through all steps up to T in one go, acknowledged or not (``{"rows": N}``: over N rows; ``{}``: to
the end), and answers when they are sent. It is what scripted tests want: between two of these calls nothing moves.

Other endpoints
---------------
- ``GET /replay/v1/state``: ``{"session", "speed", "now_ns", "now", "row", "rows", "seq", "done", "accounts",
  "market_data", "trade_updates", "faults", "rules", "instruments", "bar_intervals_ns"}``; `rules` are ``alpaca`` or ``open``, `instruments` says
  of each, in the session's order, ``{"symbol", "tick_size", "lot_size", "min_qty", "level", "bar_ns"}`` (its finest data, the interval of its
  shortest bars, 0 where it has none), `bar_intervals_ns` is what a bar's `side` is an index of; `market_data` and `trade_updates` count streams that are subscribed and that listen,
  `faults` says of each of the plan's how many messages it has struck: ``{"kind", "when", "struck"}``;
- ``GET /replay/v1/latency``: ``{"orders": {client_order_id: [market, first byte]}}``: when the first byte of each order's request came, and
  when the newest market data before that had been written to a socket of its account; ns of the machine's steady clock
  (``CLOCK_MONOTONIC``, Python's ``time.perf_counter_ns``);
- ``POST /replay/v1/start``: start a paced clock now. It starts by itself with a client's first request, or, where `state` was asked for
  before, with the first market-data subscription or order, a minute later at the latest;
- ``POST /replay/v1/faults``: see `replay.serve.faults`.

Between two steps, as after an advance, the newest step is acknowledged once more to go on.

Errors are ``{"message": ...}`` with status 400 or 409 (an acknowledgement of a step that is not out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.serve.lockstep import MOST_NS
from replay.serve.stream import Connection, DataStream

if TYPE_CHECKING:
    from replay.serve.server import Server

METHODS = {"state": "GET", "latency": "GET", "start": "POST", "ack": "POST", "advance": "POST", "faults": "POST"}


class Control:
    """The endpoints; `handle` returns a status, a body, and connections to be cut off."""

    def __init__(self, server: Server):
        self.server = server

    def handle(self, method: str, what: str, body: object) -> tuple[int, dict, list[Connection]]:
        """Raises `BadInput` for anything malformed."""
        if METHODS.get(what) != method:
            return 404, {"message": f"no {method} /replay/v1/{what}: there are {', '.join(METHODS)}"}, []
        if not isinstance(body, dict):
            raise BadInput("expected a JSON object")
        cut: list[Connection] = []
        if what == "latency":
            orders = [o for a in self.server.accounts.values() for o in a.orders.values() if o.first_byte_ns]
            return 200, {"orders": {o.client_order_id: [o.market_ns, o.first_byte_ns] for o in orders}}, cut
        if what == "state":
            self.server.hold()
        elif what == "start":
            self.server.wake()
        elif what == "ack":
            if self.server.lockstep is None:
                raise BadInput("acknowledgements belong to --speed lockstep")
            complaint = self.server.lockstep.acknowledge(body)
            if complaint:
                return 409, {"message": complaint}, []
        elif what == "advance":
            self._advance(body)
        elif what == "faults":
            cut = self._faults(body)
        self.server.catch_up()
        return 200, self.state(), cut

    def state(self) -> dict:
        """Where the market stands."""
        s, m = self.server, self.server.session.manifest
        return {
            "session": s.session.manifest.name,
            "speed": s.speed,
            "now_ns": s.market.now,
            "now": utc_text(s.market.now),
            "row": s.market.i,
            "rows": s.market.n,
            "seq": s.lockstep.seq if s.lockstep else None,
            "done": s.market.done,
            "accounts": [a.number for a in s.accounts.values()],
            "market_data": sum(bool(c.wants) for c in s.data_streams),
            "trade_updates": sum(c.listening for c in s.trade_streams),
            "faults": s.planned.told(s.market.feed.hits, s.market.now),
            "rules": "alpaca" if s.strict else "open",
            "instruments": [
                {
                    "symbol": symbol,
                    "tick_size": i.tick_size,
                    "lot_size": i.lot_size,
                    "min_qty": i.min_qty,
                    "level": level,
                    "bar_ns": bar_ns,
                }
                for symbol, i, level, bar_ns in zip(s.assets.symbols, m.instruments, m.levels, m.finest_bar_ns, strict=True)
            ],
            "bar_intervals_ns": m.bar_intervals_ns,
        }

    def _advance(self, body: dict) -> None:
        if self.server.lockstep is None:
            raise BadInput("advance belongs to --speed lockstep: a paced clock moves by itself")
        until, rows = body.get("until_ns"), body.get("rows")
        if not all(v is None or (type(v) is int and 0 <= v < MOST_NS) for v in (until, rows)) or (
            until is not None and rows is not None
        ):
            raise BadInput(f"advance: expected until_ns or rows, a whole number, got {body}")
        self.server.lockstep.leave()
        self.server.advance(until, rows)

    def _faults(self, body: dict) -> list[Connection]:
        """Arm faults, and do at once what concerns open streams."""
        s, cut = self.server, []
        for f in s.faults.arm(body):
            if f.kind == "release":
                held, s.faults.held = s.faults.held or [], None
                for account, data in held:
                    s.send_update(account, data)
                continue
            every = [(c, c.path if isinstance(c, DataStream) else "/stream") for c in (*s.data_streams, *s.trade_streams)]
            for c in [c for c, path in every if path.startswith(f.stream)]:
                if f.kind in ("mute", "unmute"):
                    c.muted = f.kind == "mute"
                elif f.kind == "drop":
                    c.close()
                elif f.kind == "abort":
                    cut.append(c)
                elif isinstance(c, DataStream):
                    c.refuse(407)
                    c.close()
        return cut
