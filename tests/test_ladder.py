"""One suite for two ladders: the fast one of the kernel and a naive one on a sorted dictionary; and both step by step together."""

import numpy as np
import pytest
import twins
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replay.kernel import ladder
from replay.kernel.arena import Arena
from replay.kernel.memory import at, entry, entry_of, record

EMPTY = ladder.EMPTY
HEADER = record(
    ("wires", "i8", (8,)), *((f"{n}_{p}", "i8") for n in ("ladders", "levels", "bits", "overflow") for p in ("at", "n"))
)


@entry
def call(base, at_, op, rank, size):
    l = at(base + at_, 2, ladder.LADDER)[1]
    if op == 0:
        return ladder.set_level(base, l, rank, size)
    if op == 1:
        return ladder.size_at(base, l, rank)
    if op == 2:
        return ladder.next_worse(base, l, rank)
    if op == 3:
        return ladder.uncross(base, l, rank)
    ladder.clear(base, l)
    return 0


class Fast:
    """The second of two ladders in an arena, so that wrong offsets show."""

    def __init__(self, width=64, capacity=1000):
        self.arena = Arena(HEADER, ladder.regions(2, width, capacity))
        ladder.prepare(self.arena, width, capacity)
        self.record = self.arena.region("ladders")[1]

    def _call(self, op, rank=0, size=0):
        return int(entry_of(call)(self.arena.base, int(self.arena.header.ladders_at), op, rank, size))

    @property
    def best(self):
        return int(self.record.best)

    def set(self, rank, size):
        return self._call(0, rank, size)

    def size_at(self, rank):
        return self._call(1, rank)

    def next_worse(self, rank):
        return self._call(2, rank)

    def uncross(self, rank):
        return self._call(3, rank)

    def clear(self):
        self._call(4)

    def all(self):
        return ladder.levels(self.arena, 1)

    def check(self):
        ladder.check(self.arena, 1)
        ladder.check(self.arena, 0)
        assert ladder.levels(self.arena, 0) == []


class Naive(twins.Ladder):
    def check(self):
        pass


@pytest.fixture(params=[Fast, Naive])
def book(request):
    made = request.param()
    yield made
    made.check()
    made.clear()
    assert (made.best, made.all()) == (EMPTY, [])
    made.check()


def test_empty(book):
    assert (book.best, book.size_at(5), book.next_worse(5), book.uncross(0), book.set(5, 0)) == (EMPTY, 0, EMPTY, 0, 0)


def test_set_answers_what_was_there(book):
    assert [book.set(100, s) for s in (5, 7, 0, 0, 3)] == [0, 5, 7, 0, 0]
    assert (book.best, book.size_at(100), book.size_at(99), book.size_at(101)) == (100, 3, 0, 0)


@pytest.mark.parametrize(
    "ranks", [[100, 99, 98, 40, -5000, 10**9], [-100, -101, -(10**12), -164, -163], [0, 63, 64, 65, 127, 128]]
)
def test_levels_come_best_first_whatever_their_order(book, ranks):
    for r in ranks:
        book.set(r, abs(r) + 1)
        book.check()
    assert book.all() == [(r, abs(r) + 1) for r in sorted(ranks, reverse=True)]
    walked, r = [], book.best
    while r != EMPTY:
        walked.append(r)
        r = book.next_worse(r)
    assert walked == sorted(ranks, reverse=True)
    assert [book.size_at(r) for r in ranks] == [abs(r) + 1 for r in ranks]


def test_next_worse_of_a_rank_that_is_no_level(book):
    for r in (10, 20, 1000):
        book.set(r, 1)
    assert [book.next_worse(r) for r in (5, 10, 11, 20, 500, 1000, 1001, 10**15)] == [EMPTY, EMPTY, 10, 10, 20, 20, 1000, 1000]


def test_the_best_falls_from_one_end_to_the_other(book):
    for r in range(0, 5000, 7):
        book.set(r, 1)
    for r in range(4998, -1, -7):
        book.set(r, 0)
        book.check()
        assert book.best == (r - 7 if r >= 7 else EMPTY)


def test_uncross(book):
    for r in range(300):
        book.set(r, 1)
    assert book.uncross(300) == 0 and book.uncross(10) == 290 and book.best == 9 and book.uncross(-1) == 10


def test_overflow_drops_the_worst_and_counts():
    book = Fast(64, 4)
    for r in (1000, 10, 20, 30, 40):
        book.set(r, 1)
    assert int(book.record.dropped) == 0
    book.set(5, 1)  # worse than all that wait
    assert int(book.record.dropped) == 1 and book.size_at(5) == 0
    book.set(25, 1)
    assert int(book.record.dropped) == 2 and [r for r, _ in book.all()] == [1000, 40, 30, 25, 20]
    book.set(5000, 1)  # the window moves away: its level waits as well
    assert int(book.record.dropped) == 3 and [r for r, _ in book.all()] == [5000, 1000, 40, 30, 25]
    book.check()


def test_widths():
    assert [ladder.width_for(n) for n in (0, 1, 32, 33, 500, 2048, 2049, 10**9)] == [64, 64, 64, 128, 1024, 4096, 4096, 4096]


class Together(RuleBasedStateMachine):
    """Every operation on both; a small overflow drops levels, which the twin then forgets too."""

    RANKS = st.one_of(
        st.integers(-40, 40), st.integers(-300, 300), st.integers(-20_000, 20_000), st.sampled_from([-(10**15), 10**15])
    )

    @initialize(
        width=st.sampled_from([64, 128, 4096]), capacity=st.sampled_from([1, 3, 8, 500]), start=st.integers(-(10**9), 10**9)
    )
    def start(self, width, capacity, start):
        self.fast, self.naive, self.zero, self.dropped = Fast(width, capacity), Naive(), start, 0

    def forget(self):
        """What the fast ladder says it dropped are the worst levels it held, and no more than it counted."""
        lost = int(self.fast.record.dropped) - self.dropped
        self.dropped += lost
        if lost:
            kept = {r for r, _ in self.fast.all()}
            gone = [r for r in self.naive.levels if r not in kept]
            assert len(gone) == lost and (not kept or max(gone) < min(kept))
            for r in gone:
                del self.naive.levels[r]

    @rule(rank=RANKS, size=st.integers(0, 5))
    def set(self, rank, size):
        assert self.fast.set(self.zero + rank, size) == self.naive.set(self.zero + rank, size)
        self.forget()

    @rule(step=st.integers(-70, 70), size=st.integers(1, 5))
    def near_the_best(self, step, size):
        self.set(self.naive.best + step - self.zero if self.naive.levels else step, size)

    @precondition(lambda self: self.naive.levels)
    @rule(k=st.integers(0, 10**6))
    def remove(self, k):
        rank = self.naive.levels.peekitem(k % len(self.naive.levels))[0]
        assert self.fast.set(rank, 0) == self.naive.set(rank, 0)
        self.forget()

    @precondition(lambda self: self.naive.levels)
    @rule()
    def remove_the_best(self):
        self.fast.set(self.naive.best, 0)
        self.naive.set(self.naive.best, 0)
        self.forget()

    @rule(rank=RANKS)
    def look(self, rank):
        for name in ("size_at", "next_worse"):
            assert getattr(self.fast, name)(self.zero + rank) == getattr(self.naive, name)(self.zero + rank)

    @rule(rank=RANKS)
    def uncross(self, rank):
        assert self.fast.uncross(self.zero + rank) == self.naive.uncross(self.zero + rank)
        self.forget()

    @rule()
    def clear(self):
        self.fast.clear()
        self.naive.clear()
        self.dropped = int(self.fast.record.dropped)

    @invariant()
    def same(self):
        if hasattr(self, "fast"):
            self.fast.check()
            assert (self.fast.best, self.fast.all()) == (self.naive.best, self.naive.all())


TestTogether = Together.TestCase
TestTogether.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
assert np.dtype(ladder.LEVEL).itemsize == 16
