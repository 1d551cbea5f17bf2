"""What orders were at each moment: quantity and prices as sent, and as each granted replace made them."""

from __future__ import annotations

import numpy as np

from replay.trader import layout as T
from replay.trader.orders import EXEC_REPLACED
from replay.trader.output import OUT_NEW, OUT_REPLACE, OUT_REPORT


class Terms:
    """The versions of a run's orders, by order and then by time. `at`: the record (its place among all) from which a version holds.

    `order`, `at`, `qty`, `limit`, `stop`: one value a version, ordinals, lots and ticks. Cost: a sort of the orders and replaces.
    """

    def __init__(self, said: np.ndarray, kind: np.ndarray):
        self._n = len(said) + 1
        new, asked, reports = (np.flatnonzero(kind == k) for k in (OUT_NEW, OUT_REPLACE, OUT_REPORT))
        told = said[reports]
        granted = reports[(told["flags"] >> 8 == EXEC_REPLACED) & (told["d"] & 1 == 1)]
        self.first = np.sort(said["a"][new] >> T.SLOT_BITS)
        # one replace is outstanding an order: what is granted is the last that was asked for
        asked = asked[np.argsort(self._key(said["a"][asked] >> T.SLOT_BITS, asked), kind="stable")]
        if len(asked):
            keys = self._key(said["a"][asked] >> T.SLOT_BITS, asked)
            request = asked[np.searchsorted(keys, self._key(said["a"][granted] >> T.SLOT_BITS, granted)) - 1]
        else:
            request, granted = asked, granted[:0]
        rows, at = np.r_[new, request], np.r_[new, granted]
        order = said["a"][rows] >> T.SLOT_BITS
        self._keys = self._key(order, at)
        rank = np.argsort(self._keys, kind="stable")
        rows, self._keys = rows[rank], self._keys[rank]
        self.order, self.at = order[rank], at[rank]
        self.qty, self.limit, self.stop = said["b"][rows], said["c"][rows], said["d"][rows]

    def _key(self, order: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.first, order) * self._n + at

    def rows(self, order: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The version of each order when the record `at` was said."""
        return np.searchsorted(self._keys, self._key(order, at), "right") - 1

    def last(self, order: np.ndarray) -> np.ndarray:
        """The version of each order at the end."""
        return self.rows(order, np.full(len(order), self._n - 1))

    def replaced(self, order: np.ndarray) -> np.ndarray:
        """How many replaces of each order were granted."""
        return self.last(order) - np.searchsorted(self._keys, self._key(order, np.zeros(len(order), np.int64)))
