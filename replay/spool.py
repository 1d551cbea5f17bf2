"""What a trader said, kept in order: in memory, or in a file where a long run says more than memory should hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from replay.events import EVENT


class Spool:
    """Rows appended block by block, read as one array. With a `path` they go to that file and memory stays flat.

    >>> kept = Spool()
    >>> kept.append(np.zeros(2, EVENT)); kept.append(np.zeros(1, EVENT)); len(kept.rows())
    3
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self._file = open(path, "wb") if path else None  # noqa: SIM115  (`remove` closes it)
        self._blocks: list[np.ndarray] = []

    def append(self, rows: np.ndarray) -> None:
        """Keep a copy of `rows`."""
        if self._file:
            self._file.write(rows)
        else:
            self._blocks.append(rows.copy())

    def rows(self) -> np.recarray:
        """Everything so far. From a file: mapped, not read."""
        if self._file:
            self._file.flush()
            if not self._file.tell():
                return np.zeros(0, EVENT).view(np.recarray)
            return np.memmap(self.path, EVENT, "r").view(np.recarray)
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return (self._blocks[0] if self._blocks else np.zeros(0, EVENT)).view(np.recarray)

    def remove(self) -> None:
        """No more rows come, and nobody reads them any more."""
        if self._file:
            self._file.close()
            self.path.unlink(missing_ok=True)
