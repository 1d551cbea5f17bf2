"""Two runs compared: what was configured differently, where their decisions part, which tables differ, and what it came to."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.journal import first_difference
from replay.runs.rebuild import Told, name_of, records, strategies
from replay.runs.result import Result
from replay.runs.tracking import Gap, track
from replay.show import line, said
from replay.summary import to_json
from replay.trader.output import OUT_CANCEL, OUT_NEW, OUT_REFUSED, OUT_REPLACE

DECISIONS = (OUT_NEW, OUT_CANCEL, OUT_REPLACE, OUT_REFUSED)
AROUND = 5  #: common records shown before the first that differs


class Configured(msgspec.Struct, frozen=True):
    """A setting that differs, as text; None where a run has no such setting."""

    name: str
    a: str | None
    b: str | None


class Divergence(msgspec.Struct, frozen=True):
    """The first record of the trader that differs, and the common ones just before; None: that run said nothing more."""

    record: int
    at: str
    before: tuple[str, ...]
    a: str | None
    b: str | None


class TableDifference(msgspec.Struct, frozen=True):
    """A table that differs: its rows in both, and where they have as many rows, the columns that differ."""

    table: str
    rows_a: int
    rows_b: int
    columns: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What `diff` found. `same`: every record of the trader and every table is equal. `gaps`: see `replay.runs.tracking`; the last is
    the total. `first_decision`: as `first`, among orders, cancels, replaces and refusals only. `within`: whether its gap is within the tolerance that was asked for, None where none was; `share`: the gap as a share of the PnL that was expected."""

    a: str
    b: str
    same: bool
    digest_a: str
    digest_b: str
    configured: tuple[Configured, ...]
    first: Divergence | None
    first_decision: Divergence | None
    tables: tuple[TableDifference, ...]
    gaps: tuple[Gap, ...]
    within: bool | None
    share: Decimal | None


def diff(a: Result, b: Result, tolerance: Decimal | None = None, told: Told | None = None) -> Difference:
    """Compare two runs. `tolerance`: the share of A's PnL that the gap may be, or of B's where A was lived and B was not. Cost: in proportion to records and fills, most of it reading.

    >>> import replay
    >>> runs = [replay.run(strategy="ema_cross", latency=latency) for latency in ("1ms", "50ms")]
    >>> found = diff(*runs)
    >>> found.same, found.configured[0].name, found.first.record > 0, diff(runs[0], runs[0]).same
    (False, 'latency', True, True)
    """
    told = told or (lambda done, total: None)
    tables = tuple(_tables(a, b))
    told(1, 3)
    rows = [records(run.table("events")) for run in (a, b)]
    first, first_decision = _first(a, b, rows), _first(a, b, [of[np.isin(of.kind, DECISIONS)] for of in rows])
    told(2, 3)
    gaps = tuple(track(a, b))
    told(3, 3)
    total = gaps[-1]
    expected = total.pnl_b if a.lived and not b.lived else total.pnl_a
    return Difference(
        a=name_of(a),
        b=name_of(b),
        same=a.digest == b.digest and not tables,
        digest_a=a.digest,
        digest_b=b.digest,
        configured=tuple(_configured(a, b)),
        first=first,
        first_decision=first_decision,
        tables=tables,
        gaps=gaps,
        within=None if tolerance is None else abs(total.gap) <= tolerance * abs(expected),
        share=None if tolerance is None or not expected else abs(total.gap / expected),
    )


def share(text: str) -> Decimal:
    """A share of something: ``20%`` or ``0.2``. Raises `BadInput`.

    >>> share("20%"), share("0.05")
    (Decimal('0.2'), Decimal('0.05'))
    """
    try:
        value = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ArithmeticError:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise BadInput(f"--tolerance: expected a share such as 20% or 0.2, got {text!r}")
    return value


def _configured(a: Result, b: Result):
    left, right = (dict(_flat("", _settings(run))) for run in (a, b))
    for name in dict.fromkeys([*left, *right]):
        if left.get(name) != right.get(name):
            yield Configured(name, left.get(name), right.get(name))


def _settings(run: Result) -> dict:
    m = run.manifest
    named = {f"{k} {s.name}" if len(m.strategies) > 1 else s.name: s for k, s in enumerate(m.strategies, 1)}
    config = msgspec.to_builtins(m.config)
    return {
        **{k: v for k, v in config.items() if k not in ("strategy", "limits")},
        "strategy": {name: {"source_sha256": s.source_sha256, **s.parameters} for name, s in named.items()},
        "limits": config["limits"],
        "profile": msgspec.to_builtins(m.profile),
        "session_sha256": m.session_sha256,
        "versions": m.versions,
        "fork": msgspec.to_builtins(m.fork),
        "complete": m.complete,
    }


def _flat(name: str, value: object):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    elif value is not None:
        yield name, value if isinstance(value, str) else to_json(value)


def _first(a: Result, b: Result, rows: list[np.recarray]) -> Divergence | None:
    k = first_difference(*rows)
    if k < 0:
        return None
    texts = [
        [line(said(row, run.manifest.instruments, strategies(run))) for row in of[max(0, k - AROUND) : k + 1]]
        for run, of in zip((a, b), rows, strict=True)
    ]
    common = min(k, AROUND)
    at = min(int(of[k].ts_recv) for of in rows if k < len(of))
    return Divergence(
        k, utc_text(at), tuple(texts[0][:common]), *(text[common] if len(text) > common else None for text in texts)
    )


def _tables(a: Result, b: Result):
    for name in dict.fromkeys([*a.names, *b.names]):
        left, right = (_comparable(run.table(name)) if name in run.names else pa.table({}) for run in (a, b))
        if left.equals(right):
            continue
        columns = dict.fromkeys([*left.column_names, *right.column_names])
        same_rows = left.num_rows == right.num_rows
        differing = [c for c in columns if c not in left.column_names or c not in right.column_names or left[c] != right[c]]
        yield TableDifference(name, left.num_rows, right.num_rows, tuple(differing) if same_rows else ())


def _comparable(table: pa.Table) -> pa.Table:
    """Texts as texts, as which codes a file gives them does not matter; floats as their bits, so that NaN equals itself."""
    columns = {}
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cast(pa.string())
        elif pa.types.is_float64(field.type):
            column = pa.chunked_array([c.view(pa.int64()) for c in column.chunks], pa.int64())
        columns[field.name] = column
    return pa.table(columns)
