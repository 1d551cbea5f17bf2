"""Requests for history: under the rate limit, tried again where that may help, refused in one line where it will not."""

from __future__ import annotations

import time
from collections.abc import Callable

from replay.errors import BadInput
from replay.live.alpaca.lanes import Bucket
from replay.live.alpaca.rest import DONE, LATER, UNAUTHORIZED, UNKNOWN, Answer

TRIES = 8  #: failures in a row before a download gives up; what is finished stays
LONGEST_S = 30.0


class Asking:
    """One request after the other. `rate`: requests a minute, 0 for no limit; a tenth of them may go at once.

    `requests`, `throttled` (429) and `failed` count what happened.
    """

    def __init__(self, rate: int, sleep: Callable[[float], None] = time.sleep):
        self._bucket = Bucket(rate * 0.85, max(1.0, rate * 0.1)) if rate else None
        self._sleep = sleep
        self.requests = self.throttled = self.failed = 0

    def answer(self, what: str, ask: Callable[[], Answer]) -> object:
        """The body of an answer to `ask`. Raises `BadInput`, naming `what`, for a refusal and after `TRIES` failures in a row."""
        for attempt in range(TRIES):
            while self._bucket is not None and (wait := self._bucket.wait_s(0)) > 0:
                self._sleep(max(wait, 0.001))  # a wait that rounds to nothing would never end
            self.requests += 1
            a = ask()
            if a.outcome == DONE:
                return a.body
            if a.outcome not in (LATER, UNKNOWN):
                hint = (
                    "check the keys" if a.outcome == UNAUTHORIZED else "correct the request, or see what the account may ask for"
                )
                raise BadInput(f"{what}: {a.text}: {hint}")
            limited = a.outcome == LATER and a.text != "no connection"
            self.throttled += limited
            self.failed += not limited
            if limited and self._bucket is not None:
                self._bucket.empty()
            self._sleep(max(a.after_s, min(2.0**attempt, LONGEST_S)))
        raise BadInput(f"{what}: {a.text}, {TRIES} times in a row: try later; what is finished is kept, the same command goes on")
