"""Deterministic event replay for trading: one trader, two plugs."""

from replay.strategy import Each, State, Strategy, compiled
from replay.trader.context import sign

__all__ = ["Each", "State", "Strategy", "compiled", "sign"]
