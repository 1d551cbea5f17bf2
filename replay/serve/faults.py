"""What goes wrong on request: ``POST /replay/v1/faults``.

::

    {"seed": 1, "faults": [{"kind": "lost_answer", "count": 2}, {"kind": "duplicate", "probability": 0.1, "count": null}]}

arms faults beside those armed already; ``{"clear": true}`` disarms all. Each has

- `kind`, below; `count`: how often it happens (1; null: without end); `probability`: the chance at each occasion (1), drawn from `seed`;
- for requests, `method` and `path` (its beginning): only those; for streams, `stream`: the beginning of the path, as ``/stream`` or ``/v2/``.

====================  ================================================================================================
kind                  what happens
====================  ================================================================================================
lost_answer           a request is carried out and answered with 504
lost_request          a request is answered with 504 and not carried out
rate_limited          429 without any header
html                  500 with an HTML page
unavailable           503
reset                 a request is carried out, and the connection is reset instead of an answer
slow                  a request is carried out, its answer takes `seconds`
fill_first            an order is carried out, and its answer waits until its fill is on the stream (2 s at most)
hold                  trade updates wait until ``release``: a cancel of an order that has filled meets 422
release               what was held is sent, in order
mute                  open streams say nothing more, answer pings, and what they would have said is lost
unmute                and speak again
drop                  open streams are closed; updates until the client is back are lost
abort                 the same without a closing handshake
connection_limit      a market-data stream is refused with 406
symbol_limit          from now on subscriptions to more than `n` symbols are refused with 405 (null: no limit)
unknown_event         a trade update comes with an event nobody knows
unknown_status        a trade update's order has a status nobody knows
duplicate             a trade update comes twice
slow_client           open market-data streams are told 407 and closed
====================  ================================================================================================
"""

from __future__ import annotations

import dataclasses
import random

from replay.errors import BadInput
from replay.serve.account import Account

REQUEST_KINDS = ("lost_answer", "lost_request", "rate_limited", "html", "unavailable", "reset", "slow", "fill_first")
UPDATE_KINDS = ("unknown_event", "unknown_status", "duplicate")
STREAM_KINDS = ("mute", "unmute", "drop", "abort", "slow_client")
KINDS = (*REQUEST_KINDS, *UPDATE_KINDS, *STREAM_KINDS, "hold", "release", "connection_limit", "symbol_limit")


MOST_COUNT, MOST_S = 1_000_000_000, 3600


@dataclasses.dataclass(slots=True)
class Fault:
    kind: str
    count: int | None = 1
    probability: float = 1.0
    method: str | None = None
    path: str = ""
    stream: str = ""
    seconds: float = 0.0
    n: int | None = None


def _fault(given: object) -> Fault:
    """A fault as a request says it. Raises `BadInput`."""
    fields = {f.name for f in dataclasses.fields(Fault)}
    if not isinstance(given, dict) or given.get("kind") not in KINDS or set(given) - fields:
        raise BadInput(f"faults: kind must be one of {', '.join(KINDS)} with {', '.join(sorted(fields))}, got {str(given)[:200]}")
    f = Fault(**given)
    for name, good, what in (
        ("count", f.count is None or _within(f.count, int, 1, MOST_COUNT), f"a whole number from 1 to {MOST_COUNT:,}, or null"),
        ("probability", _within(f.probability, (int, float), 0, 1), "a number from 0 to 1"),
        ("method", f.method is None or isinstance(f.method, str), "a word such as POST, or null"),
        ("path", isinstance(f.path, str), "the beginning of a path"),
        ("stream", isinstance(f.stream, str), "the beginning of a path"),
        ("seconds", _within(f.seconds, (int, float), 0, MOST_S), f"a number from 0 to {MOST_S:,}"),
        ("n", f.n is None or _within(f.n, int, 0, MOST_COUNT), f"a whole number from 0 to {MOST_COUNT:,}, or null"),
    ):
        if not good:
            raise BadInput(f"faults: {f.kind}: {name}: expected {what}, got {str(given[name])[:100]!r}")
    return f


def _within(value: object, kinds: type | tuple[type, ...], least: float, most: float) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most


class Faults:
    """Armed faults, oldest first. `take` asks for one and uses it up."""

    def __init__(self):
        self.armed: list[Fault] = []
        self.symbol_limit: int | None = None
        self.held: list[tuple[Account, dict]] | None = None  # trade updates that wait
        self._random = random.Random(0)

    def arm(self, body: object) -> list[Fault]:
        """Arm what a request asks for; returns those that act on open streams at once. Raises `BadInput`."""
        if not isinstance(body, dict) or not isinstance(body.get("faults", []), list):
            raise BadInput('faults: expected {"faults": [{"kind": ...}]}, see replay.serve.faults')
        if (
            set(body) - {"clear", "seed", "faults"}
            or type(body.get("clear", False)) is not bool
            or type(body.get("seed", 0)) is not int
        ):
            raise BadInput("faults: expected faults, a list, clear, true or false, and seed, a whole number")
        new = [_fault(f) for f in body.get("faults", [])]
        if body.get("clear"):
            self.armed.clear()
        if "seed" in body:
            self._random = random.Random(body["seed"])
        self.armed += [f for f in new if f.kind in REQUEST_KINDS + UPDATE_KINDS + ("connection_limit",)]
        for f in new:
            if f.kind == "symbol_limit":
                self.symbol_limit = f.n
            elif f.kind == "hold":
                self.held = self.held or []
        return [f for f in new if f.kind in (*STREAM_KINDS, "release")]

    def take(self, *kinds: str, method: str = "", path: str = "", stream: str = "") -> Fault | None:
        """The oldest armed fault of these kinds that fits the occasion and whose draw falls."""
        for f in self.armed:
            fits = f.kind in kinds and f.method in (None, method) and path.startswith(f.path) and stream.startswith(f.stream)
            if not fits or (f.probability < 1 and self._random.random() >= f.probability):
                continue
            if f.count is not None:
                f.count -= 1
                if f.count <= 0:
                    self.armed.remove(f)
            return f
        return None

    def mangled(self, account: Account, data: dict) -> list[dict]:
        """What becomes of a trade update: nothing while updates are held, else itself, spoiled or twice."""
        if self.held is not None:
            self.held.append((account, data))
            return []
        f = self.take(*UPDATE_KINDS)
        if f is None:
            return [data]
        if f.kind == "unknown_event":
            return [{**data, "event": "moon_phase"}]
        if f.kind == "unknown_status":
            return [{**data, "order": {**data["order"], "status": "in_limbo"}}]
        return [data, data]
