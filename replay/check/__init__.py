"""Is a run what it claims to be: the same every time, and without knowledge of the future?

`Check` lints the strategies, repeats the run in other ways (`determinism`) and on copies of the session that end early or go on
otherwise (`lookahead`). A check that passes says: on this session, with this setup, at these times, no decision changed. What it
cannot see is said in docs/check.md.

    report = Check(RunConfig(session="sessions/ibm", strategies=(Chosen(source="my.py"),))).run()
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from replay import strategy
from replay.check import determinism
from replay.check.jobs import Job
from replay.check.lookahead import Proof
from replay.check.pool import Ran, Worker
from replay.check.verdict import DECISIONS, FAIL, PASS, SKIP, WARN, Part, Report, Words
from replay.data.session import Session
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.lint import is_compiled_strategy, lint_source
from replay.runs.config import RunConfig
from replay.summary import strategy_names

#: what makes a plain strategy's run differ from the next; the other rules are about bits and belong to compiled code
PLAIN_RULES = {"D000", "D001", "D002", "D003", "D004", "D005", "D006", "D007", "D011", "D012"}


class Check:
    """A run's session and strategies, opened and compiled; `run` checks them.

    The seed of `config` also draws the cut times and what copies are changed to. Raises `BadInput` where there is nothing to
    check: a session, strategy or configuration that cannot run.
    """

    def __init__(self, config: RunConfig, *, trust: bool = False, compiling: Callable[[str, int, int], None] | None = None):
        if not config.session:
            raise BadInput("a check needs a session that is saved: name its folder")
        chosen = tuple(msgspec.structs.replace(c, source=_absolute(c.source)) for c in config.strategies)
        self.config = msgspec.structs.replace(config, strategies=chosen)
        whole = Session.open(config.session, trust)
        engine = self.config.engine(whole, compiling=compiling)
        self.session, warm_ns = engine.session, self.config.rows(whole)[1]
        self.words = Words(whole.instruments, strategy_names(engine), self.session.events)
        self.features = any(s.features for s in engine.strategies)
        m = self.session.manifest
        cut = (m.start_ns, m.end_ns + 1) if self.session is not whole else (None, None)
        self.job = Job(config=self.config, cwd=str(Path.cwd()), session=config.session, start=cut[0], end=cut[1], warm_ns=warm_ns)

    def run(
        self, cuts: int = 200, jobs: int = os.cpu_count() or 1, told: Callable[[int, int], None] = lambda done, runs: None
    ) -> Report:
        """Check, on `jobs` processes at a time: `cuts` times, half of them 1 ns before a decision, and half as many more at one.

        `told(done, runs)` after each run. Raises `BadInput` where the strategy fails on the session as it is.
        """
        began = time.perf_counter()
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(features=self.features)) for _ in range(jobs)]
            base = workers[0].do(self.job)
            if base.answer.error:
                raise BadInput(f"{base.answer.error}; a run that fails cannot be checked")
            proof = Proof(self.session, self.job, base, self.words)
            chosen = proof.cuts(cuts)
            parts = [_lint(self.config)]
            for part in self._determinism(base, proof, [proof.mark(c.at_ns) for c in chosen], workers[0]):
                parts.append(part)
                told(len(parts), len(chosen) + 5)
            if any(p.verdict == FAIL for p in parts[1:3]):
                done = "two runs on the same events differ already: that comes first"
                parts.append(Part(name="look-ahead", verdict=SKIP, done=done))
            elif not chosen:
                parts.append(Part(name="look-ahead", verdict=SKIP, done="no event comes after the first: nothing to cut"))
            else:
                parts.append(proof.prove(chosen, workers, lambda done: told(done + 5, len(chosen) + 5)))
        return self._report(base, parts, time.perf_counter() - began)

    def _determinism(self, base: Ran, proof: Proof, marks: list[int], worker: Worker) -> Iterator[Part]:
        """The run again in four other ways; the proof is given the states at `marks`."""
        yield determinism.again(base, self.job, self.features, self.words)
        marks = sorted({*marks, *determinism.block_marks(len(self.session.events), self.config.seed)})
        stepped = worker.do(msgspec.structs.replace(self.job, marks=tuple(marks)))
        proof.states = dict(zip(marks, stepped.answer.states, strict=False))
        yield determinism.blocks(base, stepped, self.words)
        yield determinism.snapshot(base, self.job, worker, self.words)
        yield determinism.interpreted(self.job, worker, self.features, self.words)

    def _report(self, base: Ran, parts: list[Part], elapsed_s: float) -> Report:
        m = self.session.manifest
        return Report(
            session=m.name,
            strategies=tuple(self.words.names),
            events=m.n_events,
            start=utc_text(m.start_ns),
            end=utc_text(m.end_ns),
            decisions=int(np.isin(base.out["kind"], DECISIONS).sum()),
            digest=base.answer.digest,
            parts=tuple(parts),
            ok=all(p.verdict != FAIL for p in parts),
            elapsed_s=elapsed_s,
        )


def _absolute(source: str) -> str:
    """A strategy's source as another working directory finds it."""
    path, colon, cls = source.partition(":")
    return f"{Path(path).resolve()}{colon}{cls}" if path.endswith(".py") or "/" in path else source


def _lint(config: RunConfig) -> Part:
    """The strategies' files: a finding fails a compiled strategy, and is a warning for a plain one, whose runs are compared below."""
    files = {Path(inspect.getsourcefile(strategy.class_of(c.source))) for c in config.strategies}
    found, failed = [], False
    for file in sorted(files):
        text = file.read_text()
        compiled = is_compiled_strategy(text)
        findings = [f for f in lint_source(text, os.path.relpath(file)) if compiled or f.code in PLAIN_RULES]
        failed |= compiled and bool(findings)
        found += map(str, findings)
    verdict = FAIL if failed else WARN if found else PASS
    return Part(
        name="lint",
        verdict=verdict,
        done=f"rules D000 to D012 on {', '.join(os.path.relpath(f) for f in sorted(files))}",
        found=tuple(found),
    )
