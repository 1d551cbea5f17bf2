"""Requests for history: under the rate limit, tried again where that may help, refused in one line where it will not."""

from __future__ import annotations

import time
from collections.abc import Callable

from replay.errors import BadInput
from replay.live.alpaca.lanes import Bucket

TRIES = 8  #: failures in a row before a download gives up; what is finished stays
LONGEST_S = 30.0


class Again(Exception):
    """A request that may be made again: it failed, or (`limited`) there were too many, so that `after_s` have to pass."""

    def __init__(self, text: str, after_s: float = 0.0, limited: bool = False):
        super().__init__(text)
        self.after_s, self.limited = after_s, limited


class Asking:
    """One request after the other. `rate`: requests a minute, 0 for no limit of ours; a tenth of them may go at once.

    `requests`, `throttled` and `failed` count what happened.

    >>> asking, answers = Asking(0, sleep=lambda seconds: None), [1]
    >>> asking.answer("AAPL", answers.pop), asking.requests
    (1, 1)
    """

    def __init__(self, rate: int, sleep: Callable[[float], None] = time.sleep):
        self._bucket = Bucket(rate * 0.85, max(1.0, rate * 0.1)) if rate else None
        self._sleep = sleep
        self.requests = self.throttled = self.failed = 0

    def answer(self, what: str, ask: Callable[[], object]) -> object:
        """What `ask` returns, which raises `Again` where it may be tried again. Raises `BadInput`, naming `what`, after `TRIES` of these."""
        for attempt in range(TRIES):
            while self._bucket is not None and (wait := self._bucket.wait_s(0)) > 0:
                self._sleep(max(wait, 0.001))  # a wait that rounds to nothing would never end
            self.requests += 1
            try:
                return ask()
            except Again as e:
                text = str(e)
                self.throttled += e.limited
                self.failed += not e.limited
                if e.limited and self._bucket is not None:
                    self._bucket.empty()
                self._sleep(max(e.after_s, min(2.0**attempt, LONGEST_S)))
        raise BadInput(f"{what}: {text}, {TRIES} times in a row: try later; what is finished is kept, the same command goes on")
