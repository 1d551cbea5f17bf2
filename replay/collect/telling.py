"""What a recording says of itself: JSON lines, one line on a terminal that is always the newest, or a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import msgspec
from rich.live import Live
from rich.text import Text

from replay.data.times import utc_text
from replay.show import console, labelled
from replay.terminal import exact

if TYPE_CHECKING:
    from replay.collect.record import Recorder

MINUTE_S = 60.0


class Telling:
    """Called with each thing that happens; `watch` names the recorder that is looked at."""

    def __init__(self, json: bool):
        self._json, self._recorder, self._console = json, None, console()
        watched = not json and sys.stdout.isatty()
        self._live = (
            Live(get_renderable=self._line, console=self._console, refresh_per_second=2, transient=True) if watched else None
        )
        self._seen = (time.monotonic(), 0)
        self._said_s = 0.0

    def __enter__(self) -> Telling:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, recorder: Recorder) -> None:
        """What the line is of."""
        self._recorder = recorder

    def __call__(self, said: dict) -> None:
        if self._json:
            print(exact(msgspec.json.encode({"at": utc_text(time.time_ns()), **said}).decode()), flush=True)
        elif said["what"] != "progress":
            parts = [{True: "up", False: "down"}.get(v, str(v)) for name, v in said.items() if name != "what" and v != ""]
            self._console.print(labelled(said["what"], *parts))
        elif self._live is None and time.monotonic() - self._said_s >= MINUTE_S:
            self._said_s = time.monotonic()
            self._console.print(self._line())

    def ended(self, recorder: Recorder) -> None:
        """The last that is said."""
        status = recorder.status()
        if self._json:
            self({"what": "ended", **status, "days": [str(day) for day in recorder.made]})
            return
        self._console.print(_words("recorded", status))
        for day in recorder.made:
            self._console.print(labelled("next", f"replay run {day} --strategy ema_cross"))

    def _line(self) -> Text:
        if self._recorder is None:
            return Text("connecting")
        status, now = self._recorder.status(), time.monotonic()
        at, events = self._seen
        rate = (status["events"] - events) / max(now - at, 1e-9)
        if now - at > 1:
            self._seen = now, status["events"]
        return _words("recording" if status["up"] else "no link", status, f"   {rate:,.0f}/s")


def _words(state: str, s: dict, rate: str = "") -> Text:
    lag = f"   lag {s['lag_ms']:,.0f} ms" if s["lag_ms"] is not None else ""
    return labelled(
        state,
        f"{s['day']}   {s['events']:,} events{rate}{lag}   gaps {s['gaps']}   {s['raw_bytes'] / 1e6:,.1f} MB   {s['feed_time']}",
    )
