"""What a manifest says of its rows is proven against them before anything is sized by it; a false one is refused, in one line."""

import msgspec
import numpy as np
import pytest

import replay
from replay.data import store
from replay.data.session import Session, sha256_of
from replay.data.synth import equity_day, l2_book
from replay.errors import BadInput
from replay.runs.config import RunConfig
from replay.runs.result import Result

SAID = (
    "levels", "n_events", "counts", "start_ns", "end_ns", "finest_bar_ns", "max_levels", "max_orders", "min_px", "max_px",
    "max_size", "kinds",
)  # fmt: skip


def other(value):
    """Another value of the same shape, that a decoder takes."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return {"l1": "l2", "l2": "l1", "bars": "l1", "quote": "trade"}.get(value, "quote")
    if isinstance(value, dict):
        return {k: v + 1 for k, v in value.items()}
    return tuple(other(v) for v in value)


@pytest.fixture(scope="module", params=["l1", "l2"])
def session(request):
    return equity_day(("A", "B"), 2_000, seed=3) if request.param == "l1" else l2_book(2_000, seed=3)


@pytest.mark.parametrize("field", SAID)
def test_every_statement_about_the_rows_is_proven(session, tmp_path, field):
    session.save(tmp_path / "s")
    path = tmp_path / "s" / store.MANIFEST
    m = Session.open(tmp_path / "s").manifest
    false = msgspec.structs.replace(m, **{field: other(getattr(m, field))})
    assert false != m
    path.write_bytes(false.encode())
    with pytest.raises(BadInput):
        Session.open(tmp_path / "s")


def test_a_venue_order_that_is_none_is_refused(tmp_path):
    rows = equity_day(("A",), 500, seed=3).events.copy()
    rows.ts_event[200] -= 10**9  # the venue saw it before its neighbours
    s = Session.from_rows(rows, equity_day(("A",), 500, seed=3).instruments)
    s.save(tmp_path / "s")
    assert Session.open(tmp_path / "s").order is not None
    wild = np.arange(len(rows), dtype="<i8")
    wild[0] = 1 << 40
    (tmp_path / "s" / store.ORDER).write_bytes(wild.tobytes())
    m = msgspec.structs.replace(s.manifest, order_sha256=sha256_of(wild))
    (tmp_path / "s" / store.MANIFEST).write_bytes(m.encode())
    with pytest.raises(BadInput, match="venue order"):
        Session.open(tmp_path / "s")


def test_rows_that_change_under_a_run_give_no_result(tmp_path):
    equity_day(("A",), 2_000, seed=2).save(tmp_path / "s")
    session = Session.open(tmp_path / "s")
    engine = RunConfig(session=str(tmp_path / "s")).engine(session)
    engine.advance(500)
    with open(tmp_path / "s" / "events.bin", "r+b") as f:
        f.seek(64 * 1_500 + 32)
        f.write(b"\x01")
    engine.run()
    with pytest.raises(BadInput, match="changed while it was replayed"):
        Result.of(engine, RunConfig())
    with pytest.raises(BadInput, match="changed while it was replayed"):
        replay.sweep(session, "ema_cross", {"fast": [5]})
    with pytest.raises(BadInput, match="changed while it was replayed"):
        replay.run(session.slice(start=int(session.events.ts_recv[10])), "ema_cross")
