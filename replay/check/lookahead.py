"""The proof that a decision used nothing of what came after it.

For many times T a copy of the session is made in which everything after T is cut or made up (`replay.check.copies`), and the run is
repeated in a process that has only that copy. What the trader did up to T must be the same. Where it is not, the cut is moved
later until it is: the event in between is what the decision knew of.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import msgspec
import numpy as np

from replay.check.copies import Copier, Reach
from replay.check.jobs import Job
from replay.check.pool import Ran, Worker, stand_in
from replay.check.verdict import DECISIONS, FAIL, PASS, Difference, Part, Words, compare
from replay.data.session import Session
from replay.data.times import utc_text
from replay.events import LAST


class Cut(NamedTuple):
    """A time, why it was chosen, and what becomes of the rest."""

    at_ns: int
    why: str  # before, at (a decision), random
    perturb: bool


class Proof:
    """One session, one base run with its `states` by rows arrived; `prove` makes the copies and runs them."""

    def __init__(self, session: Session, job: Job, base: Ran, words: Words):
        self.session, self.job, self.base, self.words = session, job, base, words
        self.reach = Reach.of(job.config.profile())
        self.copier = Copier(session, job.config.seed, job.config.profile())
        self.states: dict[int, str] = {}
        self.seals: set[str] = set()

    def cuts(self, n: int) -> list[Cut]:
        """Up to `n` / 2 times 1 ns before a decision, as many at one, `n` / 2 or more at random events; cut and made up in turn."""
        draws = np.random.Generator(np.random.PCG64(self.job.config.seed))
        rows, out = self.session.events, self.base.out
        first = max(self.reach.first(rows), self.job.warm_ns)
        last = int(rows.ts_recv[-1] if self.reach.recorded else rows.ts_event.max()) - 1
        decided = np.unique(out["ts_recv"][np.isin(out["kind"], DECISIONS)])
        cuts: list[Cut] = []

        def add(times: np.ndarray, why: str, wanted: int) -> None:
            times = times[(times >= first) & (times <= last)]
            chosen = np.sort(draws.choice(times, min(wanted, len(times)), replace=False)) if len(times) else times
            cuts.extend(Cut(int(t), why, k % 2 == 1) for k, t in enumerate(chosen.tolist()))

        add(decided - 1, "before", n // 2)
        before = len(cuts)
        add(np.unique(rows.ts_event), "random", n - before)
        add(decided, "at", n // 2)
        return cuts

    def mark(self, at_ns: int) -> int:
        """How many rows reach us by `at_ns`; with a modelled feed how many are known, and then no state belongs to it."""
        rows = self.session.events
        if self.reach.recorded:
            return int(np.searchsorted(rows.ts_recv, at_ns, "right"))
        return int(self.known(at_ns).sum())

    def known(self, at_ns: int) -> np.ndarray:
        """Mask of the rows that may have had a part in what the trader did by `at_ns`."""
        return self.reach.known(self.session.events, at_ns, self.copier.ahead_ns)

    def prove(self, cuts: Sequence[Cut], workers: Sequence[Worker], told: Callable[[int], None]) -> Part:
        """Run every cut on one of the workers; the first that differs is explained."""
        found: list[tuple[Cut, Difference]] = []
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def one(cut: Cut) -> Difference | None:
            worker = idle.get()
            try:
                return self.differs(worker, cut, self.known(cut.at_ns), cut.at_ns)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(len(workers)) as pool:
            try:
                for done, (cut, difference) in enumerate(zip(cuts, pool.map(one, cuts), strict=True), 1):
                    told(done)
                    if difference:
                        found.append((cut, difference))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        said = self._counted(cuts)
        if not found:
            return Part(name="look-ahead", verdict=PASS, done=said)
        cut, difference = min(found, key=lambda f: (f[1].at_ns, f[0].at_ns))
        explained = self._explained(workers[0], cut, difference)
        return Part(name="look-ahead", verdict=FAIL, done=f"{said}: {len(found):,} differ", found=explained)

    def differs(self, worker: Worker, cut: Cut, known: np.ndarray, changed_after: int) -> Difference | None:
        """Run the copy that keeps `known` and compare what was done by the cut's time."""
        folder = worker.folder / "cut"
        at = stand_in(Path(self.job.cwd), self.job.session, folder)
        self.copier.copy(changed_after, known, cut.perturb).save(at)
        mark = self.mark(cut.at_ns)
        where = {
            "cwd": str(folder),
            "session": str(at),
            "sealed": str(Path(self.job.session).resolve()),
            "start": None,
            "end": None,
        }
        job = msgspec.structs.replace(self.job, **where, marks=(mark,), to_end=False)
        try:
            ran = worker.do(job)
        finally:
            shutil.rmtree(folder)
        self.seals.add(ran.answer.seal)
        difference = compare(self.base, ran, self.words, cut.at_ns)
        if difference is None and self.reach.recorded and ran.answer.states != [self.states[mark]]:
            return Difference(
                -1,
                cut.at_ns,
                f"the same decisions, but another state (features, strategies, orders, or what may be ordered) at {utc_text(cut.at_ns)}",
            )
        return difference

    def _counted(self, cuts: Sequence[Cut]) -> str:
        why = {w: sum(c.why == w for c in cuts) for w in ("before", "at", "random")}
        perturbed = sum(c.perturb for c in cuts)
        state = "decisions, reports, state and what may be ordered" if self.reach.recorded else "decisions and reports"
        sealed = (
            "the recording sealed off by the kernel"
            if self.seals == {"kernel"}
            else "the recording sealed off for Python's own functions only"
        )
        return (
            f"{len(cuts):,} copies ({why['before']:,} end 1 ns before a decision, {why['at']:,} with one, {why['random']:,} at random; "
            f"{len(cuts) - perturbed:,} cut, {perturbed:,} made up from there), {state} equal, {sealed}"
        )

    def _explained(self, worker: Worker, cut: Cut, difference: Difference) -> tuple[str, ...]:
        """The difference, and the earliest event that must be as it was for the decision to be as it was."""
        how = "were made up" if cut.perturb else "were cut"
        what = f"when events after {utc_text(cut.at_ns)} {how}: {difference.text}"
        if "Permission denied" in difference.text and str(Path(self.job.session).resolve()) in difference.text:
            return what, "it opens the recording it is checked on"
        rows = self.session.events
        order = self.session.order if self.session.order is not None else np.arange(len(rows))
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows))
        known = self.known(cut.at_ns)
        ends = np.flatnonzero(rows["flags"][order] & LAST)  # places in venue order where a message ends
        ends = ends[ends >= place[~known].min()]
        lo, hi = -1, len(ends) - 1  # with ends[lo] kept it differs; with ends[hi], the whole session, it does not
        while hi - lo > 1:
            middle = (lo + hi) // 2
            keep = known | (place <= ends[middle])
            after = max(cut.at_ns, int(rows.ts_event[order[ends[middle]]]))
            if self.differs(worker, cut, keep, after):
                lo = middle
            else:
                hi = middle
        k = int(order[ends[hi]])
        late = int(rows.ts_recv[k]) - min(difference.at_ns or cut.at_ns, cut.at_ns)
        return what, f"it depends on {self.words.event(k)}, which reached us {late / 1e9:,.6f} s later"
