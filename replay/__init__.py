"""Deterministic event replay for trading: one trader, two plugs.

A name is imported when it is first used, so that ``replay --help`` does not wait for the compiler.
"""

from importlib import import_module

_HOME = {
    "replay.runs.api": "run sweep",
    "replay.strategy": "Array Duration Each State Strategy compiled",
    "replay.trader.context": "sign",
    "replay.trader.layout": "DAY FOK GTC IOC POST_ONLY REDUCE_ONLY",
    "replay.trader.orders": "ACCEPTED CANCELED EXPIRED FILLED NEW PARTIAL REJECTED SUBMITTED UNKNOWN",
    "replay.trader.specs": "bar ema highest lowest mean microprice ofi queue_imbalance realised_vol relative_spread ret ret_zscore session_return spread trade_flow trade_imbalance variance volume vwap zscore",
}
_WHERE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "ACCEPTED",
    "Array",
    "CANCELED",
    "DAY",
    "EXPIRED",
    "FILLED",
    "FOK",
    "GTC",
    "IOC",
    "NEW",
    "PARTIAL",
    "POST_ONLY",
    "REDUCE_ONLY",
    "REJECTED",
    "SUBMITTED",
    "UNKNOWN",
    "Duration",
    "Each",
    "State",
    "Strategy",
    "bar",
    "compiled",
    "ema",
    "highest",
    "lowest",
    "mean",
    "microprice",
    "ofi",
    "queue_imbalance",
    "realised_vol",
    "relative_spread",
    "ret",
    "ret_zscore",
    "run",
    "session_return",
    "sign",
    "spread",
    "sweep",
    "trade_flow",
    "trade_imbalance",
    "variance",
    "volume",
    "vwap",
    "zscore",
]


def __getattr__(name: str) -> object:
    if name == "faults":
        return import_module("replay.faults")
    if name not in _WHERE:
        raise AttributeError(f"module 'replay' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
