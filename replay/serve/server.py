"""The server without its sockets: accounts, connections, the clock, and who is told what. `replay.serve.app` puts it on a port."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Callable
from decimal import Decimal

import msgpack
import numpy as np

from replay.data.session import Session
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.events import OPEN, PHASE
from replay.faults.plan import Plan
from replay.serve.account import Account
from replay.serve.bars import BarStream
from replay.serve.faults import Faults
from replay.serve.lockstep import Lockstep
from replay.serve.market import REPORT, ROWS, Market, Step
from replay.serve.orders import Assets
from replay.serve.planned import Planned
from replay.serve.stream import FULL_FRAMES, SLOW_FRAMES, Connection, DataStream, Encoded, TradeStream
from replay.serve.venue import Venue
from replay.serve.wire import Encoder
from replay.venue.setup import Profile

RUN = 512  #: rows that reach clients together at most
MAX_ACCOUNTS = 64
TICK_S = 0.001
IDLE_S = 0.05
SPEEDS = ("max", "lockstep")
HOLD_S = 60  #: a client that first asks what this server is has so long to subscribe, before time passes without it
MOST_NOTES = 1000  #: different lines that `note` says


class Server:
    """Everything a client can see. `speed`: session seconds a second, or ``max`` or ``lockstep``; `token`: the secret every client must
    present, None or empty where any will do; `rate`: requests a minute of an account, 0 for no limit;
    `faults`: what goes wrong, by session time (docs/faults.md); `strict`: the broker's rules apply; `live`: session time is this
    machine's clock from the beginning; `say` takes a line about what nobody here reads or answers. Raises `BadInput`."""

    def __init__(
        self,
        session: Session,
        profile: Profile = Profile(),
        *,
        speed: float | str = 1.0,
        capital: Decimal = Decimal(100_000),
        strict: bool = True,
        rate: int = 200,
        token: str | None = None,
        faults: Plan = Plan(),
        clock: Callable[[], float] = time.monotonic,
        live: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ):
        if isinstance(speed, str) and speed not in SPEEDS:
            raise BadInput(f"speed: expected a number, max or lockstep, got {speed!r}")
        speed = speed if isinstance(speed, str) else float(speed)
        self.session, self.speed, self.capital, self.strict, self.rate = session, speed, capital, strict, rate
        self.token, self.clock, self.live, self.say = token or None, clock, live, say
        self._noted: set[str] = set()
        self.planned = Planned(session, faults)
        self.market = Market(session, profile, self.planned)
        self.assets = Assets(session.instruments)
        self.accounts: dict[str, Account] = {}  # by key
        self.account_of: dict[Venue, Account] = {}
        self.data_streams: list[DataStream] = []
        self.trade_streams: list[TradeStream] = []
        self.faults = Faults()
        self.lockstep = Lockstep(self) if speed == "lockstep" else None
        self.bars = BarStream(self)
        self.rest_encoder = Encoder(self.assets, session.manifest, utc_text)
        self.written: Callable[[Connection], None] = lambda connection: None  # set by who owns the sockets
        self.started = False
        self._attended = False  # a client has come
        self._held: float | None = None  # since when the clock waits for a client of ours
        self._encoder = Encoder(self.assets, session.manifest)
        self._woken = asyncio.Event()
        self._epoch = (0.0, 0)  # wall seconds and session ns of the same moment
        self._requests: dict[Account, list[float]] = {}

    # --- who may --------------------------------------------------------------------------------------------------------------
    def authenticate(self, key: object, secret: object) -> Account | None:
        """The account of a key, opened at its first use; None where the secret is not the token's."""
        if not isinstance(key, str) or not isinstance(secret, str) or not key or not secret or not self.permits(secret):
            return None
        account = self.accounts.get(key)
        if account is None and len(self.accounts) < MAX_ACCOUNTS:
            venue = self.market.open_venue()
            number = f"PA{len(self.accounts) + 1:07d}"
            account = Account(number, self.assets, self.market, venue, self.capital, self.strict)
            self.accounts[key] = self.account_of[venue] = account
        return account

    def permits(self, secret: str) -> bool:
        """Whether a secret is the token's; without a token any is."""
        return self.token is None or hmac.compare_digest(secret.encode(errors="surrogatepass"), self.token.encode())

    def admit(self, stream: DataStream, account: Account) -> bool:
        """One market-data connection an account and endpoint."""
        if self.faults.take("connection_limit", stream=stream.path):
            return False
        return not any(c.account is account and c.path == stream.path and not c.closing for c in self.data_streams)

    def admit_updates(self, stream: TradeStream, account: Account) -> bool:
        """One order stream an account, where the broker's rules apply."""
        if not self.strict:
            return True
        return not any(c.account is account and c is not stream and not c.closing for c in self.trade_streams)

    def note(self, line: str) -> None:
        """Say what nobody here reads or answers, once."""
        if line not in self._noted and len(self._noted) < MOST_NOTES:
            self._noted.add(line)
            self.say(line)

    def allowance(self, account: Account) -> tuple[int, float] | None:
        """Requests left in this minute and the seconds until there is one more; None without a limit. Counts one."""
        if not self.rate:
            return None
        now, sent = self.clock(), self._requests.setdefault(account, [])
        while sent and sent[0] <= now - 60:
            sent.pop(0)
        if len(sent) >= self.rate:
            return -1, sent[0] + 60 - now
        sent.append(now)
        return self.rate - len(sent), 60 - (now - sent[0])

    # --- what happens ---------------------------------------------------------------------------------------------------------
    def accept(self, step: Step) -> None:
        """Let a step happen, and the accounts take it in."""
        if step.kind == ROWS:
            self.accept_rows(step, step.hi - step.lo)
            return
        self.market.accept(step)
        if step.kind == REPORT:
            account = self.account_of[step.venue]
            account.on_report(step.report)
            self.planned.spoil(account, self.market.now)

    def accept_rows(self, step: Step, n: int) -> None:
        """Let the first `n` rows of a run happen. A phase always comes alone."""
        self.market.accept(step, n)
        row = self.market.rows(step.lo, step.lo + 1)[0]
        if row.kind == PHASE and row.side == OPEN:
            for account in self.accounts.values():
                account.on_open()
        self.bars.upto(self.market.now)
        for account in self.accounts.values():
            account.sample()

    def dispatch(self) -> None:
        """What accounts have to send leaves now, and what waited for this time reaches their listeners."""
        self.planned.release(self.market.now)
        for account in self.accounts.values():
            for request in account.outbox:
                account.venue.send(request, self.market.now)
            account.outbox.clear()
            self.tell(account)

    def tell(self, account: Account) -> None:
        """Updates to the account's listeners."""
        while account.updates:
            for data in self.faults.mangled(account, account.updates.popleft()):
                self.send_update(account, data)

    def send_update(self, account: Account, data: dict) -> None:
        text = json.dumps({"stream": "trade_updates", "data": data}).encode()
        for c in self.listeners(account):
            c.put(text)

    def listeners(self, account: Account) -> list[TradeStream]:
        return [c for c in self.trade_streams if c.listening and c.account is account]

    def encode(self, rows: np.recarray) -> list[Encoded]:
        """Rows as encoded messages; some have none."""
        return [(n, channel, k, msgpack.packb(m)) for n, channel, k, m in self._encoder.rows(rows)]

    def book_snapshot(self, k: int) -> dict:
        """The whole book as an orderbook message."""
        book = self.market.book(k)
        levels = [(1, px, size) for px, size in book.bids.items()] + [(-1, px, size) for px, size in book.asks.items()]
        return self._encoder.book(k, self.market.now, levels, True)

    def bar_message(self, k: int, bar: tuple, T: str) -> dict:
        """A bar of the stream, of `replay.serve.bars.bars`."""
        return self._encoder.bar(k, *bar, T)

    def deliver(self, step: Step) -> None:
        """A step outside lockstep: it happens, everyone concerned is told, and what that made accounts send leaves."""
        self.accept(step)
        if step.kind == ROWS:
            wanted = {channel for c in self.data_streams for channel in c.wants}
            if wanted:
                encoded = self.encode(self.market.rows(step.lo, step.hi))
                for c in self.data_streams:
                    c.offer(encoded)
        self.dispatch()

    # --- the clock --------------------------------------------------------------------------------------------------------------
    def wake(self) -> None:
        """A client subscribes or sends an order: a clock that stood at the session's start begins to run."""
        if not self.started and not self.lockstep:
            self.started = True
            start = max(self.market.now, self.session.manifest.start_ns - 1)
            self._epoch = (self.clock(), time.time_ns() if self.live else start)
        self.stir()

    def attend(self) -> None:
        """A client is there, whatever it wants: at a pace time passes from now on, asked for or not, unless it is held."""
        if not self._attended and isinstance(self.speed, float):
            self._attended = True
            self.catch_up()
            self.stir()

    def hold(self) -> None:
        """A client that knows us comes first: the clock waits up to `HOLD_S` for it to subscribe, so that it sees the session's first row. While
        nobody wants anything else, each that asks has as long anew."""
        if not self._attended:
            self._held = self.clock()

    def stir(self) -> None:
        """Something was sent: the clock looks again at what comes next."""
        self._woken.set()

    def wall(self) -> float:
        """Seconds since 1970, for the headers that say when a rate limit ends."""
        return time.time()

    def session_now(self) -> int:
        """Session time of a paced clock."""
        wall, start = self._epoch
        return start + round((self.clock() - wall) * self.speed * 1e9)

    def catch_up(self) -> None:
        """Bring a paced market to the present."""
        if not self.started and self._attended and (self._held is None or self.clock() - self._held >= HOLD_S):
            self.wake()
        if self.started and isinstance(self.speed, float):
            self.advance(self.session_now())

    def advance(self, until_ns: int | None, rows: int | None = None) -> None:
        """Go through everything up to a time, or over a number of rows."""
        self.dispatch()
        end = None if rows is None else self.market.i + rows
        while end is None or self.market.i < end:
            most = RUN if end is None else min(RUN, end - self.market.i)
            step = self.market.peek(until_ns, most, exact=False)
            if step is None:
                break
            self.deliver(step)
        if until_ns is not None and end is None:
            self.market.rest(until_ns)
            self.dispatch()

    async def run(self) -> None:
        """The clock of every speed but lockstep; returns when the session is over."""
        while not self.market.done:
            if self.lockstep or not (self.started or self._attended):
                self._woken.clear()
                await self._woken.wait()
            elif self.speed == "max":
                await self._run_full()
            else:
                self.catch_up()
                self._drop_slow()
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._pause())

    def _pause(self) -> float:
        """Wall seconds until something may happen."""
        if not self.started:
            return IDLE_S
        if any(v.busy for v in self.market.venues):
            return TICK_S
        upcoming = self.market.next_ns()
        return IDLE_S if upcoming is None else min(IDLE_S, max(TICK_S, (upcoming - self.session_now()) / self.speed / 1e9))

    async def _run_full(self) -> None:
        """One run of rows as fast as the slowest client takes them."""
        step = self.market.peek(None, RUN, exact=False)
        self.deliver(step)
        await asyncio.sleep(0)
        while any(len(c.out) > FULL_FRAMES and not c.closing for c in self.data_streams):
            await asyncio.sleep(TICK_S)

    def _drop_slow(self) -> None:
        for c in self.data_streams:
            if len(c.out) > SLOW_FRAMES and not c.closing:
                c.forget()
                c.refuse(407)
                c.close()
