"""Compile a strategy class: rewrite it into module functions on records, so that numba can compile and cache them.

Annotated fields become a record, methods become functions of ``(self, each_, ctx, ...)``, ``ctx.limit(...)`` a call of
`replay.trader.context.limit`, ``self.mid[i]`` of an `Each` field ``each_[i].mid``, ``self.closes[i, k]`` of an `Array` an element at
its place behind the record. The text is written to a file named by its hash:
numba caches only functions whose source is a file, and an unchanged strategy is not compiled again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import textwrap
from pathlib import Path

import numpy as np

from replay import events
from replay.errors import BadInput
from replay.kernel.arena import Arena
from replay.kernel.cache import private
from replay.kernel.memory import KERNEL_CACHE, entry_of
from replay.mistakes import CONTEXT, check_method, check_rules, no_such, used
from replay.strategy import Duration, each_dtype, fields_of, lengths, self_dtype, stored
from replay.trader.layout import HOOKS
from replay.trader.specs import Spec

#: record type of the event each hook is given
EVENT_OF = {
    "on_quote": "QUOTE_DT",
    "on_trade": "TRADE_DT",
    "on_book": "DEPTH_DT",
    "on_bar": "BAR_DT",
    "on_data": "CUSTOM_DT",
    "on_order": "REPORT_DT",
    "on_timer": "TIMER_DT",
}
#: what is asked with whole numbers only
WHOLE = ("market", "limit", "stop", "stop_limit", "bracket", "oco", "cancel", "cancel_all", "replace", "target", "timer")

_HEADER = """# generated from {name}; do not edit
from replay.events import BAR_DT, CUSTOM_DT, DEPTH_DT, QUOTE_DT, REPORT_DT, TIMER_DT, TRADE_DT
from replay.kernel.memory import at as at_, entry as entry_, fn as fn_, hot as hot_, noted as noted_, pure as pure_, record as record_, whole as whole_
from replay.trader import context as ctx_
from replay.trader.layout import F64 as float_, I64 as int_, header as header_, within as within_
from replay.trader.output import FAULT_STRATEGY as FAULT_STRATEGY_
SELF_ = {self_dtype}
EACH_ = {each_dtype}
"""

_ENTRY = """
@entry_
def {hook}_(ctx, self_at, each_at):
    h = header_(ctx)
    try:
        {hook}(at_(self_at, 1, SELF_)[0], at_(each_at, h.n_instruments, EACH_), self_at, ctx{event})
    except Exception:
        noted_()
        h.fault = FAULT_STRATEGY_
        h.attend = 1
    return 0


@pure_
def raise_{hook}(ctx, self_at, each_at):
    h = header_(ctx)
    {hook}(at_(self_at, 1, SELF_)[0], at_(each_at, h.n_instruments, EACH_), self_at, ctx{event})
"""


class _Rewrite(ast.NodeTransformer):
    """One method body; see the module's text."""

    def __init__(self, cls: type, fields, features: tuple[str, ...], methods: set[str], path: str, first_line: int):
        self.cls, self.fields, self.features, self.methods = cls, fields, features, methods
        self.path, self.first_line = path, first_line
        self.event, self.event_fields, self.own = "", (), set()  # of the method being rewritten: see `enter`

    def wrong(self, node: ast.AST, what: str) -> BadInput:
        return BadInput(f"strategy {self.path} line {self.first_line + node.lineno - 1}: {what}")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        f = node.func
        if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name):
            args = [self.visit(a) for a in node.args]
            keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
            owner, name = f.value.id, f.attr
            if owner == "ctx":
                ctx = ast.Name("ctx", ast.Load())
                if name in self.features:
                    row = ast.Attribute(ast.Name("self", ast.Load()), f"feature_{name}", ast.Load())
                    return ast.Call(_context("feature"), [ctx, row, *args], keywords)
                if name not in CONTEXT:
                    raise self.wrong(node, no_such(name, self.features))
                if name in WHOLE:
                    args = [_whole(a) for a in args]
                    keywords = [ast.keyword(k.arg, _whole(k.value)) for k in keywords]
                return ast.Call(_context(name), [ctx, *args], keywords)
            if owner == "self" and name in self.methods:
                own = [ast.Name(n, ast.Load()) for n in ("self", "each_", "self_at_")]
                return ast.Call(ast.Name(name, ast.Load()), [*own, *args], keywords)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if owner == "ctx":
                if name not in CONTEXT:
                    raise self.wrong(node, no_such(name, self.features))
                return ast.Call(_context(name), [ast.Name("ctx", ast.Load())], [])
            if owner == "self":
                if name in self.fields.each:
                    raise self.wrong(node, f"self.{name} has one value an instrument: write self.{name}[instrument]")
                if name in self.fields.arrays:
                    raise self.wrong(node, f"self.{name} has several values an instrument: write self.{name}[instrument, k]")
                text = name in self.fields.params and self.fields.params[name][0] is str
                if text or name not in self.fields.params | self.fields.state:
                    why = "is text, which only features() may use" if text else "is not an annotated field or a method"
                    raise self.wrong(node, f"self.{name} {why}")
            if owner == self.event and name not in self.event_fields:
                raise self.wrong(node, f"{owner} has no {name!r}; it has {', '.join(self.event_fields)}")
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        v = node.value
        if isinstance(v, ast.Attribute) and isinstance(v.value, ast.Name) and v.value.id == "self" and v.attr in self.fields.each:
            row = ast.parse("each_[i]" if self.is_of_event(node.slice) else "each_[within_(i, len(each_))]", mode="eval").body
            if isinstance(row.slice, ast.Call):
                row.slice.args[0] = self.visit(node.slice)
            else:
                row.slice = self.visit(node.slice)
            return ast.Attribute(row, v.attr, node.ctx)
        if (
            isinstance(v, ast.Attribute)
            and isinstance(v.value, ast.Name)
            and v.value.id == "self"
            and v.attr in self.fields.arrays
        ):
            if not isinstance(node.slice, ast.Tuple) or len(node.slice.elts) != 2:
                raise self.wrong(node, f"self.{v.attr} has several values an instrument: write self.{v.attr}[instrument, k]")
            of, size, n = (f"self.array_{v.attr}_{part}" for part in ("at", "size", "n"))
            dtype = "float_" if self.fields.arrays[v.attr][0] is float else "int_"
            found = ast.parse(
                f"at_(self_at_ + {of}, {size}, {dtype})[within_(i, len(each_)) * {n} + within_(k, {n})]", mode="eval"
            ).body
            found.slice.left.left.args[0], found.slice.right.args[0] = (self.visit(e) for e in node.slice.elts)
            return ast.Subscript(found.value, found.slice, node.ctx)
        return self.generic_visit(node)

    def enter(self, method: ast.FunctionDef) -> None:
        """Note the event of the method about to be rewritten, and the names that are nothing but its instrument: those need no check."""
        known = method.name in EVENT_OF and len(method.args.args) == 3
        self.event = method.args.args[2].arg if known else ""
        self.event_fields = getattr(events, EVENT_OF[method.name]).names if known else ()
        self.own = set()
        stored = [n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for n in ast.walk(method):
            if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and self.is_of_event(n.value):
                self.own |= {n.targets[0].id} if stored.count(n.targets[0].id) == 1 and stored.count(self.event) == 0 else set()

    def is_of_event(self, index: ast.AST) -> bool:
        """Whether an index is the instrument of the event."""
        if isinstance(index, ast.Name):
            return index.id in self.own
        return (
            isinstance(index, ast.Attribute)
            and index.attr == "instrument"
            and isinstance(index.value, ast.Name)
            and index.value.id == self.event
        )

    def is_int(self, target: ast.AST) -> bool:
        """Whether an assignment's target is a field of whole numbers."""
        if isinstance(target, ast.Subscript):
            target, fields = target.value, self.fields.each | self.fields.arrays
        else:
            fields = self.fields.params | self.fields.state
        own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
        return own and target.attr in fields and fields[target.attr][0] in (int, Duration)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        value = node.value
        for target in node.targets:
            if self.is_int(target):
                value = _whole(value)
            elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                parts = [_whole(v) if self.is_int(t) else v for t, v in zip(target.elts, value.elts, strict=True)]
                value = ast.Tuple(parts, ast.Load())
        node.value = value
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if self.is_int(node.target):
            if isinstance(node.op, ast.Div):
                raise self.wrong(node, f"{ast.unparse(node.target)} holds whole numbers, / makes a fraction: use //")
            node.value = _whole(node.value)
        return self.generic_visit(node)


def _whole(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("whole_", ast.Load()), [value], [])


def _context(name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name("ctx_", ast.Load()), name, ast.Load())


def _dtype_text(dtype) -> str:
    return "record_(" + ", ".join(f"({n!r}, {dtype.fields[n][0].str[1:]!r})" for n in dtype.names) + ")"


@functools.cache
def generate(cls: type, features: tuple[str, ...]) -> tuple[str, list[str], dict[int, str]]:
    """The module text of a strategy class with features of these names, the hooks it handles, and for lines of the text those of the
    file they came from."""
    try:
        path = inspect.getsourcefile(cls)
        lines, first = inspect.getsourcelines(cls)
        module = ast.parse(Path(path).read_text())
    except (OSError, TypeError):
        raise BadInput(f"strategy {cls.__name__}: a compiled strategy must stand in a .py file: save it in one") from None
    fields = fields_of(cls)
    body = ast.parse(textwrap.dedent("".join(lines))).body[0]
    methods = {m.name: m for m in body.body if isinstance(m, ast.FunctionDef) and m.name != "features"}
    hooks = [h for h in HOOKS if h in methods]
    for hook in HOOKS:
        if hasattr(cls, hook) and hook not in methods:
            raise BadInput(
                f"strategy {cls.__name__}: {hook} is inherited: the handlers of a compiled strategy stand in its own class"
            )
    path = os.path.relpath(path)
    rewrite = _Rewrite(cls, fields, features, set(methods), path, first)
    own, loaded = used(module, body), sys.modules[cls.__module__]
    check_rules([*own, ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)], path)
    for m in methods.values():
        check_method(m, fields.params | fields.state | fields.each | fields.arrays, features, vars(loaded), rewrite.wrong)
    # a method called once a caller costs nothing to inline; one that calls itself cannot be
    inlined = {name for name in methods if all(_calls(m, name) <= (m.name != name) for m in methods.values())}
    out, places = [_module_level(own, loaded)], {}
    out.append(
        _HEADER.format(
            name=cls.__name__, self_dtype=_dtype_text(self_dtype(fields, features)), each_dtype=_dtype_text(each_dtype(fields))
        )
    )
    for m in _in_call_order(methods, hooks):
        rewrite.enter(m)
        m = rewrite.visit(m)
        m.decorator_list, m.returns = [], None
        for a in m.args.args:
            a.annotation = None
        m.args.args[1:1] = [ast.arg("each_"), ast.arg("self_at_")]
        text = ("@hot_\n" if m.name in inlined else "@fn_\n") + ast.unparse(ast.fix_missing_locations(m))
        above = sum(part.count("\n") + 1 for part in out)
        made, was = ([n for n in ast.walk(tree) if isinstance(n, ast.stmt)] for tree in (ast.parse(text).body[0], m))
        places |= {above + a.lineno: f"{path} line {first + b.lineno - 1}" for a, b in zip(made, was, strict=True)}
        out.append(text)
    for hook in hooks:
        event = f", at_(ctx + h.current_at, 1, {EVENT_OF[hook]})[0]" if hook in EVENT_OF else ""
        out.append(_ENTRY.format(hook=hook, event=event))
    return "\n".join(out) + "\n", hooks, places


def _calls(method: ast.FunctionDef, name: str) -> int:
    """How often a method calls ``self.name``."""
    return sum(isinstance(n, ast.Attribute) and n.attr == name for n in ast.walk(method))


def _in_call_order(methods: dict[str, ast.FunctionDef], hooks: list[str]) -> list[ast.FunctionDef]:
    helpers = [m for n, m in methods.items() if n not in hooks]
    return [*helpers, *(methods[h] for h in hooks)]


def _module_level(own: list[ast.stmt], loaded: object) -> str:
    """Imports, constants and functions of the strategy's file that its methods use. Values of imported constants are written
    beside their names, so that another value is another text and compiles anew."""
    out = []
    for node in own:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            out.append("from replay.kernel.memory import fn as fn_\n@fn_\n" + ast.unparse(node))
            continue
        out.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom):
            values = {a.asname or a.name: getattr(loaded, a.asname or a.name, None) for a in node.names}
            out += [f"# {n} = {v!r}" for n, v in values.items() if isinstance(v, (bool, int, float, str))]
    return "\n".join(out)


class CompiledStrategy:
    """A compiled strategy class with its parameters: ready to be laid out in a trader."""

    kind = "compiled"

    def __init__(self, cls: type, instance: object, values: dict[str, object], features: dict[str, Spec]):
        self.cls, self.name, self.values, self.features = cls, cls.__name__, values, features
        self.fields = fields_of(cls)
        self.self_dtype, self.each_dtype = self_dtype(self.fields, features), each_dtype(self.fields)
        self.lengths = lengths(cls, self.fields, values)
        self.text, self.hooks, self.lines = generate(cls, tuple(features))
        self.module = _write_and_import(self.text)

    def entries(self) -> list:
        """Its handlers, to be linked after the kernel."""
        return [getattr(self.module, hook + "_") for hook in self.hooks]

    def handlers(self, number: int) -> dict[str, int]:
        """Hook name -> address."""
        return {hook: entry_of(getattr(self.module, hook + "_")).address for hook in self.hooks}

    def exception(self, number: int, hook: str, trader: Arena) -> Exception | None:
        """What its handler raises: compiled code can only say that it raised, so it is called once more, on a copy of the state,
        where Python can see it. None where what it changed before it raised keeps it from raising again."""
        copy = trader.fork()
        row = copy.region("strategies")[number]
        try:
            getattr(self.module, f"raise_{hook}")(copy.base, copy.base + int(row.self_at), copy.base + int(row.each_at))
        except Exception as e:
            return e
        return None

    def write(self, arena: Arena, self_at: int, each_at: int, n: int, features: dict[str, int]) -> None:
        """Parameters and initial state into the arena."""
        me = arena.bytes[self_at : self_at + self.self_dtype.itemsize].view(self.self_dtype)
        for name, (_, default) in self.fields.state.items():
            me[name] = default
        self._write_parameters(me)
        for name, first in features.items():
            me[f"feature_{name}"] = first
        each = arena.bytes[each_at : each_at + n * self.each_dtype.itemsize].view(self.each_dtype)
        for name, (_, default) in self.fields.each.items():
            each[name] = default
        at = each_at + -(-each.nbytes // 8) * 8 - self_at
        for name, length in self.lengths.items():
            me[f"array_{name}_at"], me[f"array_{name}_size"], me[f"array_{name}_n"] = at, n * length, length
            at += 8 * n * length

    def _write_parameters(self, me: np.ndarray) -> None:
        for name, (kind, _) in self.fields.params.items():
            if name in self.self_dtype.names:
                me[name] = stored(kind, self.values[name])

    def _records(self, trader: Arena, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Its record in a trader, and those for each instrument."""
        row, n = trader.region("strategies")[number], int(trader.header.n_instruments)
        me = trader.bytes[int(row.self_at) :][: self.self_dtype.itemsize].view(self.self_dtype)
        return me, trader.bytes[int(row.each_at) :][: n * self.each_dtype.itemsize].view(self.each_dtype)

    def state(self, trader: Arena, number: int) -> dict[str, object]:
        """Its annotated state in a trader by name, arrays aside: a value, or a list with one an instrument."""
        me, each = self._records(trader, number)
        of_all = {name: kind(me[name][0]) for name, (kind, _) in self.fields.state.items()}
        return of_all | {name: [kind(x) for x in each[name]] for name, (kind, _) in self.fields.each.items()}

    def take_parameters(self, of: CompiledStrategy, trader: Arena, number: int) -> None:
        """Go on with the parameters of another one of this class."""
        self.values = of.values
        self._write_parameters(self._records(trader, number)[0])


def _write_and_import(text: str):
    name = "s_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    folder = private(private(KERNEL_CACHE) / "strategies")
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != text:
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
