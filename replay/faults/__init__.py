"""Faults, planned and repeatable: what goes wrong in a replay between the market, the venue and us.

For tests: `swarm`, a decorator, and the Hypothesis strategies `sessions`, `plans` and `order_flows`.
"""

from importlib import import_module

from replay.faults.plan import Fault, Plan

_WHERE = {"swarm": "testing", "sessions": "given", "plans": "given", "order_flows": "given"}

__all__ = ["Fault", "Plan", "order_flows", "plans", "sessions", "swarm"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'replay.faults' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"replay.faults.{_WHERE[name]}"), name)
    return value
