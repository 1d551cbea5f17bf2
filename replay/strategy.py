"""The strategy API: what to do, and nothing else.

A strategy is a class with annotated parameters and state and any of the handlers ``on_start on_quote on_trade on_book on_bar
on_bars on_data on_order on_timer on_stop``. Two kinds, one API: a plain class is woken by the kernel for what it handles (anything goes
inside it); with `compiled` the same class runs inside the kernel. Replay and live run either without a change.

    from replay import Each, Strategy, compiled

    @compiled
    class Fade(Strategy):
        '''Buy after three downticks of the bid, sell after three upticks.'''
        qty: int = 100
        last: Each[int] = 0        # state, one value an instrument
        run: Each[int] = 0

        def on_quote(self, ctx, q):
            i = q.instrument
            up = q.bid_px > self.last[i]
            down = q.bid_px < self.last[i]
            self.run[i] = max(self.run[i], 0) + 1 if up else min(self.run[i], 0) - 1 if down else self.run[i]
            self.last[i] = q.bid_px
            if abs(self.run[i]) >= 3:
                ctx.target(i, -self.qty if self.run[i] > 0 else self.qty)
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from replay.errors import BadInput
from replay.kernel.memory import JIT, record
from replay.trader.layout import HOOKS
from replay.trader.specs import Spec, duration_ns

V = TypeVar("V")


class Each(Generic[V]):
    """Annotation for state with one value an instrument: ``mid: Each[float] = 0.0``, read as ``self.mid[instrument]``."""


class State(Generic[V]):
    """Annotation for one value of state that is not a parameter: ``count: State[int] = 0``, read as ``self.count``."""


class Array:
    """Several values an instrument: ``closes: Each[int] = Array("slow")`` holds as many zeros for each as the parameter `slow` says
    (or as a number says; of several the largest), read and set as ``self.closes[instrument, k]``."""

    def __init__(self, *lengths: int | str):
        self.lengths = lengths


class Duration:
    """Annotation for a parameter that is a length of time: ``hold: Duration = "60s"``, read everywhere as whole ns."""


class Strategy:
    """Base of every strategy. Annotated fields of type int, float, bool, str or `Duration` are parameters; `State` and `Each` are
    state."""

    def features(self) -> dict[str, Spec]:
        """The built-in features it reads: ``{"z": zscore("mid", "60s")}`` is read as ``ctx.z(instrument)``."""
        return {}


def compiled(cls: type) -> type:
    """Mark a strategy class as compiled: its handlers run inside the kernel, or interpreted with ``NUMBA_DISABLE_JIT=1``.

    Its methods may use numbers, its fields, ``ctx``, the event, other methods of the class and constants of its module.
    """
    cls.__compiled__ = True
    return cls


class Fields(typing.NamedTuple):
    """The annotated fields of a strategy class: name -> (type, default)."""

    params: dict[str, tuple[type, object]]
    state: dict[str, tuple[type, object]]
    each: dict[str, tuple[type, object]]
    arrays: dict[str, tuple[type, Array]]


_TYPES = {int: "i8", float: "f8", bool: "u1"}
_PARAMETERS = {**_TYPES, Duration: "i8", str: ""}


@functools.lru_cache(64)
def fields_of(cls: type) -> Fields:
    """Read a class's annotations. Raises `BadInput` for a missing default or a type that cannot be stored."""
    found = Fields({}, {}, {}, {})
    hints: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Strategy):
            hints |= typing.get_type_hints(base)
    for name, hint in hints.items():
        origin = typing.get_origin(hint)
        kind = typing.get_args(hint)[0] if origin in (Each, State) else hint
        if kind not in (_TYPES if origin in (Each, State) else _PARAMETERS):
            raise BadInput(
                f"strategy {cls.__name__}: {name} must be int, float, bool, str, Duration, State[...] or Each[...], got {hint}"
            )
        if not hasattr(cls, name):
            raise BadInput(
                f"strategy {cls.__name__}: {name} needs a default: write `{name}: {getattr(kind, '__name__', kind)} = ...`"
            )
        if origin is Each and isinstance(getattr(cls, name), Array):
            found.arrays[name] = (kind, getattr(cls, name))
            continue
        where = found.each if origin is Each else found.state if origin is State else found.params
        where[name] = (kind, _convert(kind, getattr(cls, name), f"strategy {cls.__name__}: the default of {name}"))
    for name, (_, array) in found.arrays.items():
        if not array.lengths:
            raise BadInput(f"strategy {cls.__name__}: {name} = Array(): a number or the name of an int parameter expected")
        for length in array.lengths:
            if not isinstance(length, int) and found.params.get(length, (None,))[0] is not int:
                raise BadInput(
                    f"strategy {cls.__name__}: {name} = Array({length!r}): a number or the name of an int parameter expected"
                )
    return found


def lengths(cls: type, fields: Fields, values: dict[str, object]) -> dict[str, int]:
    """Values an instrument of each `Array`. Raises `BadInput` for less than one."""
    out = {}
    for name, (_, array) in fields.arrays.items():
        for length in array.lengths:
            n = values[length] if isinstance(length, str) else length
            if not 1 <= n <= 1 << 24:
                raise BadInput(
                    f"strategy {cls.__name__}: {name} has {n} values an instrument, 1 to {1 << 24} expected: correct {length}"
                )
            out[name] = max(n, out.get(name, 0))
    return out


def parameters(cls: type, given: dict[str, object], source: str = "") -> dict[str, object]:
    """The values of all parameters: defaults, overridden by `given` (text or values). Raises `BadInput`, naming each fault.

    >>> class Quoter(Strategy):
    ...     qty: int = 100
    ...     edge: float = 0.5
    >>> parameters(Quoter, {"qty": "200"})
    {'qty': 200, 'edge': 0.5}
    """
    fields = fields_of(cls).params
    values = {name: default for name, (_, default) in fields.items()}
    where = source or f"strategy {cls.__name__}"
    for name, value in given.items():
        if name not in fields:
            raise BadInput(f"{where}: no parameter {name!r}; it has {', '.join(fields) or 'none'}")
        values[name] = _convert(fields[name][0], value, f"{where}: parameter {name}", f" (from -p {name}={value})")
    return values


def _convert(kind: type, value: object, what: str, origin: str = "") -> object:
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        Duration: "a duration such as 500ms, 60s or 5m",
    }
    wrong = BadInput(f"{what} must be {names[kind]}, got {value!r}{origin}")
    if kind is bool:
        table = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() not in table:
            raise wrong
        return table[str(value).lower()]
    try:
        if kind is Duration:
            ns = duration_ns(value)
            return value if isinstance(value, str) else f"{ns}ns"
        out = kind(value) if not isinstance(value, float) or kind is not int or value.is_integer() else None
    except (TypeError, ValueError):
        raise wrong from None
    if out is None or (kind is float and not np.isfinite(out)) or (kind is int and not -(2**63) <= out < 2**63):
        raise wrong
    return out


def stored(kind: type, value: object) -> object:
    """A parameter as handlers read it: a `Duration` in ns, everything else as it is."""
    return duration_ns(value) if kind is Duration else value


def load(source: str | type, given: dict[str, object] | None = None, named_by: str = ""):
    """A strategy ready to be built into a trader: from a class, ``file.py``, ``file.py:Class`` or a name under ``strategies``.

    `named_by`: the run or journal that alone names it, "" where the user does: `replay.trust` says what may run then.
    Raises `BadInput` for anything that is not one strategy with these parameters.
    """
    from replay import trust
    from replay.compiler import CompiledStrategy
    from replay.mistakes import CONTEXT, check_handlers
    from replay.plain import PlainStrategy

    if named_by and isinstance(source, str):
        trust.verify(source, named_by)
    cls = class_of(source)
    if not named_by and (path := trust.file_of(source)) is not None:
        trust.remember(path)
    if not issubclass(cls, Strategy):
        raise BadInput(f"strategy {cls.__name__}: must be a subclass of replay.Strategy")
    for name in dir(cls):
        if name.startswith("on_") and name not in HOOKS:
            raise BadInput(
                f"strategy {cls.__name__}: {name} is no handler and would never be called; handlers are {', '.join(HOOKS)}"
            )
    if not any(hasattr(cls, hook) for hook in HOOKS):
        raise BadInput(f"strategy {cls.__name__}: handles nothing: define one of {', '.join(HOOKS)}")
    check_handlers(cls)
    values = parameters(cls, given or {}, source if isinstance(source, str) else "")
    instance = cls()
    for name, (kind, _) in fields_of(cls).params.items():
        setattr(instance, name, stored(kind, values[name]))
    try:
        features = instance.features()
    except (ValueError, TypeError, AttributeError) as e:
        raise BadInput(f"strategy {cls.__name__}: features(): {e}") from e
    if not isinstance(features, dict):
        raise BadInput(
            f"strategy {cls.__name__}: features() must return a dict of names and specs, got {type(features).__name__}"
        )
    for name, spec in features.items():
        if name in CONTEXT:
            raise BadInput(f"strategy {cls.__name__}: feature {name}: ctx.{name} is something else already: choose another name")
        if not isinstance(spec, Spec):
            raise BadInput(f"strategy {cls.__name__}: feature {name} must be a spec such as ema('mid', 20), got {spec!r}")
    made = CompiledStrategy if getattr(cls, "__compiled__", False) else PlainStrategy
    return made(cls, instance, values, features)


def class_of(source: str | type) -> type:
    """The strategy class meant by ``file.py``, ``file.py:Class`` a name under ``strategies``, or a module's with its dots.
    Raises `BadInput`."""
    if isinstance(source, type):
        return source
    path, _, wanted = source.partition(":")
    if not path.endswith(".py") and "/" not in path:
        spec = _module(path)
        if spec is None:
            raise BadInput(
                f"strategy {path!r}: no such file and no such example; give a .py file or one of {', '.join(examples())}"
            )
        path = spec.origin
    module = _import(Path(path))
    classes = [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, Strategy) and c is not Strategy and c.__module__ == module.__name__
    ]
    if wanted:
        classes = [c for c in classes if c.__name__ == wanted]
        if not classes:
            raise BadInput(f"strategy {path}: no strategy class {wanted!r} in it")
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise BadInput(f"strategy {path}: one strategy class expected, found {names}: name it as {path}:Class")
    return classes[0]


def _module(name: str):
    """Where the module of an example is, or one named with dots; None where there is none."""
    try:
        spec = importlib.util.find_spec(name if "." in name else f"strategies.{name}")
    except (ImportError, ValueError, AttributeError, SyntaxError):  # no module's name, or a package that is none
        return None
    return spec if spec is not None and spec.origin else None


def _import(path: Path):
    if not path.is_file():
        raise BadInput(f"strategy {path}: no such file")
    name = f"replay_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as e:
        line = next((t.tb_lineno for t in _frames(e) if t.tb_frame.f_code.co_filename == str(path)), None)
        at = f" line {line}" if line else f" line {e.lineno}" if isinstance(e, SyntaxError) else ""
        raise BadInput(f"strategy {path}{at}: {type(e).__name__}: {e}") from e
    return module


def _frames(e: BaseException) -> Iterable:
    tb, out = e.__traceback__, []
    while tb:
        out.append(tb)
        tb = tb.tb_next
    return reversed(out)


def examples() -> list[str]:
    """The names of the example strategies."""
    import strategies

    return sorted(p.stem for p in Path(strategies.__path__[0]).glob("*.py") if p.stem != "__init__")


def self_dtype(fields: Fields, features: Iterable[str]) -> np.dtype:
    """The record of a compiled strategy: numeric parameters, state, where its features' rows start, and where its arrays are: offset from
    the record, values in all, values an instrument."""
    numeric = [(n, _PARAMETERS[t]) for n, (t, _) in (fields.params | fields.state).items() if t is not str]
    arrays = [(f"array_{n}_{part}", "i8") for n in fields.arrays for part in ("at", "size", "n")]
    return record(("pad_", "i8"), *numeric, *((f"feature_{n}", "i8") for n in features), *arrays)


def each_dtype(fields: Fields) -> np.dtype:
    """The record of a compiled strategy's state for one instrument."""
    return record(*((n, _TYPES[t]) for n, (t, _) in fields.each.items())) if fields.each else record(("pad_", "i8"))


__all__ = ["JIT", "Array", "Duration", "Each", "State", "Strategy", "compiled", "examples", "load", "parameters"]
