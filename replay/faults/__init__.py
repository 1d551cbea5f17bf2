"""Faults, planned and repeatable: what goes wrong in a replay between the market, the venue and us."""

from replay.faults.plan import Fault, Plan

__all__ = ["Fault", "Plan"]
