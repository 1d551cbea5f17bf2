"""Recorded markets: sessions, what they hold, and where they come from.

`replay.data.session` is the centre; `lean`, `binance` and `synth` make sessions, `store` keeps them on disk.
"""

from replay.data.instruments import Instrument
from replay.data.manifest import Manifest, Source
from replay.data.session import Session

__all__ = ["Instrument", "Manifest", "Session", "Source"]
