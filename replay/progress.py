"""Progress of long work on stderr: a bar that appears only if the work lasts, and only where people watch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 0.3  #: shorter work shows nothing
LOADING_S = 1.0  #: what loading compiled code may take; longer is compilation


@contextmanager
def progress(what: str, unit: str = "", patience_s: float = PATIENCE_S) -> Iterator[Callable[[int, int], None]]:
    """Yields ``told(done, total)``. Nothing is shown before `patience_s`, or when stdout or stderr is not a terminal.

    >>> with progress("replaying", "events") as told:
    ...     told(1, 2)
    """
    began, bar, task = time.perf_counter(), None, None
    watched = sys.stdout.isatty() and sys.stderr.isatty()

    def told(done: int, total: int) -> None:
        nonlocal bar, task
        if not watched or (bar is None and (time.perf_counter() - began < patience_s or done >= total)):
            return
        if bar is None:
            bar = _bar(unit)
            bar.start()
            task = bar.add_task(what, total=total)
        bar.update(task, completed=done, total=total)

    try:
        yield told
    finally:
        if bar is not None:
            bar.stop()


def _bar(unit: str):
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from replay.terminal import consoles

    counts = [TextColumn("{task.completed:,.0f} " + unit, markup=False)] if unit else []
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn(), *counts, console=consoles(stderr=True)
    )
