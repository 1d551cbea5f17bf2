"""Minute bars, one message a minute: from the stream, and those of a gap from the historical API."""

from __future__ import annotations

from collections.abc import Callable

from replay.events import EVENT, LAST
from replay.live.alpaca.streams import Streams
from replay.live.broker import Row
from replay.live.hops import stamp

_AT = EVENT.fields["instrument"][1]
INSTRUMENT = slice(_AT, _AT + EVENT["instrument"].itemsize)  #: of an event's bytes
BARS_S = 2.0  #: how long the bars of one minute are waited for after the first


class Bars:
    """Everything here happens in the streams' own thread. `put` takes the rows, `n` is how many symbols there are."""

    def __init__(self, streams: Streams, put: Callable[[Row], None], n: int):
        self.streams, self.put, self.n = streams, put, n
        self.last = 0  # the close of the newest minute given, ns
        self._minute: list[bytes] = []  # the newest minute, until it is complete
        self._heard = 0  # when the newest bar was heard
        self._filled = 0  # the newest close that history gave
        self._given: set[bytes] = set()  # whose bars of it: history may not have had all yet
        self._filling, self._late = 0, []  # gaps whose bars are being fetched, and what the stream has brought meanwhile

    def hear(self, event: bytes, heard: int) -> None:
        """A bar of the stream. A minute ends when every symbol's is in, or `BARS_S` after the first."""
        if self._filling:
            self._late.append((event, heard))
            return
        close = close_of(event)
        if close < self._filled or (close == self._filled and event[INSTRUMENT] in self._given):
            return
        if self._minute and self._minute[0][:8] != event[:8]:
            self._end()
        self._minute.append(event)
        self._heard = heard
        if len(self._minute) == self.n:
            self._end()
        elif len(self._minute) == 1:
            self.streams.later(BARS_S, lambda first=event: self._end() if self._minute and self._minute[0] is first else None)

    def cut(self) -> None:
        """The stream has broken: a minute that is not complete will be fetched."""
        self._late += [(event, self._heard) for event in self._minute]
        self._minute = []

    def gap(self) -> int:
        """There was a gap: until `fill`, what the stream brings waits. Returns the close of the newest bar before it."""
        self._filling += 1
        return self.last

    def fill(self, minutes: dict[int, list[bytes]]) -> None:
        """The bars of a gap by close; then what has waited: none twice, none before an older one."""
        self._filling -= 1
        for close, events in sorted(minutes.items()):
            if close > self.last:
                self._give(close, events, 0)
                self._filled, self._given = close, {event[INSTRUMENT] for event in events}
        late, self._late = self._late, []
        for event, heard in late:
            self.hear(event, heard)

    def _end(self) -> None:
        minute, self._minute = self._minute, []
        self._give(close_of(minute[0]), minute, self._heard)

    def _give(self, close: int, minute: list[bytes], heard: int) -> None:
        """The last of a minute is marked as such."""
        self.last = close
        for event in minute[:-1]:
            self.put(Row(event))
        newest = minute[-1]
        flags = int.from_bytes(newest[18:20], "little") | LAST
        self.put(Row(newest[:18] + flags.to_bytes(2, "little") + newest[20:], 0, 0, heard, stamp()))


def close_of(bar: bytes) -> int:
    """When a bar's event closed, ns."""
    return int.from_bytes(bar[:8], "little")
