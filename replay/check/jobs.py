"""What a run of the check is asked and answers: read and written as JSON by the two sides, which are processes of their own."""

from __future__ import annotations

import msgspec

from replay.runs.config import RunConfig


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a process of its own.

    - `config`: the run; of its session only what follows;
    - `session`: its folder, seen from `cwd`, from `start` to before `end` (ns); orders are blocked until `warm_ns`;
    - `sealed`: the folder of a session it must not be able to read, where not empty;
    - `marks`: rising numbers of rows after which the state is hashed;
    - `snapshot_at`: where not 0, after how many rows a snapshot is taken, to be taken up again once the end is reached, or, where
      `elsewhere`, by a second engine; the answer is that of the run taken up;
    - `to_end`: run to the end, else stop once one row more than the last mark has arrived;
    - `out`: the file for the trader's output records.
    """

    config: RunConfig
    cwd: str
    session: str
    out: str = ""
    start: int | None = None
    end: int | None = None
    warm_ns: int = 0
    sealed: str = ""
    marks: tuple[int, ...] = ()
    snapshot_at: int = 0
    elsewhere: bool = False
    to_end: bool = True


class Answer(msgspec.Struct, kw_only=True):
    """What the run came to.

    - `states`: a hash of features, strategies' state, orders, positions and views for each mark;
    - `constants`: a hash a module constant of compiled strategies, which compilation freezes;
    - `hidden`: attributes of plain strategies that no snapshot holds;
    - `seal`: how the session was sealed off, ``kernel`` or ``python``;
    - `error`: what ended the run, at `error_ns`; 0 where it did not begin.
    """

    digest: str = ""
    state_digest: str = ""
    rows: int = 0
    states: list[str] = []
    constants: dict[str, str] = {}
    hidden: list[str] = []
    seal: str = ""
    error: str | None = None
    error_ns: int = 0
