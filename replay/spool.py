"""What a trader said, kept in order: in memory, or in a file where a long run says more than memory should hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from replay.events import EVENT

#: 8 MiB: numpy asks for pieces this large in huge pages, and a first touch of small ones costs more than the records.
BLOCK_ROWS = 1 << 17


class Spool:
    """Rows written in place and read as one array. With a `path` they go to that file and memory stays flat.

    `room` is how many rows `room()` has.

    >>> kept = Spool(room=2)
    >>> kept.room()[:2] = np.zeros(2, EVENT); kept.take(2); len(kept.rows())
    2
    """

    def __init__(self, path: Path | None = None, *, room: int, before: np.ndarray | None = None):
        self.path, self._room = path, room
        self._file = open(path, "wb") if path else None  # noqa: SIM115  (`remove` closes it)
        self._full = [] if before is None else [before]
        self._block, self._taken = np.empty(room if path else 0, EVENT), 0

    def room(self) -> np.ndarray:
        """Where the next rows go."""
        if len(self._block) - self._taken < self._room:
            if self._taken:
                self._full.append(self._block[: self._taken])
            self._block, self._taken = np.empty(BLOCK_ROWS, EVENT), 0
        return self._block[self._taken : self._taken + self._room]

    def take(self, n: int) -> None:
        """The first `n` rows of `room` have been written."""
        if self._file:
            self._file.write(self._block[:n])
        else:
            self._taken += n

    def rows(self) -> np.recarray:
        """Everything so far. From a file: mapped, not read."""
        if self._file:
            self._file.flush()
            if not self._file.tell():
                return np.zeros(0, EVENT).view(np.recarray)
            return np.memmap(self.path, EVENT, "r").view(np.recarray)
        if not self._full:
            return self._block[: self._taken].view(np.recarray)
        if self._taken or len(self._full) > 1:
            self._full = [np.concatenate([*self._full, self._block[: self._taken]])]
            self._block, self._taken = self._block[self._taken :], 0
        return self._full[0].view(np.recarray)

    def remove(self) -> None:
        """No more rows come, and nobody reads them any more."""
        if self._file:
            self._file.close()
            self.path.unlink(missing_ok=True)
