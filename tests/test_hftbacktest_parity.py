"""W2 and W3 against results of hftbacktest 2.4.4 on events of our own generator, exact.

The constants were printed by ``python -m bench.store_parity`` (2026-11-21, 200,000 events, both its depth types agreeing) and are only
valid for the events named by seed, generator version and hash.
"""

import pytest

from bench import walks, workloads

EVENTS, GENERATOR = 200_000, 1
FIELDS = ("orders", "fills", "canceled", "expired", "position", "pnl_cents")
#: (case, seed) -> the fields above, and the first 16 digits of the events' hash
STORED = {
    ("w2", 11): ((51, 51, 0, 0, 100, -20550), "60a782a9f8efb997"),
    ("w2", 12): ((34, 34, 0, 0, 100, -800), "2f93f0c0e73f15f7"),
    ("w2", 13): ((36, 36, 0, 0, 100, -1050), "20261745e044da67"),
    ("w2", 14): ((49, 49, 0, 0, 100, -19600), "8018558c405e5e81"),
    ("w2", 15): ((43, 43, 0, 0, 100, -16800), "82867035beae8c58"),
    ("w3", 11): ((5132, 1085, 4042, 3, 100, 4400), "3e3a2bee68cee286"),
    ("w3", 12): ((5321, 1128, 4189, 2, -400, 5200), "bf41e8b69ca12536"),
    ("w3", 13): ((5128, 1117, 4006, 3, -900, 3150), "75ec8b56a2c4c18c"),
    ("w3", 14): ((4872, 1068, 3798, 4, 0, 6300), "2276a8886578734e"),
    ("w3", 15): ((5394, 1086, 4302, 4, 200, 1600), "d3f23f965fc6bafe"),
}


@pytest.mark.parametrize(("name", "seed"), list(STORED))
def test_same_result_as_hftbacktest(name, seed):
    assert walks.VERSION == GENERATOR, "the stored results are of another generator: run bench.store_parity again"
    want, rows = STORED[name, seed]
    session = (walks.l1 if name == "w2" else walks.l2)(EVENTS, seed)
    assert session.manifest.sha256[:16] == rows
    engine = workloads.build(workloads.CASES[name], session).run()
    got = workloads.outcome(engine)
    got |= {k: got[k] - n for k, n in workloads.late(engine).items()}
    assert tuple(got[k] for k in FIELDS) == want


@pytest.mark.parametrize(("compiled", "plain", "make"), [("w2", "w2_plain", walks.l1), ("w3", "w3_plain", walks.l2)])
def test_plain_strategies_decide_the_same(compiled, plain, make):
    session = make(50_000, 11)
    engines = [workloads.build(workloads.CASES[name], session).run() for name in (compiled, plain)]
    assert workloads.outcome(engines[0])["orders"] > 10
    assert workloads.outcome(engines[0]) == workloads.outcome(engines[1])
    assert engines[0].digest == engines[1].digest


@pytest.mark.parametrize("name", ["w1_l1", "w1_l2", "w1_plain", "w2"])
def test_workloads_equal_their_reference(name):
    source = workloads.Source((walks.l2 if name == "w1_l2" else walks.l1)(50_000, 12), "test", None)
    want = workloads.expected(name, source)
    engine = workloads.build(workloads.CASES[name], source.session).run()
    workloads.check(name, engine, want)


def test_walks_are_what_they_promise():
    a, b = walks.l1(50_000, 3).events, walks.l2(50_000, 3)
    assert (a.ts_event[1:] > a.ts_event[:-1]).all() and (a.ts_recv[1:] > a.ts_recv[:-1]).all() and (a.ts_recv > a.ts_event).all()
    q = a[a.kind == 1]
    assert q.b.min() >= 200 and q.d.min() >= 200 and (q.c - q.a).min() >= 1 and (q.c - q.a).max() <= 3
    moved = (q.a[1:] != q.a[:-1]) & (q.c[1:] != q.c[:-1])
    assert not moved.any()
    assert b.manifest.anomalies == {} and b.order is None
