"""A run has one builder: what checks, sweeps or explains a run does so on an engine made from all of its configuration."""

import ast
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import replay
from replay.check import worker
from replay.check.jobs import Answer, Job
from replay.data.session import Session
from replay.data.synth import equity_day
from replay.engine import Engine
from replay.faults.plan import Plan
from replay.runs import sweep
from replay.runs.config import Chosen, RunConfig
from replay.trader.limits import Limits

ROOT = Path(replay.__file__).parent
FAULTS = Plan.of({"fault": [{"kind": "feed_outage", "from": "15:00", "to": "15:01"}], "seed": 4})


def test_engines_are_built_in_one_place():
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Engine", "engine.Engine", "replay.engine.Engine"):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == {"runs/config.py"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A configuration with no field as it is where nobody says otherwise."""
    folder = tmp_path_factory.mktemp("one") / "day"
    equity_day(("A", "B"), 2_000, seed=3).save(folder)
    made = RunConfig(
        session=str(folder),
        strategies=(Chosen(source="ema_cross", parameters={"fast": 5, "slow": 20, "warmup": 20}),),
        latency="entry=2ms,response=3ms",
        fill="hftbacktest",
        queue="power:3",
        slippage="7bps",
        participation=Decimal("0.2"),
        commission="1bps",
        limits=Limits(max_position=7),
        initial_capital=Decimal(12_345),
        from_="2026-03-02T15:00",
        to="2026-03-02T20:00",
        warmup="10m",
        seed=5,
        order_capacity=256,
        faults=FAULTS,
    )
    plain = RunConfig()
    same = {f for f in made.__struct_fields__ if getattr(made, f) == getattr(plain, f)}
    assert not same, f"give these a value of their own here: {same}"
    return made


def described(engine: Engine) -> dict:
    return {
        "profile": engine.profile,
        "limits": engine.limits,
        "capital": engine.build.capital,
        "orders": engine.build.order_capacity,
        "faults": engine.faults,
        "rows": engine.session.manifest.sha256,
        "warm": engine._warm_ns,
        "strategies": [(s.name, s.values) for s in engine.strategies],
    }


def test_a_check_builds_what_the_run_is(config):
    run = config.engine(Session.open(config.session))
    rows, warm_ns = config.rows(Session.open(config.session))
    m = rows.manifest
    job = Job(config=config, cwd=".", session=config.session, start=m.start_ns, end=m.end_ns + 1, warm_ns=warm_ns)
    assert described(worker._engine(job, Answer())) == described(run)


def test_a_sweep_builds_what_the_run_is(config, monkeypatch):
    built = []
    kept = RunConfig.engine_on

    def noted(self, *args, **options):
        built.append(kept(self, *args, **options))
        return built[-1]

    run = config.engine(Session.open(config.session))
    monkeypatch.setattr(RunConfig, "engine_on", noted)
    grid = {"fast": [5], "slow": [20], "warmup": [20]}
    row = sweep.sweep(config, Session.open(config.session), "ema_cross", grid)
    assert all(described(e) == described(run) for e in built) and len(built) == 2
    assert row.column("digest").to_pylist() == [run.run().digest]


def test_every_part_of_the_configuration_matters_to_the_engine(config):
    """Or this test could not see that one is left out."""
    session = Session.open(config.session)
    run, plain = described(config.engine(session)), RunConfig()
    for field in set(config.__struct_fields__) - {"session", "fill", "strategies"}:
        other = msgspec.structs.replace(config, **{field: getattr(plain, field)})
        assert described(other.engine(session)) != run, field
