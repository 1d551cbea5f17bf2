"""Order states, execution types and the transition table, as data: the OMS reads it, the documentation draws it.

The table answers, for the state an order is in and the kind of report that arrives, what state it takes, or that the report is
late news of something already known (`SAME`), or that it cannot be (`ILLEGAL`: counted, and the trader halts).

The user's names against FIX's OrdStatus:

=========  =========================  ===========
state      FIX OrdStatus              leaves
=========  =========================  ===========
NEW        (not yet sent)             counted
SUBMITTED  PendingNew (A)             counted
ACCEPTED   New (0)                    counted
PARTIAL    PartiallyFilled (1)        counted
FILLED     Filled (2)                 0
CANCELED   Canceled (4)               0
REJECTED   Rejected (8)               0
EXPIRED    Expired (C)                0
UNKNOWN    (no answer; asked about)   counted
=========  =========================  ===========
"""

from __future__ import annotations

import numpy as np

from replay.kernel.memory import hot

FREE, NEW, SUBMITTED, ACCEPTED, PARTIAL, FILLED, CANCELED, REJECTED, EXPIRED, UNKNOWN = range(10)
STATE_NAMES = ["FREE", "NEW", "SUBMITTED", "ACCEPTED", "PARTIAL", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "UNKNOWN"]
N_STATES = len(STATE_NAMES)

#: what happened (FIX ExecType)
(
    EXEC_NEW,
    EXEC_TRADE,
    EXEC_CANCELED,
    EXEC_REPLACED,
    EXEC_REJECTED,
    EXEC_EXPIRED,
    EXEC_CANCEL_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_BUST,
    EXEC_CORRECT,
    EXEC_UNKNOWN,
    EXEC_GONE,
) = range(12)
EXEC_NAMES = [
    "new",
    "trade",
    "canceled",
    "replaced",
    "rejected",
    "expired",
    "cancel_rejected",
    "replace_rejected",
    "bust",
    "correct",
    "unknown",
    "gone",
]
N_EXECS = len(EXEC_NAMES)

#: why an order ended, or a request about it was rejected: the low six bits of a report's flags. A broker's own words are not among them.
(
    WHY_UNSAID,
    WHY_VENUE_CLOSED,
    WHY_SESSION_CLOSED,
    WHY_NOT_AT_ONCE,
    WHY_WOULD_TAKE,
    WHY_REDUCE_ONLY,
    WHY_SELF_TRADE,
    WHY_TOO_LATE,
    WHY_NOTHING_LEFT,
    WHY_PLANNED_FAULT,
    WHY_FILL_BUSTED,
    WHY_NEVER_ARRIVED,
) = range(12)
WHY_NAMES = [
    "not_said",
    "venue_closed",  # it came while the venue was not open
    "session_closed",  # an order for the day, and the session closed
    "not_at_once",  # IOC or FOK
    "would_take",  # post-only, and marketable
    "reduce_only",  # nothing, or nothing any more, to reduce
    "self_trade",  # it would wait across an order of our own
    "too_late",  # the order had ended
    "nothing_left",  # a replace to no more than has traded
    "planned_fault",  # the run's plan of faults says so
    "fill_busted",  # its fill was taken back, and it rests no more
    "never_arrived",  # found out by a look-up
]
WHY_MASK = 63

# BY_QTY: PARTIAL or FILLED as the quantity says, or ACCEPTED once no fill is left of it; BY_LEAVES: FILLED where nothing is left
# to trade with the request answered, else SAME
SAME, ILLEGAL, BY_QTY, BY_LEAVES = 100, 101, 102, 103


def _table() -> np.ndarray:
    t = np.full((N_STATES, N_EXECS), ILLEGAL, np.int8)
    working = (SUBMITTED, ACCEPTED, PARTIAL, UNKNOWN)
    done = (FILLED, CANCELED, REJECTED, EXPIRED)
    for s in working:
        t[s, EXEC_NEW] = ACCEPTED if s in (SUBMITTED, UNKNOWN) else SAME  # an ack behind a fill or a second ack is late news
        t[s, EXEC_TRADE] = BY_QTY
        t[s, EXEC_CANCELED] = CANCELED
        t[s, EXEC_EXPIRED] = EXPIRED
        t[s, EXEC_REJECTED] = REJECTED if s in (SUBMITTED, UNKNOWN) else ILLEGAL
        for answer in (EXEC_REPLACED, EXEC_CANCEL_REJECTED, EXEC_REPLACE_REJECTED):
            t[s, answer] = BY_LEAVES if s in (PARTIAL, UNKNOWN) else SAME
        t[s, EXEC_UNKNOWN] = UNKNOWN
        t[s, EXEC_GONE] = CANCELED  # asked about and not known at the venue: it never will be
        t[s, EXEC_BUST] = BY_QTY
        t[s, EXEC_CORRECT] = BY_QTY
    for s in done:  # terminal states absorb; a fill that crossed our cancel still moves the position
        t[s, :] = SAME
        t[s, EXEC_TRADE] = ILLEGAL if s in (FILLED, REJECTED) else SAME
    return t


TRANSITIONS = _table()
TERMINAL = np.array([s in (FILLED, CANCELED, REJECTED, EXPIRED) for s in range(N_STATES)], np.int8)


@hot
def finished(state):
    """Whether nothing leads out of a state: `TERMINAL`, without a look at memory."""
    return FILLED <= state <= EXPIRED


def diagram() -> str:
    """The table as a Mermaid state diagram; ARCHITECTURE.md holds it and a test compares.

    >>> "SUBMITTED --> ACCEPTED: new" in diagram()
    True
    """
    lines = ["stateDiagram-v2", "    [*] --> NEW: held child", "    [*] --> SUBMITTED: sent", "    NEW --> SUBMITTED: activated"]
    lines.append("    NEW --> CANCELED: dropped")
    for s in range(N_STATES):
        by_target: dict[int, list[str]] = {}
        for e in range(N_EXECS):
            to = int(TRANSITIONS[s, e])
            targets = {SAME: (), ILLEGAL: (), BY_QTY: (PARTIAL, FILLED), BY_LEAVES: (FILLED,)}.get(to, (to,))
            if e in (EXEC_BUST, EXEC_CORRECT):
                targets = (ACCEPTED, *targets) if targets else ()
            for target in targets:
                if target != s:
                    by_target.setdefault(target, []).append(EXEC_NAMES[e])
        for target, names in by_target.items():
            lines.append(f"    {STATE_NAMES[s]} --> {STATE_NAMES[target]}: {', '.join(names)}")
    lines += [f"    {STATE_NAMES[s]} --> [*]" for s in range(N_STATES) if TERMINAL[s]]
    return "\n".join(lines)
