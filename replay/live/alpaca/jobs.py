"""What is done about each request: sent once, and its fate found out."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import TYPE_CHECKING

from replay.errors import BadInput
from replay.live import broker as B
from replay.live.alpaca import wire
from replay.live.alpaca.rest import DONE, DUPLICATE, LATER, REFUSED, UNAUTHORIZED, UNKNOWN, WITHHELD, Answer, Rest
from replay.live.alpaca.streams import UPDATES
from replay.live.broker import Leave, Link
from replay.live.desk import Command
from replay.live.hops import stamp
from replay.trader.orders import EXEC_CANCELED, EXEC_REJECTED, EXEC_REPLACE_REJECTED, EXEC_UNKNOWN

if TYPE_CHECKING:
    from replay.live.alpaca.adapter import Alpaca as Adapter

PATIENCE_S = 5.0  #: how old an order or replace may be when it leaves: what the rate limit held back for longer is refused here
REFUSED_S = 1.0  #: between two tries of a request whose keys were not accepted
SETTLE_S = 15.0  #: how long an order may be missing at the broker before it is sure that it never arrived
LOOK_S = (0.2, 0.5, 1.0, 2.0, 4.0)  #: between two look-ups; the last repeats


@dataclasses.dataclass(slots=True)
class Route:
    """Where an order of ours lives at the broker: the newest of its replace chain. `filled`: the lots that each order of the chain has
    traded, by the broker's ids; `posting`: the job that sends it, until its answer has come; `looking`: it is being looked up;
    `asking`: cancels and replaces that have no answer yet."""

    order_id: str = ""
    filled: dict[str, int] = dataclasses.field(default_factory=dict)
    posting: New | None = None
    looking: bool = False
    asking: int = 0

    @property
    def cum(self) -> int:
        """Lots of the whole chain."""
        return sum(list(self.filled.values()))

    def base(self, order_id: str) -> int:
        """Lots of its other orders."""
        return self.cum - self.filled.get(order_id, 0)


class NoAnswer(Exception):
    """A query had no answer."""

    def __init__(self, answer: Answer, path: str):
        super().__init__(f"{path}: {answer.text}")
        self.answer = answer


class _Job:
    """A request that may have to be made again."""

    def __init__(self, adapter: Adapter, root: str):
        self.adapter, self.root = adapter, root
        self.until = time.monotonic() + PATIENCE_S

    @property
    def stale(self) -> bool:
        """Whether it has waited for so long that the market it was meant for is another."""
        return not self.adapter.lockstep and time.monotonic() > self.until


class New(_Job):
    def __init__(self, adapter: Adapter, command: Command, root: str, leave: Leave):
        super().__init__(adapter, root)
        self.command, self.leave = command, leave
        self._begun = threading.Lock()

    def withdraw(self) -> bool:
        """Whether it has not left, and now never will."""
        return self._begun.acquire(blocking=False)

    def __call__(self, rest: Rest) -> float | None:
        if not self._begun.acquire(blocking=False):
            return None  # withdrawn
        again = self._send(rest)
        if again is not None:
            self._begun.release()
        return again

    def _send(self, rest: Rest) -> float | None:
        adapter, route = self.adapter, self.adapter.routes[self.root]
        scale, begun = adapter.by_index[self.command.instrument], stamp()
        if self.stale:
            a = Answer(REFUSED, None, f"it waited for more than {PATIENCE_S:.0f} s to be sent")
        else:
            try:
                body = wire.new_order(self.command, scale, self.root, adapter.extended())
                a = rest.call("post", "/orders", body, self.leave)
            except BadInput as e:
                a = Answer(REFUSED, None, str(e))
        if a.outcome == LATER:
            adapter.rate_limited += 1
            return a.after_s
        if a.outcome == UNAUTHORIZED and not adapter.logins.hopeless:
            return REFUSED_S  # it was not taken
        route.posting = None
        if a.outcome == WITHHELD:
            return None
        if a.outcome == DONE:
            self.leave.left(self.root, begun, rest.session.prepared, rest.session.written)
            route.order_id = route.order_id or a.body["id"]
            if a.body["status"] == "rejected":
                adapter.tell(self.root, EXEC_REJECTED, "rejected at once")
        elif a.outcome == UNKNOWN:
            adapter.tell(self.root, EXEC_UNKNOWN, a.text)
            adapter.look(self.root)
        elif a.outcome == DUPLICATE:
            adapter.look(self.root)
        else:
            adapter.tell(self.root, EXEC_REJECTED, a.text)
        return None


class _Request(_Job):
    """A cancel or a replace: while it has no answer, a look-up says nothing about it."""

    def __init__(self, adapter: Adapter, root: str, leave: Leave | None):
        super().__init__(adapter, root)
        self.leave = leave
        self.route = adapter.routes.setdefault(root, Route())
        self.route.asking += 1

    def __call__(self, rest: Rest) -> float | None:
        again = self._send(rest)
        if again is None:
            self.route.asking -= 1
        return again


class Cancel(_Request):
    def _send(self, rest: Rest) -> float | None:
        adapter, route = self.adapter, self.route
        if not route.order_id:
            posting = route.posting
            if posting is not None:
                if posting.withdraw():
                    route.posting = None
                    adapter.tell(self.root, EXEC_CANCELED, "withdrawn before it was sent")
                    return None
                return 0.02  # it is on its way: the answer brings the id
            with contextlib.suppress(NoAnswer):
                adapter.looked(self.root, rest)
            if not route.order_id:
                adapter.look(self.root)
                return None
        a = rest.call("delete", f"/orders/{route.order_id}", leave=self.leave)
        if a.outcome in (LATER, UNKNOWN):  # asking twice for a cancellation does no harm
            return a.after_s or 0.5
        if a.outcome == UNAUTHORIZED and not adapter.logins.hopeless:
            return REFUSED_S
        if a.outcome not in (DONE, WITHHELD, UNAUTHORIZED):
            adapter.look(self.root)
        return None


class Replace(_Request):
    def __init__(self, adapter: Adapter, command: Command, root: str, new_id: str, leave: Leave):
        super().__init__(adapter, root, leave)
        self.command, self.new_id = command, new_id

    def _send(self, rest: Rest) -> float | None:
        adapter, route = self.adapter, self.route
        if not route.order_id and route.posting is not None:
            return 0.02
        scale = adapter.by_index[self.command.instrument]
        if not route.order_id or self.command.qty <= route.cum or self.stale:
            adapter.tell(
                self.root, EXEC_REPLACE_REJECTED, f"nothing is left to replace, or it waited for more than {PATIENCE_S:.0f} s"
            )
            return None
        body = wire.replacement(self.command, scale, route.cum, self.new_id)
        a = rest.call("patch", f"/orders/{route.order_id}", body, self.leave)
        if a.outcome == LATER:
            adapter.rate_limited += 1
            return a.after_s
        if a.outcome == UNAUTHORIZED and not adapter.logins.hopeless:
            return REFUSED_S
        if a.outcome in (UNKNOWN, DUPLICATE):
            adapter.look(self.root)
        elif a.outcome not in (DONE, WITHHELD):
            adapter.tell(self.root, EXEC_REPLACE_REJECTED, a.text)
        return None


class Look(_Job):
    """Ask until the broker knows the order and nothing about it is under way, or has not known it for `SETTLE_S`."""

    def __init__(self, adapter: Adapter, root: str):
        super().__init__(adapter, root)
        self.tries, self.sure = 0, time.monotonic() + SETTLE_S

    def __call__(self, rest: Rest) -> float | None:
        again = self._ask()
        if again is None:
            self.adapter.routes[self.root].looking = False
        return again

    def _ask(self) -> float | None:
        self.tries += 1
        again = LOOK_S[min(self.tries, len(LOOK_S) - 1)]
        try:
            looked = self.adapter.looked(self.root)
        except NoAnswer:
            return again
        except wire.Unknown as e:
            self.adapter.put(Link(UPDATES, True, f"not understood: {e}", fatal=True))
            return None
        if looked.seen is None and time.monotonic() < self.sure:
            return again
        self.adapter.put(looked)
        return again if looked.seen is not None and looked.seen.state == B.PENDING else None
