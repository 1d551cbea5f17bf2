"""The transition table: every pair is defined, terminal states absorb, and the drawing in ARCHITECTURE.md is the table's."""

from pathlib import Path

import pytest

from replay.kernel.memory import entry, entry_of
from replay.trader import orders as O

DONE = {O.FILLED, O.CANCELED, O.REJECTED, O.EXPIRED}
WORKING = {O.SUBMITTED, O.ACCEPTED, O.PARTIAL, O.UNKNOWN}


@entry
def ended(state):
    return 1 if O.finished(state) else 0


def to(state, kind):
    return int(O.TRANSITIONS[state, kind])


@pytest.mark.parametrize("state", range(O.N_STATES))
def test_what_the_kernel_asks_is_the_table(state):
    assert entry_of(ended)(state) == O.TERMINAL[state]


def test_every_pair_is_defined():
    assert O.TRANSITIONS.shape == (O.N_STATES, O.N_EXECS) == (len(O.STATE_NAMES), len(O.EXEC_NAMES))
    known = {*range(O.N_STATES), O.SAME, O.ILLEGAL, O.BY_QTY, O.BY_LEAVES}
    assert set(O.TRANSITIONS.ravel().tolist()) <= known - {O.FREE, O.NEW, O.SUBMITTED}  # nothing becomes unsent again


@pytest.mark.parametrize("state", sorted(DONE))
def test_terminal_states_absorb(state):
    assert {to(state, kind) for kind in range(O.N_EXECS)} <= {O.SAME, O.ILLEGAL}
    late = to(state, O.EXEC_TRADE)
    assert late == (O.SAME if state in (O.CANCELED, O.EXPIRED) else O.ILLEGAL)
    assert all(to(state, kind) == O.SAME for kind in range(O.N_EXECS) if kind != O.EXEC_TRADE)
    assert O.TERMINAL[state] == 1


@pytest.mark.parametrize("state", [O.FREE, O.NEW])
def test_what_was_not_sent_has_no_report(state):
    assert {to(state, kind) for kind in range(O.N_EXECS)} == {O.ILLEGAL} and O.TERMINAL[state] == 0


@pytest.mark.parametrize("state", sorted(WORKING))
def test_working_orders(state):
    assert O.TERMINAL[state] == 0
    assert to(state, O.EXEC_TRADE) == to(state, O.EXEC_BUST) == to(state, O.EXEC_CORRECT) == O.BY_QTY
    assert to(state, O.EXEC_CANCELED) == to(state, O.EXEC_GONE) == O.CANCELED and to(state, O.EXEC_EXPIRED) == O.EXPIRED
    assert to(state, O.EXEC_UNKNOWN) == O.UNKNOWN
    assert to(state, O.EXEC_NEW) == (O.ACCEPTED if state in (O.SUBMITTED, O.UNKNOWN) else O.SAME)
    assert to(state, O.EXEC_REJECTED) == (O.REJECTED if state in (O.SUBMITTED, O.UNKNOWN) else O.ILLEGAL)
    answers = {to(state, k) for k in (O.EXEC_REPLACED, O.EXEC_CANCEL_REJECTED, O.EXEC_REPLACE_REJECTED)}
    assert answers == {O.BY_LEAVES if state in (O.PARTIAL, O.UNKNOWN) else O.SAME}  # without a fill something is left


def test_every_state_can_be_reached_and_left():
    seen, queue = {O.SUBMITTED}, [O.SUBMITTED]
    while queue:
        s = queue.pop()
        for kind in range(O.N_EXECS):
            answer = to(s, kind)
            for t in (
                (O.PARTIAL, O.FILLED) if answer == O.BY_QTY else () if answer in (O.SAME, O.ILLEGAL, O.BY_LEAVES) else (answer,)
            ):
                if t not in seen:
                    seen.add(t)
                    queue.append(t)
    assert seen == WORKING | DONE
    for s in WORKING:
        assert any(to(s, kind) in DONE for kind in range(O.N_EXECS))


def test_the_architecture_page_draws_the_table():
    page = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text()
    block = page.split("<!-- oms -->")[1]
    assert block.strip() == f"```mermaid\n{O.diagram()}\n```"
