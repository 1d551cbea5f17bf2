"""What the server answers: a route for each path it serves, and a sentence for each of Alpaca's that it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from replay.serve.parameters import Rules, examine

if TYPE_CHECKING:
    from replay.serve.account import Account


class Call(NamedTuple):
    """A request; `account` is None only where a path wants no keys. `args` are the parts of the path, `first_byte_ns` of the steady clock when
    it began to come."""

    account: Account | None
    args: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    first_byte_ns: int = 0


Answer = tuple[int, Any]


class Route(NamedTuple):
    """A path that is served; `open`: without keys too; `dated`: its answer needs the exchange's calendar, which takes a while to read."""

    method: str
    path: str
    endpoint: Callable[[Call], Answer]
    rules: Rules = {}
    open: bool = False
    dated: bool = False

    def answer(self, c: Call) -> Answer:
        """Raises `ApiError`."""
        examine(c.query, self.rules)
        return self.endpoint(c)


#: paths that Alpaca has and a session cannot answer, and why
ABSENT = [
    (re.compile(pattern), why)
    for pattern, why in (
        (r"/v1beta1/news", "a session holds no news"),
        (r"/v1/corporate-actions|/v2/corporate_actions/.*", "a session holds no corporate actions"),
        (r"/v1beta1/options/.*|/v2/options/.*|/v2/positions/[^/]+/(do-not-)?exercise", "options are not simulated"),
        (r"/v1beta1/screener/.*", "a session is no whole market"),
        (r"/v2/stocks/(.*/)?auctions", "a session marks no auctions"),
        (r"/v2/stocks/meta/.*|/v1beta1/logos/.*", "a recording does not carry it"),
        (r"/v1beta3/crypto/[^/]+/.*", "a session is one venue: ask for its pairs under /v1beta3/crypto/us"),
        (r"/v1beta1/(crypto-perps|fixed_income|forex|indices)/.*|/v2/assets/fixed_income/.*", "such instruments are not served"),
        (r"/v2/(wallets|perpetuals|tokenization)(/.*)?|/v1/locates(/.*)?", "transfers, perpetuals and locates are not simulated"),
        (r"/v2beta1/events/.*|/v[12](beta1)?/events/.*", "server-sent events are not served: trade updates come by /stream"),
    )
]


def absent(path: str) -> str | None:
    """Why a path of Alpaca's is not served; None for a path that it does not have either.

    >>> absent("/v1beta1/news"), absent("/v2/nowhere")
    ('a session holds no news', None)
    """
    return next((why for pattern, why in ABSENT if pattern.fullmatch(path)), None)
